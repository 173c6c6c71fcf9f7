package gcr_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/gcr/gcrtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

func TestConformance(t *testing.T) {
	noAmbient(t)
	cloud := newGoogle()
	n := attach(t, cloud)
	serveMetadata(t, &gcrtest.Metadata{Google: cloud, Email: middle})
	refusing := attach(t, answering(status(http.StatusBadRequest, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`)))
	stalled := attach(t, answering(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	file := writeFile(t, cloud.SubjectToken(provider, "repo:team/app", 0).Reveal())
	shared := new(registry.Transports)
	t.Cleanup(shared.CloseIdleConnections)
	c := &cluster{issuer: issuertest.New("https://kubernetes.example.com", issuertest.RS256)}
	cloud.Trusts = newKeyless(c).Trusts
	p := gcr.Provider{SubjectTokens: []string{file}, Transports: shared, Subjects: c}

	key, other := cloud.NewKey(puller), cloud.NewKey(puller)
	var profiles []registry.Profile
	for i, login := range []credentials.Login{
		googleLogin(credentials.GoogleLogin{Credentials: key}),
		googleLogin(credentials.GoogleLogin{Credentials: other}),
		googleLogin(credentials.GoogleLogin{Credentials: key, AccessToken: true}),
		{Username: "_json_key", Password: key},
		googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(builder), Impersonate: puller, Delegates: []string{middle}}),
		googleLogin(credentials.GoogleLogin{Impersonate: puller}),
		external(map[string]any{"file": file}, nil),
		{Anonymous: true},
		keyless(credentials.GoogleFederation{Provider: providerName}, "").Login,
		keyless(credentials.GoogleFederation{GKE: clusterName}, "").Login,
	} {
		q := profile(n, login)
		q.Name = fmt.Sprintf("profile-%d", i)
		profiles = append(profiles, q)
	}
	refused := func(change func(*registry.Profile)) registry.Profile {
		q := profile(n, googleLogin(credentials.GoogleLogin{Credentials: key}))
		change(&q)
		return q
	}
	providerstest.TestProvider(t, providerstest.Fixture{
		Provider: through(n, p),
		Profiles: profiles,
		Invalid: []registry.Profile{
			refused(func(q *registry.Profile) { q.Endpoint = "ghcr.io" }),
			refused(func(q *registry.Profile) { q.Hosts = []string{"gcr.io.evil.example"} }),
			refused(func(q *registry.Profile) { q.Transport.PlainHTTP = true }),
			refused(func(q *registry.Profile) {
				q.Login = credentials.Login{Username: "ann", Password: credentials.NewSecret("long-enough")}
			}),
			refused(func(q *registry.Profile) {
				q.Login = credentials.Login{Username: "oauth2accesstoken", Password: credentials.NewSecret("ya29.long-enough")}
			}),
			refused(func(q *registry.Profile) {
				q.Login = googleLogin(credentials.GoogleLogin{Credentials: credentials.NewSecret(`{"type":"x"}`)})
			}),
			refused(func(q *registry.Profile) { q.Login = external(map[string]any{"file": "/etc/passwd"}, nil) }),
			refused(func(q *registry.Profile) {
				q.Login = googleLogin(credentials.GoogleLogin{Impersonate: "ann@example.com"})
			}),
			refused(func(q *registry.Profile) { q.Login = credentials.Login{AWS: &credentials.AWSLogin{}} }),
			refused(func(q *registry.Profile) { q.Login = credentials.Login{Ambient: true} }), // With a proxy of its own.
			refused(func(q *registry.Profile) { q.Login = external(map[string]any{"file": file}, nil) }),
		},
		Failing: through(refusing, p),
		Stalled: through(stalled, p),
		Check: func(p registry.Profile, c credentials.Credential) error {
			if c.Username != "_json_key" {
				return nil
			}
			want := p.Login.Password
			if p.Login.Google != nil {
				want = p.Login.Google.Credentials
			}
			if idOf(c.Password) != idOf(want) {
				return fmt.Errorf("the key is that of another profile")
			}
			return nil
		},
	})
}

func idOf(key credentials.Secret) string {
	var f struct {
		ID string `json:"private_key_id"`
	}
	_ = json.Unmarshal([]byte(key.Reveal()), &f)
	return f.ID
}

// A thousand profiles of one service account, on all hosts of Google's, need one call.
func TestCacheSharesOneToken(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	login := googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(puller), AccessToken: true})
	cache := new(credentials.Cache)
	hosts := googleHosts()
	var wait sync.WaitGroup
	got := make([]credentials.Credential, 1000)
	for i := range got {
		p := profile(n, login)
		p.Name, p.Endpoint = fmt.Sprintf("p-%d", i), fmt.Sprintf("%s/project-%d", hosts[i%len(hosts)], i)
		wait.Go(func() {
			c, err := cache.Credential(t.Context(), providers.Key(gcr.Provider{}, p), providers.Source(gcr.Provider{}, p))
			if err == nil {
				got[i] = c
			}
		})
	}
	wait.Wait()
	require.Len(t, cloud.Calls(), 1)
	got = slices.CompactFunc(got, credentials.Credential.Equal)
	require.Len(t, got, 1)
	require.NotEmpty(t, got[0].Username)
}
