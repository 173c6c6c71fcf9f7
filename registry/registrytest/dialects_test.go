package registrytest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

const (
	good     = "registry 200"
	denied   = "registry 403 DENIED"
	noTag    = "registry 404 MANIFEST_UNKNOWN"
	noName   = "registry 404 NAME_UNKNOWN"
	scope401 = "registry 401 UNAUTHORIZED insufficient_scope"
	plain401 = "registry 401 UNAUTHORIZED"
	token401 = "token 401 UNAUTHORIZED"
)

// The responses to a client that follows the challenge, as documented by the vendors or as observed.
var dialectTable = map[string]struct {
	ping, challenge string // Of /v2/ and of a manifest, without a login.
	anonymous       string // Requests an image that is not public.
	badLogin        string
	expired         string // An expired login.
	forbidden       string // The repository exists, but the login has no right to it.
	hidden          string // The repository does not exist, and the login has no right to it.
	noRepository    string // The login has the right, but the repository does not exist.
	noTags          string // The same, for the list of tags.
	noTag           string
	oldToken        string // An expired bearer token.
	limited         string
	blocked         string
}{
	"dockerhub": {
		ping:      `Bearer realm="https://auth.registry.test/token",service="registry.docker.io"`,
		challenge: `Bearer realm="https://auth.registry.test/token",service="registry.docker.io",scope="repository:team/app:pull"`,
		anonymous: scope401, badLogin: "token 401", expired: "token 401", forbidden: scope401, hidden: scope401, noRepository: scope401, noTags: scope401,
		noTag: noTag, oldToken: "registry 401 UNAUTHORIZED invalid_token", limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"ecr": {
		ping:      `Basic realm="https://registry.test/",service="ecr.amazonaws.com"`,
		challenge: `Basic realm="https://registry.test/",service="ecr.amazonaws.com"`,
		anonymous: "registry 401", badLogin: "registry 401", expired: denied, forbidden: denied, hidden: noName, noRepository: noName, noTags: noName,
		noTag: noTag, limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"ecr-public": {
		ping:      `Bearer realm="https://registry.test/token/",service="public.ecr.aws",scope="aws"`,
		challenge: `Bearer realm="https://registry.test/token/",service="public.ecr.aws",scope="aws"`,
		anonymous: denied, badLogin: "token 403 DENIED", expired: "token 403 DENIED", forbidden: denied, hidden: noName, noRepository: noName, noTags: noName,
		noTag: noTag, oldToken: "registry 400 DENIED", limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"gcr": {
		ping:      `Bearer realm="https://registry.test/v2/token",service="registry.test"`,
		challenge: `Bearer realm="https://registry.test/v2/token",service="registry.test",scope="repository:team/app:pull"`,
		anonymous: denied, badLogin: token401, expired: token401, forbidden: denied, hidden: denied, noRepository: noName, noTags: noName,
		noTag: noTag, oldToken: plain401, limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"gar": {
		ping:      `Bearer realm="https://registry.test/v2/token"`,
		challenge: `Bearer realm="https://registry.test/v2/token",service="registry.test",scope="repository:team/app:pull"`,
		anonymous: denied, badLogin: token401, expired: token401, forbidden: "token 403 DENIED", hidden: "token 403 DENIED", noRepository: noName, noTags: noName,
		noTag: noTag, oldToken: plain401, limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"quay": {
		ping:      `Bearer realm="https://registry.test/v2/auth",service="registry.test"`,
		challenge: `Bearer realm="https://registry.test/v2/auth",service="registry.test",scope="repository:team/app:pull"`,
		anonymous: plain401, badLogin: token401, expired: token401, forbidden: plain401, hidden: plain401, noRepository: noName, noTags: noName,
		noTag: noTag, oldToken: plain401, limited: "registry 429", blocked: "registry 405 DENIED",
	},
	"nexus-basic": {
		ping:      `BASIC realm="Sonatype Nexus Repository Manager"`,
		challenge: `BASIC realm="Sonatype Nexus Repository Manager"`,
		anonymous: plain401, badLogin: plain401, expired: plain401, forbidden: "registry 403 UNAUTHORIZED", hidden: noTag, noRepository: noTag, noTags: noName,
		noTag: noTag, limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"nexus-bearer": {
		ping:      `Bearer realm="https://registry.test/v2/token",service="https://registry.test/v2/token"`,
		challenge: `Bearer realm="https://registry.test/v2/token",service="https://registry.test/v2/token",scope="repository:*:pull"`,
		anonymous: token401, badLogin: token401, expired: token401, forbidden: "registry 403 UNAUTHORIZED", hidden: noTag, noRepository: noTag, noTags: noName,
		noTag: noTag, oldToken: plain401, limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"artifactory": {
		ping:      `Bearer realm="https://registry.test/artifactory/api/docker/null/v2/token",service="registry.test"`,
		challenge: `Bearer realm="https://registry.test/artifactory/api/docker/team/v2/token",service="registry.test",scope="repository:team/app:pull"`,
		anonymous: token401, badLogin: "token 401", expired: "token 401", forbidden: "registry 403 UNAUTHORIZED", hidden: noName, noRepository: noName, noTags: noName,
		noTag: noTag, oldToken: plain401, limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"mcr": {
		anonymous: good, badLogin: good, expired: good, forbidden: noTag, hidden: noTag, noRepository: noTag, noTags: "registry 404",
		noTag: noTag, limited: "registry 429", blocked: denied,
	},
	"acr": {
		ping:      `Bearer realm="https://registry.test/oauth2/token",service="registry.test"`,
		challenge: `Bearer realm="https://registry.test/oauth2/token",service="registry.test",scope="repository:team/app:pull"`,
		anonymous: token401, badLogin: token401, expired: token401, forbidden: plain401, hidden: plain401, noRepository: noTag, noTags: noName,
		noTag: noTag, oldToken: "registry 401 UNAUTHORIZED invalid_token", limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"harbor": {
		ping:      `Bearer realm="https://registry.test/service/token",service="harbor-registry"`,
		challenge: `Bearer realm="https://registry.test/service/token",service="harbor-registry",scope="repository:team/app:pull"`,
		anonymous: plain401, badLogin: plain401, expired: plain401, forbidden: plain401, hidden: plain401, noRepository: "registry 404 NOT_FOUND", noTags: "registry 404 NOT_FOUND",
		noTag: "registry 404 NOT_FOUND", oldToken: plain401, limited: "registry 429 TOO_MANY_REQUEST", blocked: "registry 412 PROJECTPOLICYVIOLATION",
	},
	"ghcr": {
		ping:      `Bearer realm="https://registry.test/token",service="registry.test",scope="repository:user/image:pull"`,
		challenge: `Bearer realm="https://registry.test/token",service="registry.test",scope="repository:team/app:pull"`,
		anonymous: token401, badLogin: "token 403 DENIED", expired: "token 403 DENIED", forbidden: "token 403 DENIED", hidden: "token 403 DENIED", noRepository: "token 403 DENIED",
		noTags: "token 403 DENIED", noTag: noTag, oldToken: denied, limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"gitlab": {
		ping:      `Bearer realm="https://auth.registry.test/jwt/auth",service="container_registry"`,
		challenge: `Bearer realm="https://auth.registry.test/jwt/auth",service="container_registry",scope="repository:team/app:pull"`,
		anonymous: scope401, badLogin: token401, expired: token401, forbidden: scope401, hidden: scope401, noRepository: noTag, noTags: noName,
		noTag: noTag, oldToken: "registry 401 UNAUTHORIZED invalid_token", limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"distribution-basic": {
		ping:      `Basic realm="basic-realm"`,
		challenge: `Basic realm="basic-realm"`,
		anonymous: plain401, badLogin: plain401, expired: plain401, forbidden: denied, hidden: noTag, noRepository: noTag, noTags: noName,
		noTag: noTag, limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"distribution-token": {
		ping:      `Bearer realm="https://registry.test/auth/token",service="registry"`,
		challenge: `Bearer realm="https://registry.test/auth/token",service="registry",scope="repository:team/app:pull"`,
		anonymous: scope401, badLogin: token401, expired: token401, forbidden: scope401, hidden: scope401, noRepository: noTag, noTags: noName,
		noTag: noTag, oldToken: "registry 401 UNAUTHORIZED invalid_token", limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"zot": {
		ping:      `Basic realm="Authorization Required"`,
		challenge: `Basic realm="Authorization Required"`,
		anonymous: "registry 401", badLogin: "registry 401", expired: "registry 401", forbidden: denied, hidden: noName, noRepository: noName, noTags: noName,
		noTag: noTag, limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"gitea": {
		ping:      `Bearer realm="https://registry.test/v2/token",service="container_registry",scope="*"`,
		challenge: `Bearer realm="https://registry.test/v2/token",service="container_registry",scope="*"`,
		anonymous: "registry 401", badLogin: token401, expired: token401, forbidden: "registry 401", hidden: "registry 401", noRepository: noTag,
		noTags: noName, noTag: noTag, oldToken: plain401, limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
	"forgejo": {
		ping:      `Bearer realm="https://registry.test/v2/token",service="container_registry",scope="*"`,
		challenge: `Bearer realm="https://registry.test/v2/token",service="container_registry",scope="*"`,
		anonymous: "registry 401", badLogin: "token 401", expired: "token 401", forbidden: "registry 401", hidden: "registry 401", noRepository: noTag,
		noTags: noName, noTag: noTag, oldToken: "registry 401", limited: "registry 429 TOOMANYREQUESTS", blocked: denied,
	},
}

const (
	image      = "/v2/team/app/manifests/1"
	missingTag = "/v2/team/app/manifests/2"
)

func TestDialects(t *testing.T) {
	require.Len(t, Dialects(), len(dialectTable))
	for _, d := range Dialects() {
		want, ok := dialectTable[d.Name]
		require.True(t, ok, d.Name)
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRegistry(t, d)
				r.Blocked = []string{"team/blocked"}
				_, err := r.Add("team/blocked:1", Image{})
				require.NoError(t, err)
				ann, bob := newClient(r, "ann", "right"), newClient(r, "bob", "right")
				nobody := newClient(r, "", "")

				require.Equal(t, want.ping, nobody.send(t, "", "GET", nobody.base+"/v2/", nil).Header.Get("WWW-Authenticate"), "ping")
				require.Equal(t, want.challenge, nobody.send(t, "", "GET", nobody.base+image, nil).Header.Get("WWW-Authenticate"), "challenge")
				require.Equal(t, good, ann.ask(t, "GET", "/v2/").String(), "ping with the login")
				for situation, c := range map[string]struct {
					want   string
					client client
					path   string
				}{
					"good login":              {good, ann, image},
					"list of tags":            {good, ann, "/v2/team/app/tags/list"},
					"no login":                {want.anonymous, nobody, image},
					"wrong password":          {want.badLogin, newClient(r, "ann", "wrong"), image},
					"unknown user":            {want.badLogin, newClient(r, "zoe", "right"), image},
					"empty password":          {want.badLogin, newClient(r, "ann", ""), image},
					"forbidden":               {want.forbidden, ann, "/v2/other/app/manifests/1"},
					"no right, no repository": {want.hidden, bob, "/v2/team/none/manifests/1"},
					"no repository":           {want.noRepository, ann, "/v2/team/none/manifests/1"},
					"no repository for tags":  {want.noTags, ann, "/v2/team/none/tags/list"},
					"no tag":                  {want.noTag, ann, missingTag},
					"blocked":                 {want.blocked, ann, "/v2/team/blocked/manifests/1"},
				} {
					got := c.client.ask(t, "GET", c.path)
					require.Equal(t, c.want, got.String(), situation)
					head := c.client.ask(t, "HEAD", c.path)
					require.Equal(t, got.StatusCode, head.StatusCode, situation)
					require.Equal(t, got.part, head.part, situation)
					if head.part == "registry" {
						require.Empty(t, head.body, situation)
						require.Equal(t, got.ContentLength, head.ContentLength, situation)
					}
				}

				r.SetAccounts(Account{
					Username: "ann", Password: credentials.NewSecret("right"), Pull: []string{"*"}, ExpiresAt: time.Now().Add(24 * time.Hour),
				})
				require.Equal(t, good, ann.ask(t, "GET", image).String(), "the day before it expires")
				time.Sleep(24 * time.Hour)
				require.Equal(t, want.expired, ann.ask(t, "GET", image).String(), "expired login")
			})
		})
	}
}

func TestTokensExpire(t *testing.T) {
	for _, d := range Dialects() {
		if d.token.path == "" {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRegistry(t, d)
				ann := newClient(r, "ann", "right")
				m := challengeForm.FindStringSubmatch(ann.send(t, "", "GET", ann.base+image, nil).Header.Get("WWW-Authenticate"))
				issue := func() string { return ann.token(t, m[2], m[3], "repository:team/app:pull").text(t) }
				use := func(token string) string {
					return ann.send(t, "registry", "GET", ann.base+image, bearer(token)).String()
				}
				want := dialectTable[d.Name].oldToken

				token := issue()
				if d.token.ttl > 0 {
					time.Sleep(d.token.ttl - time.Nanosecond)
					require.Equal(t, good, use(token), "before it ends")
					time.Sleep(time.Nanosecond)
					require.Equal(t, want, use(token), "at its end")
				} else {
					time.Sleep(1000 * time.Hour)
					require.Equal(t, good, use(token), "a token without an end")
				}
				token = issue()
				require.Equal(t, good, use(token))
				r.ExpireTokens()
				require.Equal(t, want, use(token), "ended by hand")
				require.Equal(t, want, use("never-issued"))
			})
		})
	}
}

func TestRateLimit(t *testing.T) {
	for _, d := range Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRegistry(t, d)
				r.RateLimit = RateLimit{Limit: 2, Window: time.Hour, RetryAfter: RetryAfterSeconds}
				ann := newClient(r, "ann", "right")
				require.Equal(t, good, ann.ask(t, "GET", image).String())
				require.Equal(t, dialectTable[d.Name].noTag, ann.ask(t, "GET", missingTag).String(), "what is missing counts too")
				time.Sleep(10 * time.Minute)
				got := ann.ask(t, "GET", image)
				require.Equal(t, dialectTable[d.Name].limited, got.String())
				require.Equal(t, "3000", got.Header.Get("Retry-After"))
				if !d.open {
					require.NotEqual(t, 429, newClient(r, "bob", "right").ask(t, "GET", image).StatusCode, "each account has its own")
				}
				time.Sleep(50 * time.Minute)
				require.Equal(t, good, ann.ask(t, "GET", image).String(), "the next window")
			})
		})
	}
}
