package registrytest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

// The zero dialect, with and without a token endpoint, is the registry of the specification.
func TestZeroDialect(t *testing.T) {
	for name, c := range map[string]struct {
		dialect         Dialect
		challenge       string
		badLogin, other string
	}{
		"basic": {Dialect{}, `Basic realm="registry"`, plain401, denied},
		"bearer": {
			Dialect{token: tokenEndpoint{path: "/token"}},
			`Bearer realm="https://registry.test/token",service="registry.test",scope="repository:team/app:pull"`, token401, denied,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, c.dialect)
			ann := newClient(r, "ann", "right")
			require.Equal(t, c.challenge, ann.send(t, "", "GET", ann.base+image, nil).Header.Get("WWW-Authenticate"))
			require.Equal(t, good, ann.ask(t, "GET", image).String())
			require.Equal(t, c.badLogin, newClient(r, "ann", "wrong").ask(t, "GET", image).String())
			require.Equal(t, c.other, ann.ask(t, "GET", "/v2/other/app/manifests/1").String())
			require.Equal(t, noTag, ann.ask(t, "GET", missingTag).String())
		})
	}
}

// Public repositories require no login, but with tokens they require a token.
func TestPublic(t *testing.T) {
	for _, d := range Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			r := newRegistry(t, d)
			r.Public = []string{"team/*"}
			nobody := newClient(r, "", "")
			require.Equal(t, good, nobody.ask(t, "GET", image).String())
			if d.token.path != "" {
				require.Equal(t, 401, nobody.send(t, "", "GET", nobody.base+image, nil).StatusCode)
			}
			require.NotEqual(t, 200, nobody.ask(t, "GET", "/v2/other/app/manifests/1").StatusCode)
		})
	}
}

func TestScopes(t *testing.T) {
	const both = "repository:team/app:pull repository:new/app:push,pull"
	narrow := DistributionToken()
	narrow.token.oneScope = true
	for name, c := range map[string]struct {
		dialect Dialect
		user    string
		scopes  string
		want    string // The scope of the response.
	}{
		"several":             {DistributionToken(), "ann", both, "repository:team/app:pull repository:new/app:pull,push"},
		"only the first":      {narrow, "ann", both, "repository:team/app:pull"},
		"all actions":         {DistributionToken(), "ann", "repository:new/app:*", "repository:new/app:pull,push"},
		"what one may":        {DistributionToken(), "ann", "repository:team/app:pull,push,delete", "repository:team/app:pull"},
		"nothing":             {DistributionToken(), "bob", both, ""},
		"the catalog":         {DistributionToken(), "ann", "registry:catalog:*", "registry:catalog:*"},
		"not for everybody":   {DistributionToken(), "bob", "registry:catalog:*", ""},
		"a class, and a port": {DistributionToken(), "ann", "repository(plugin):team/app:pull repository:host:5000/app:pull", "repository:team/app:pull"},
		"no scope at all":     {DistributionToken(), "ann", "nonsense whatever:x", ""},
		"no such repository":  {DockerHub(), "ann", "repository:team/none:pull", ""},
		"one to be pushed":    {DockerHub(), "ann", "repository:new/none:pull,push", "repository:new/none:pull,push"},
	} {
		t.Run(name, func(t *testing.T) {
			c.dialect.token.body = `{"token":"{token}","scope":"{scope}"}`
			c.dialect.token.otherHost = false
			r := newRegistry(t, c.dialect)
			user := newClient(r, c.user, "right")
			for form, scopes := range map[string][]string{"repeated": strings.Fields(c.scopes), "parted by spaces": {c.scopes}} {
				got := user.token(t, user.base+c.dialect.token.path, "registry", scopes...)
				require.Contains(t, got.body, `"scope":"`+c.want+`"`, form)
			}
		})
	}
}

// An invalid expression in a custom dialect is reported, and not hidden in a broken connection.
func TestBadScopeExpression(t *testing.T) {
	r := newRegistry(t, Dialect{token: tokenEndpoint{path: "/token", scope: "("}})
	ann := newClient(r, "ann", "right")
	got := ann.token(t, ann.base+"/token", "", "repository:team/app:pull")
	require.Equal(t, 500, got.StatusCode)
	require.Contains(t, got.body, "Dialect.Token.Scope")
}

// When a login expires, so do its tokens.
func TestTokenEndsWithItsLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, ArtifactRegistry())
		r.SetAccounts(Account{
			Username: "oauth2accesstoken", Password: credentials.NewSecret("ya29"), Pull: []string{"*"}, ExpiresAt: time.Now().Add(time.Hour),
		})
		c := newClient(r, "oauth2accesstoken", "ya29")
		got := c.token(t, c.base+"/v2/token", "registry.test", "repository:team/app:pull")
		require.Equal(t, "expires_in=3600,token", fieldsOf(t, got.body))
		time.Sleep(time.Hour)
		require.Equal(t, plain401, c.send(t, "registry", "GET", c.base+image, bearer(got.text(t))).String())
	})
}

// All methods may be called while the registry is in use.
func TestConcurrentUse(t *testing.T) {
	r := newRegistry(t, ArtifactRegistry())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 20 {
				ann := newClient(r, "ann", "right")
				ann.ask(t, "GET", image)
				_, err := r.Add(fmt.Sprintf("team/app:%d-%d", i, j), Image{})
				if err != nil {
					t.Error(err)
				}
				remove := r.Inject(Fault{Times: 1, Answer: Answer{Status: 503}})
				ann.ask(t, "GET", "/v2/team/app/tags/list")
				remove()
				r.SetAccounts(r.Accounts...)
				r.ExpireTokens()
				r.Requests()
			}
		})
	}
	wg.Wait()
	r.ResetRequests()
	require.Equal(t, good, newClient(r, "ann", "right").ask(t, "GET", image).String())
	require.Len(t, r.Requests(), 3)
}
