package systemregistry_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/store"
)

func TestSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	first, stop := startStop(t, systemregistry.Server{Dir: dir})
	digest := first.push(t, "ann", password("ann"), "team/app", "1", "layer")
	robot, secret := first.robot(t, "", "ci", rule("team/**", "pull"))
	old := first.token(t, "ann", password("ann"), "repository:team/app:pull")
	stop()

	second := start(t, systemregistry.Server{Dir: dir})
	require.Equal(t, first.CA(), second.CA(), "clients would have to trust another authority")
	require.Equal(t, http.StatusOK, second.pull(t, robot, secret, "team/app", digest))
	resp, _ := second.do(t, "GET", "/v2/team/app/manifests/1", "", bearer(old), header("Accept", ociManifest))
	require.Equal(t, http.StatusOK, resp.StatusCode, "a token from before the restart")
}

func TestPublic(t *testing.T) {
	r := start(t, systemregistry.Server{Public: []string{"team/open"}})
	for _, name := range []string{"open", "closed"} {
		r.push(t, "ann", password("ann"), "team/"+name, "1", "layer")
	}
	require.Equal(t, http.StatusOK, r.pull(t, "", credentials.Secret{}, "team/open", "1"))
	require.Equal(t, http.StatusUnauthorized, r.pull(t, "", credentials.Secret{}, "team/closed", "1"))
	token := r.token(t, "", credentials.Secret{}, "repository:team/open:pull,push")
	resp, _ := r.do(t, "POST", "/v2/team/open/blobs/uploads/", "", bearer(token))
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	_, body := r.do(t, "GET", "/api/v1/repositories", "")
	require.JSONEq(t, `{"repositories":["team/open"]}`, body)
}

// A revoked right is gone at once, even though the token still contains it.
func TestRightsAreThoseOfNow(t *testing.T) {
	everywhere(t, systemregistry.Server{}, testRightsAreThoseOfNow)
}

func testRightsAreThoseOfNow(t *testing.T, r *running) {
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	robot, secret := r.robot(t, "team", "ci", rule("team/**", "pull"))
	token := r.token(t, robot, secret, "repository:team/app:pull")
	get := func() int {
		resp, _ := r.do(t, "GET", "/v2/team/app/manifests/1", "", bearer(token), header("Accept", ociManifest))
		return resp.StatusCode
	}
	require.Equal(t, http.StatusOK, get())
	change := func(f func(*accounts.Account)) {
		require.NoError(t, r.Accounts().Update(t.Context(), robot, func(a *accounts.Account) error { f(a); return nil }))
	}
	change(func(a *accounts.Account) { a.Rules = nil })
	require.Equal(t, http.StatusUnauthorized, get())
	change(func(a *accounts.Account) { a.Rules = []accounts.Rule{rule("team/**", "pull")} })
	require.Equal(t, http.StatusOK, get())
	_, err := r.Accounts().NewSecret(t.Context(), robot)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, get(), "a token of the secret before")
}

func TestTokenByPost(t *testing.T) {
	r := start(t, systemregistry.Server{})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	form := func(pairs ...string) string {
		v := url.Values{"service": {"regcred"}, "client_id": {"docker"}, "scope": {"repository:team/app:pull repository:other/app:pull"}}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v.Encode()
	}
	asForm := header("Content-Type", "application/x-www-form-urlencoded")
	resp, body := r.do(t, "POST", "/token", form("grant_type", "password", "username", "ann", "password", password("ann").Reveal()), asForm)
	require.Equal(t, http.StatusOK, resp.StatusCode, body)
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		Scope       string
	}
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	require.Equal(t, "repository:team/app:pull", answer.Scope)
	require.Equal(t, 300, answer.ExpiresIn)
	resp, _ = r.do(t, "GET", "/v2/team/app/manifests/1", "", bearer(answer.AccessToken), header("Accept", ociManifest))
	require.Equal(t, http.StatusOK, resp.StatusCode)

	_, body = r.do(t, "POST", "/api/v1/logins", `{"repositories":["team/**"],"actions":["pull"]}`, basic("ann", password("ann")), asJSON)
	var login struct{ Password string }
	require.NoError(t, json.Unmarshal([]byte(body), &login))
	resp, body = r.do(t, "POST", "/token", form("grant_type", "refresh_token", "refresh_token", login.Password), asForm)
	require.Equal(t, http.StatusOK, resp.StatusCode, body)

	for name, bad := range map[string]string{
		"a wrong password":   form("grant_type", "password", "username", "ann", "password", "wrong"),
		"an access token":    form("grant_type", "refresh_token", "refresh_token", answer.AccessToken),
		"no password at all": form("grant_type", "password", "username", "ann"),
	} {
		resp, body := r.do(t, "POST", "/token", bad, asForm)
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode, "%s: %s", name, body)
	}
	resp, _ = r.do(t, "POST", "/token", form("grant_type", "client_credentials"), asForm)
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
}

// brokenStore is a store that fails on demand.
type brokenStore struct {
	store.Memory
	mu  sync.Mutex
	err error
}

func (b *brokenStore) fail(err error) { b.mu.Lock(); defer b.mu.Unlock(); b.err = err }
func (b *brokenStore) failing() error { b.mu.Lock(); defer b.mu.Unlock(); return b.err }

func (b *brokenStore) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := b.failing(); err != nil {
		return store.Entry{}, err
	}
	return b.Memory.Get(ctx, key)
}

func (b *brokenStore) List(ctx context.Context, prefix string) iter.Seq2[store.Entry, error] {
	return b.Memory.List(ctx, prefix)
}

func TestStoreAway(t *testing.T) {
	s := new(brokenStore)
	r := start(t, systemregistry.Server{Store: s})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull")
	s.fail(errors.New("secret address of a database"))
	for path, login := range map[string]func(*http.Request){
		"/v2/team/app/manifests/1": bearer(token),
		"/token":                   basic("ann", password("ann")),
		"/api/v1/me":               basic("ann", password("ann")),
		"/readyz":                  func(*http.Request) {},
	} {
		resp, body := r.do(t, "GET", path, "", login)
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "%s: %s", path, body)
		require.NotContains(t, body, "secret")
		require.ErrorContains(t, r.takeErrors(), "secret address", path)
	}
	resp, _ := r.do(t, "GET", "/healthz", "")
	require.Equal(t, http.StatusOK, resp.StatusCode, "a restart would not help")
	s.fail(nil)
	resp, _ = r.do(t, "GET", "/readyz", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

func TestEventsRequestsAndMetrics(t *testing.T) {
	var mu sync.Mutex
	var requests []systemregistry.Request
	r := start(t, systemregistry.Server{OnRequest: func(q systemregistry.Request) { mu.Lock(); defer mu.Unlock(); requests = append(requests, q) }})
	digest := r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	r.do(t, "GET", "/token", "", basic("ann", credentials.NewSecret("wrong")))
	r.do(t, "DELETE", "/api/v1/images?repository=team/app&reference=1", "", basic("ann", password("ann")))

	var lines []string
	for _, e := range r.Events() {
		require.False(t, e.Time.IsZero())
		require.True(t, strings.HasPrefix(e.Client, "127.0.0.1:"), e.Client)
		line := string(e.Kind) + " " + e.Account + " " + e.Subject
		if e.Err != nil {
			line += " " + e.Err.Error()
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	require.Equal(t, []string{"login ann", "push ann team/app:1", "login ann  wrong name or password", "login ann", "delete ann team/app:1"}, lines, digest)

	mu.Lock()
	require.NotEmpty(t, requests)
	for _, q := range requests {
		require.NotContains(t, q.Path, "?")
		require.Positive(t, q.Status)
	}
	require.Equal(t, "ann", requests[len(requests)-1].Account)
	mu.Unlock()

	all := prometheus.NewPedanticRegistry()
	require.NoError(t, all.Register(r.Registry))
	families, err := all.Gather()
	require.NoError(t, err)
	found := false
	for _, f := range families {
		for _, m := range f.GetMetric() {
			require.NotContains(t, m.String(), "team")
			found = found || f.GetName() == "regcred_registry_logins_total" && strings.Contains(m.String(), "refused") && m.GetCounter().GetValue() == 1
		}
	}
	require.True(t, found)
}

func TestManifestOfTooManyBytes(t *testing.T) {
	r := open(t, systemregistry.Server{})
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	for _, length := range []int64{5 << 20, -1} {
		resp, body := r.do(t, "PUT", "/v2/team/app/manifests/1", strings.Repeat(" ", 5<<20), bearer(token),
			header("Content-Type", ociManifest), func(req *http.Request) { req.ContentLength = length })
		require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode, body)
	}
}

func TestRunEndsBeforeItServes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := systemregistry.Server{OnReady: func(systemregistry.Ready) { t.Error("it serves") }}
	require.NoError(t, s.Run(ctx))
}

func TestBadConfiguration(t *testing.T) {
	tests := map[string]systemregistry.Server{
		"a pattern":       {Public: []string{"te*m"}},
		"a policy":        {Policies: []images.Policy{{Repositories: "**", MaxBytes: -1}}},
		"lives":           {TokenLifetime: time.Hour, MaxLoginLifetime: time.Minute},
		"a weak admin":    {Admin: "root", AdminPassword: credentials.NewSecret("short")},
		"a folder":        {Dir: "/dev/null/registry"},
		"an address":      {Addr: "256.0.0.1:0"},
		"a cost":          {PasswordCost: 3},
		"an admin's name": {Admin: "Root", AdminPassword: password("root")},
	}
	for name, s := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			require.Error(t, s.Run(ctx))
			require.NoError(t, ctx.Err(), "it served")
		})
	}
}
