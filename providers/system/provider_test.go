package system_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/registry"
)

// issuer is the one path of the registry that the provider calls. Module server tests the provider with the registry
// itself.
type issuer struct {
	*httptest.Server
	answer func(http.ResponseWriter, *http.Request, question)
}

type question struct {
	Repositories, Actions []string
	Seconds               int64
}

func serve(t *testing.T, answer func(http.ResponseWriter, *http.Request, question)) *issuer {
	t.Helper()
	i := &issuer{answer: answer}
	i.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q question
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/logins" || json.NewDecoder(r.Body).Decode(&q) != nil {
			http.Error(w, "not asked well", http.StatusTeapot)
			return
		}
		i.answer(w, r, q)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) profile(path, name, password string) registry.Profile {
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw})
	return registry.Profile{
		Name: "p", Kind: registry.System, Endpoint: i.Listener.Addr().String() + path,
		Login:     credentials.Login{Username: name, Password: credentials.NewSecret(password)},
		Transport: registry.TransportConfig{CABundle: string(bundle), Proxy: registry.Direct},
	}
}

var end = time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC)

// grant responds like the registry.
func grant(w http.ResponseWriter, r *http.Request, q question) {
	name, password, _ := r.BasicAuth()
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"username":%q,"password":"login of %s with %s for %s","issuedAt":%q,"expiresAt":%q}`,
		name, name, password, strings.Join(q.Repositories, " "), end.Add(-time.Hour).Format(time.RFC3339), end.Format(time.RFC3339))
}

func TestContract(t *testing.T) {
	i := serve(t, grant)
	refusing := serve(t, func(w http.ResponseWriter, _ *http.Request, _ question) { w.WriteHeader(http.StatusUnauthorized) })
	stalled := serve(t, func(_ http.ResponseWriter, r *http.Request, _ question) { <-r.Context().Done() })
	ambient := i.profile("", "", "")
	ambient.Login = credentials.Login{Ambient: true}
	providerstest.TestProvider(t, providerstest.Fixture{
		Provider: system.Provider{},
		Profiles: []registry.Profile{i.profile("", "ann", "password-1"), i.profile("", "ann", "password-2")},
		Invalid:  []registry.Profile{ambient},
		Failing:  to(refusing.Listener.Addr().String(), refusing.profile("", "", "").Transport),
		Stalled:  to(stalled.Listener.Addr().String(), stalled.profile("", "", "").Transport),
		Check: func(p registry.Profile, c credentials.Credential) error {
			if c.ExpiresAt.Equal(end) && strings.Contains(c.Password.Reveal(), p.Login.Password.Reveal()) {
				return nil
			}
			return fmt.Errorf("got the credential of another login, or another end: %v", c.ExpiresAt)
		},
	})
}

func TestContractOfKeys(t *testing.T) {
	profile := func(key credentials.Secret) registry.Profile {
		return registry.Profile{
			Name: "p", Kind: registry.System, Endpoint: "registry.example.com",
			Login: credentials.Login{Fields: map[string]credentials.Secret{"key": key}},
		}
	}
	anonymous := profile(credentials.Secret{})
	anonymous.Login = credentials.Login{Anonymous: true}
	providerstest.TestProvider(t, providerstest.Fixture{
		Provider: system.Provider{},
		Profiles: []registry.Profile{profile(system.NewKey("ann", "regcred").Encode()), profile(system.NewKey("bob", "regcred").Encode()), anonymous},
		Invalid:  []registry.Profile{profile(credentials.NewSecret(`{"kind":"other"}`))},
		Check: func(p registry.Profile, c credentials.Credential) error {
			if p.Login.Anonymous {
				return nil
			}
			if key, err := system.ParseKey(p.Login.Fields["key"]); err != nil || key.Account != c.Username {
				return fmt.Errorf("got the credential of %s", c.Username)
			}
			return nil
		},
	})
}

// elsewhere is a provider that calls another registry than the profile's.
type elsewhere struct {
	system.Provider
	host      string
	transport registry.TransportConfig
}

func to(host string, t registry.TransportConfig) elsewhere {
	return elsewhere{system.Provider{}, host, t}
}

func (e elsewhere) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	p.Endpoint, p.Transport = e.host, e.transport
	return e.Provider.Credential(ctx, p)
}

func TestAsksForLeastPrivilege(t *testing.T) {
	tests := map[string]struct {
		path     string
		hosts    []string
		lifetime time.Duration
		want     question
	}{
		"all of it":        {"", nil, 0, question{[]string{"**"}, []string{"pull"}, 3600}},
		"a path":           {"/team/app", nil, 10 * time.Minute, question{[]string{"team/app/**"}, []string{"pull"}, 600}},
		"two paths":        {"/team", []string{"/other"}, 0, question{[]string{"team/**", "other/**"}, []string{"pull"}, 3600}},
		"a path and all":   {"/team", []string{""}, 0, question{[]string{"**"}, []string{"pull"}, 3600}},
		"the path is once": {"/team", []string{"/team"}, 0, question{[]string{"team/**"}, []string{"pull"}, 3600}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got question
			i := serve(t, func(w http.ResponseWriter, r *http.Request, q question) { got = q; grant(w, r, q) })
			p := i.profile(tt.path, "ann", "password")
			for _, path := range tt.hosts {
				p.Hosts = append(p.Hosts, i.Listener.Addr().String()+path)
			}
			c, err := system.Provider{Lifetime: tt.lifetime}.Credential(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
			require.Equal(t, "ann", c.Username)
			require.Equal(t, end, c.ExpiresAt)
		})
	}
}

func TestRefusals(t *testing.T) {
	status := func(code int) func(http.ResponseWriter, *http.Request, question) {
		return func(w http.ResponseWriter, _ *http.Request, _ question) { w.WriteHeader(code) }
	}
	body := func(text string) func(http.ResponseWriter, *http.Request, question) {
		return func(w http.ResponseWriter, _ *http.Request, _ question) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(text))
		}
	}
	tests := map[string]struct {
		answer func(http.ResponseWriter, *http.Request, question)
		want   registry.Code
	}{
		"401":              {status(http.StatusUnauthorized), registry.ErrUnauthorized},
		"403":              {status(http.StatusForbidden), registry.ErrDenied},
		"400":              {status(http.StatusBadRequest), registry.ErrInvalid},
		"404":              {status(http.StatusNotFound), registry.ErrNotRegistry},
		"503":              {status(http.StatusServiceUnavailable), registry.ErrUnavailable},
		"a page":           {body("<html>secret-word</html>"), registry.ErrNotRegistry},
		"nothing":          {body(""), registry.ErrNotRegistry},
		"an empty login":   {body("{}"), registry.ErrUnavailable},
		"an expired login": {body(`{"username":"ann","password":"secret-word","expiresAt":"2001-01-01T00:00:00Z"}`), registry.ErrUnavailable},
		"too much":         {body(strings.Repeat(" ", 1<<17)), registry.ErrTooLarge},
		"a redirect": {func(w http.ResponseWriter, r *http.Request, _ question) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, registry.ErrNotRegistry},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := system.Provider{}.Credential(t.Context(), serve(t, tt.answer).profile("", "ann", "secret-word"))
			require.Equal(t, tt.want, registry.CodeOf(err), "%v", err)
			require.NotContains(t, err.Error(), "secret-word")
		})
	}
}

func TestRateLimitSaysHowLong(t *testing.T) {
	after := "7"
	i := serve(t, func(w http.ResponseWriter, _ *http.Request, _ question) {
		w.Header().Set("Retry-After", after)
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := system.Provider{}.Credential(t.Context(), i.profile("", "ann", "password"))
	e, ok := errors.AsType[*registry.Error](err)
	require.True(t, ok)
	require.Equal(t, registry.ErrRateLimited, e.Code)
	require.Equal(t, 7*time.Second, e.RetryAfter())

	after = "9223372036854775" // As a Duration, it would overflow.
	_, err = system.Provider{}.Credential(t.Context(), i.profile("", "ann", "password"))
	require.ErrorAs(t, err, &e)
	require.Equal(t, 15*time.Minute, e.RetryAfter())
}

func TestUntrustedRegistryGetsNoPassword(t *testing.T) {
	asked := false
	i := serve(t, func(http.ResponseWriter, *http.Request, question) { asked = true })
	p := i.profile("", "ann", "password")
	p.Transport.CABundle = ""
	_, err := system.Provider{}.Credential(t.Context(), p)
	require.ErrorIs(t, err, registry.ErrTLSUnknownIssuer)
	require.False(t, asked)
}
