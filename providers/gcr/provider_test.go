package gcr_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/gcr/gcrtest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

const (
	puller   = "puller@project.iam.gserviceaccount.com"
	builder  = "builder@project.iam.gserviceaccount.com"
	middle   = "middle@project.iam.gserviceaccount.com"
	home     = "us-docker.pkg.dev"
	pool     = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool"
	provider = pool + "/providers/ci"
	subject  = "principal:" + pool + "/subject/repo:team/app"
)

// newGoogle has a service account that may pull, and two that can impersonate it, one of them through the other.
func newGoogle() *gcrtest.Google {
	return &gcrtest.Google{
		Accounts: []gcrtest.Account{
			{Email: puller, Pull: []string{home + "/project/*", "gcr.io/project/*"}, ImpersonatedBy: []string{middle, subject}},
			{Email: middle, ImpersonatedBy: []string{builder}},
			{Email: builder},
		},
		Providers: []string{provider},
	}
}

// attach adds the cloud to a network.
func attach(t *testing.T, cloud *gcrtest.Google) *fakenet.Network {
	t.Helper()
	n, err := fakenet.New()
	require.NoError(t, err)
	t.Cleanup(n.Close)
	cloud.Attach(n)
	return n
}

// profile returns a profile with the network's transport, unless the login is something of the program: see through.
func profile(n *fakenet.Network, login credentials.Login) registry.Profile {
	p := registry.Profile{Name: "team-a", Kind: registry.GCR, Endpoint: home, Login: login, Transport: n.TransportConfig()}
	g := login.Google
	if login.Ambient || g != nil && (g.Credentials.IsZero() && g.Federation == nil || strings.Contains(g.Credentials.Reveal(), "external_account")) {
		p.Transport = registry.TransportConfig{}
	}
	return p
}

// through returns the provider with a transport to the network, as its RoundTripper. The machine's own endpoints are
// reached directly.
func through(n *fakenet.Network, p gcr.Provider) gcr.Provider {
	transport := n.Client().Transport.(*http.Transport).Clone()
	proxy := transport.Proxy
	transport.Proxy = func(r *http.Request) (*url.URL, error) {
		if r.URL.Scheme == "http" {
			return nil, nil
		}
		return proxy(r)
	}
	p.RoundTripper = transport
	return p
}

func googleLogin(l credentials.GoogleLogin) credentials.Login { return credentials.Login{Google: &l} }

// noAmbient hides the machine's own identity from tests.
func noAmbient(t *testing.T) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("GCE_METADATA_HOST", "127.0.0.1:1") // No server listens there.
}

func TestKey(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	key := cloud.NewKey(puller)
	base64Key := credentials.NewSecret(base64.StdEncoding.EncodeToString([]byte(key.Reveal())))
	for name, login := range map[string]credentials.Login{
		"google":           googleLogin(credentials.GoogleLogin{Credentials: key}),
		"google, base64":   googleLogin(credentials.GoogleLogin{Credentials: base64Key}),
		"_json_key":        {Username: "_json_key", Password: key},
		"_json_key_base64": {Username: "_json_key_base64", Password: base64Key},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := gcr.Provider{}.Credential(t.Context(), profile(n, login))
			require.NoError(t, err)
			require.Equal(t, "_json_key", c.Username)
			require.True(t, c.ExpiresAt.IsZero())
			require.NotContains(t, c.Password.Reveal(), "\n", "it goes into secrets in one line")
			var want, got any
			require.NoError(t, json.Unmarshal([]byte(key.Reveal()), &want))
			require.NoError(t, json.Unmarshal([]byte(c.Password.Reveal()), &got))
			require.Equal(t, want, got, "it is the whole file")
		})
	}
	require.Len(t, cloud.Calls(), 4, "each key is checked once")

	cloud.DisableKey(key)
	_, err := gcr.Provider{}.Credential(t.Context(), profile(n, googleLogin(credentials.GoogleLogin{Credentials: key})))
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	require.ErrorContains(t, err, "invalid_grant: Invalid JWT Signature.")
	require.ErrorContains(t, err, puller)
	require.Contains(t, registry.HintOf(err), "the key was deleted or disabled")

	c, err := gcr.Provider{UncheckedKeys: true}.Credential(t.Context(), profile(n, googleLogin(credentials.GoogleLogin{Credentials: key})))
	require.NoError(t, err)
	require.Equal(t, "_json_key", c.Username)
	require.Len(t, cloud.Calls(), 5, "nobody was asked")
}

func TestAccessToken(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	before := time.Now()
	c, err := gcr.Provider{}.Credential(t.Context(), profile(n, googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(puller), AccessToken: true})))
	require.NoError(t, err)
	require.Equal(t, "oauth2accesstoken", c.Username)
	require.WithinRange(t, c.IssuedAt, before.Round(0), time.Now())
	require.WithinRange(t, c.ExpiresAt, before.Add(time.Hour-time.Second), time.Now().Add(time.Hour+time.Second))
	require.Equal(t, []gcrtest.Call{{Action: "token", Host: "oauth2.googleapis.com", Principal: puller}}, cloud.Calls())
}

func TestImpersonation(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	login := credentials.GoogleLogin{Credentials: cloud.NewKey(builder), Impersonate: puller, Delegates: []string{middle}}
	c, err := gcr.Provider{}.Credential(t.Context(), profile(n, googleLogin(login)))
	require.NoError(t, err)
	require.NoError(t, c.Validate(time.Now()))
	require.Equal(t, []gcrtest.Call{
		{Action: "token", Host: "oauth2.googleapis.com", Principal: builder},
		{Action: "generateAccessToken", Host: "iamcredentials.googleapis.com", Principal: builder},
	}, cloud.Calls())

	login.Delegates = nil
	_, err = gcr.Provider{}.Credential(t.Context(), profile(n, googleLogin(login)))
	require.ErrorIs(t, err, registry.ErrDenied)
	require.ErrorContains(t, err, "iam.serviceAccounts.getAccessToken")
	require.ErrorContains(t, err, "impersonate "+puller+" as "+builder)
	require.Contains(t, registry.HintOf(err), "roles/iam.serviceAccountTokenCreator")

	login.Impersonate = "nobody@project.iam.gserviceaccount.com"
	_, err = gcr.Provider{}.Credential(t.Context(), profile(n, googleLogin(login)))
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.Contains(t, registry.HintOf(err), "one of the service accounts does not exist")
}

// A token in a pull secret can only read, whatever permissions its owner has.
func TestTokensOnlyRead(t *testing.T) {
	noAmbient(t)
	cloud := newGoogle()
	n := attach(t, cloud)
	serveMetadata(t, &gcrtest.Metadata{Google: cloud, Email: middle})
	all, p := logins(t, cloud)
	all["impersonation"] = googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(builder), Impersonate: middle})
	all["process"] = credentials.Login{Ambient: true}
	for name, login := range all {
		c, err := through(n, p).Credential(t.Context(), profile(n, login))
		require.NoError(t, err, name)
		req := httptest.NewRequest(http.MethodPost, impersonatePuller, strings.NewReader(`{"scope":["x"],"lifetime":"60s"}`))
		req.Header.Set("Authorization", "Bearer "+c.Password.Reveal())
		w := httptest.NewRecorder()
		cloud.ServeHTTP(w, req)
		require.Equal(t, http.StatusForbidden, w.Code, name)
		require.Contains(t, w.Body.String(), "insufficient authentication scopes", name)
	}
}

func TestAPIIsNotEnabled(t *testing.T) {
	cloud := newGoogle()
	cloud.DisabledAPIs = []string{"iamcredentials.googleapis.com"}
	n := attach(t, cloud)
	_, err := gcr.Provider{}.Credential(t.Context(), profile(n, googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(middle), Impersonate: puller})))
	require.ErrorIs(t, err, registry.ErrUnsupported)
	require.Contains(t, registry.HintOf(err), "gcloud services enable iamcredentials.googleapis.com")
}

// The errors name the reason why a key is no longer valid.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cloud func(*gcrtest.Google)
		want  registry.Code
		hint  string
	}{
		"account disabled": {func(g *gcrtest.Google) { g.DisableAccount(puller) }, registry.ErrUnauthorized, "the service account is disabled"},
		"account deleted":  {func(g *gcrtest.Google) { g.DeleteAccount(puller) }, registry.ErrUnauthorized, "the service account was deleted"},
		"clock behind":     {func(g *gcrtest.Google) { g.Skew = 2 * time.Hour }, registry.ErrClockSkew, "correct the clock"},
		"clock ahead":      {func(g *gcrtest.Google) { g.Skew = -2 * time.Hour }, registry.ErrClockSkew, "correct the clock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := newGoogle()
			n := attach(t, cloud)
			key := cloud.NewKey(puller)
			test.cloud(cloud)
			for _, token := range []bool{false, true} {
				_, err := gcr.Provider{}.Credential(t.Context(), profile(n, googleLogin(credentials.GoogleLogin{Credentials: key, AccessToken: token})))
				require.Equal(t, test.want, registry.CodeOf(err), err)
				require.Contains(t, registry.HintOf(err), test.hint)
				require.ErrorContains(t, err, puller)
			}
		})
	}
}

func TestAnonymous(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	c, err := gcr.Provider{}.Credential(t.Context(), profile(n, credentials.Login{Anonymous: true}))
	require.NoError(t, err)
	require.Equal(t, credentials.Credential{Anonymous: true}, c)
	require.Empty(t, n.Dialed())
}

func TestContext(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	cause := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err := gcr.Provider{}.Credential(ctx, profile(n, googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(puller)})))
	require.ErrorIs(t, err, cause)
	require.ErrorIs(t, err, registry.ErrCanceled)
	require.Empty(t, cloud.Calls())
}

// No error quotes the content of a key, whatever is wrong with it.
func TestNoSecretInErrors(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	key := cloud.NewKey(puller).Reveal()
	secret := strings.Split(key, `\n`)[3]
	require.Len(t, secret, 64, "a line of the private key")
	for name, text := range map[string]string{
		"cut":              key[:len(key)/2],
		"type":             strings.Replace(key, "service_account", "authorized_user", 1),
		"escaped twice":    strings.ReplaceAll(key, `\n`, `\\n`),
		"key changed":      strings.Replace(key, secret, strings.Repeat("A", 64), 1),
		"key as a number":  strings.Replace(key, `"private_key": "`, `"private_key": 12, "x": "`, 1),
		"key as its email": strings.Replace(key, puller, secret, 1),
		"other token URL":  strings.Replace(key, "https://oauth2.googleapis.com/token", "https://evil.example/token", 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := gcr.Provider{}.Credential(t.Context(), profile(n, googleLogin(credentials.GoogleLogin{Credentials: credentials.NewSecret(text)})))
			require.ErrorIs(t, err, registry.ErrInvalid)
			require.NotContains(t, err.Error(), secret[:20])
		})
	}
	require.Empty(t, n.Dialed())
}
