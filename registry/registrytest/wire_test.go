package registrytest

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

// The fields that clients read from bodies, with the registries' own texts.
func TestWords(t *testing.T) {
	for name, c := range map[string]struct {
		dialect  Dialect
		username string
		password string
		path     string
		want     string
	}{
		"dockerhub, hidden": {DockerHub(), "ann", "right", "/v2/team/none/manifests/1",
			`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[{"Type":"repository","Class":"","Name":"team/none","Action":"pull"}]}]}`},
		"dockerhub, no tag": {DockerHub(), "ann", "right", missingTag,
			`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":"unknown tag=2"}]}`},
		"dockerhub, wrong password": {DockerHub(), "ann", "wrong", image,
			`{"details":"incorrect username or password"}`},
		"ecr, no login": {ECR(), "", "", image, "Not Authorized\n"},
		"ecr, no repository": {ECR(), "ann", "right", "/v2/team/none/manifests/1",
			`{"errors":[{"code":"NAME_UNKNOWN","message":"The repository with name 'team/none' does not exist in the registry with id '123456789012'"}]}`},
		"ecr, forbidden": {ECR(), "ann", "right", "/v2/other/app/manifests/1",
			`{"errors":[{"code":"DENIED","message":"User: arn:aws:iam::123456789012:user/ann is not authorized to perform: ecr:BatchGetImage on resource: ` +
				`arn:aws:ecr:us-east-1:123456789012:repository/other/app because no identity-based policy allows the ecr:BatchGetImage action"}]}`},
		"gar, forbidden": {ArtifactRegistry(), "ann", "right", "/v2/other/app/manifests/1",
			`{"errors":[{"code":"DENIED","message":"Permission \"artifactregistry.repositories.downloadArtifacts\" denied on resource ` +
				`\"projects/other/locations/us/repositories/app\" (or it may not exist)"}]}`},
		"gar, no tag": {ArtifactRegistry(), "ann", "right", missingTag,
			`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"Failed to fetch \"2\""}]}`},
		"nexus, forbidden": {NexusBasic(), "ann", "right", "/v2/other/app/manifests/1",
			`{"errors":[{"code":"UNAUTHORIZED","message":"access to the requested resource is not authorized","detail":null}]}`},
		"artifactory, wrong password": {Artifactory(), "ann", "wrong", image,
			`{"errors":[{"status":401,"message":"Bad credentials"}]}`},
		"artifactory, no repository": {Artifactory(), "ann", "right", "/v2/team/none/manifests/1",
			`{"errors":[{"code":"NAME_UNKNOWN","message":"Repository name not known to registry.","detail":{"name":"team/none"}}]}`},
		"acr, no tag": {ACR(), "ann", "right", missingTag,
			`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest tagged by \"2\" is not found","detail":{"Tag":"2"}}]}`},
		"harbor, forbidden": {Harbor(), "ann", "right", "/v2/other/app/manifests/1",
			`{"errors":[{"code":"UNAUTHORIZED","message":"unauthorized to access repository: other/app, action: pull"}]}`},
		"harbor, no project": {Harbor(), "ann", "right", "/v2/none/app/manifests/1",
			`{"errors":[{"code":"UNAUTHORIZED","message":"project none not found"}]}`},
		"harbor, no tag": {Harbor(), "ann", "right", missingTag,
			`{"errors":[{"code":"NOT_FOUND","message":"artifact team/app:2 not found"}]}`},
		"gitea, forbidden":        {Gitea(), "ann", "right", "/v2/other/app/manifests/1", "reqPackageAccess\n"},
		"forgejo, wrong password": {Forgejo(), "ann", "wrong", image, "authGroup.Verify\n"},
		"gitlab, wrong password": {GitLab(), "ann", "wrong", image,
			`{"errors":[{"code":"UNAUTHORIZED","message":"HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password."}]}`},
		"gitlab, no right to anything": {GitLab(), "nobody", "right", image,
			`{"errors":[{"code":"DENIED","message":"access forbidden"}]}`},
		"quay, wrong password": {Quay(), "ann", "wrong", image,
			`{"errors":[{"code":"UNAUTHORIZED","message":"Invalid Username or Password","detail":{}}]}`},
		"zot, wrong password": {Zot(), "ann", "wrong", image,
			`{"code":"UNAUTHORIZED","message":"authentication required","description":"The access controller was unable to authenticate the client."}`},
		"a tag with a quote": {ACR(), "ann", "right", `/v2/team/app/manifests/%22%3C`,
			`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest tagged by \"\"<\" is not found","detail":{"Tag":"\"<"}}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, c.dialect)
			got := newClient(r, c.username, c.password).ask(t, "GET", c.path)
			require.Equal(t, c.want, got.body)
		})
	}
}

// The responses of token endpoints, in addition to a working token.
func TestTokenEndpoints(t *testing.T) {
	fields := map[string]string{
		"dockerhub": "access_token,expires_in=300,issued_at,token", "ecr-public": "token", "gcr": "expires_in=43200,token", "gar": "expires_in=43200,token", "quay": "token",
		"nexus-bearer": "token", "artifactory": "expires_in=3600,token", "acr": "access_token", "harbor": "access_token,expires_in=1800,issued_at,token", "ghcr": "token",
		"gitlab": "token", "distribution-token": "access_token,expires_in=60,issued_at,token", "gitea": "token", "forgejo": "token",
	}
	posts := map[string]int{
		"dockerhub": 200, "ecr-public": 405, "gcr": 404, "gar": 405, "quay": 405, "nexus-bearer": 404, "artifactory": 405, "acr": 400, "harbor": 405, "ghcr": 405,
		"gitlab": 404, "distribution-token": 200, "gitea": 404, "forgejo": 404,
	}
	for _, d := range Dialects() {
		if d.token.path == "" {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			r := newRegistry(t, d)
			ann := newClient(r, "ann", "right")
			m := challengeForm.FindStringSubmatch(ann.send(t, "", "GET", ann.base+image, nil).Header.Get("WWW-Authenticate"))
			got := ann.token(t, m[2], m[3], "repository:team/app:pull", "repository:other/app:pull")
			require.Equal(t, 200, got.StatusCode)
			require.Equal(t, fields[d.Name], fieldsOf(t, got.body))
			require.True(t, strings.HasPrefix(got.text(t), d.token.prefix))

			post := ann.send(t, "token", "POST", m[2], func(req *http.Request) {
				form(req, "grant_type=password&username=ann&password=right&client_id=test&service="+m[3]+"&scope=repository:team/app:pull%20repository:other/app:pull")
			})
			require.Equal(t, posts[d.Name], post.StatusCode)
			if post.StatusCode == 200 {
				require.Equal(t, good, ann.send(t, "registry", "GET", ann.base+image, bearer(post.text(t))).String())
			}
		})
	}
}

func TestHarborIgnoresAWrongLogin(t *testing.T) {
	r := newRegistry(t, Harbor())
	r.Public = []string{"team/app"}
	mallory := newClient(r, "ann", "wrong")
	realm := mallory.base + "/service/token"
	got := mallory.token(t, realm, "harbor-registry", "repository:team/app:pull")
	require.Equal(t, 200, got.StatusCode, "a scope makes the login not matter")
	require.Contains(t, got.body, `"access_token":""`)
	require.Equal(t, good, mallory.send(t, "registry", "GET", mallory.base+image, bearer(got.text(t))).String(), "what is public")

	got = mallory.token(t, realm, "harbor-registry")
	require.Equal(t, 401, got.StatusCode, "without a scope the login is checked")
	require.Empty(t, got.body)
	require.Equal(t, 400, mallory.token(t, realm, "other").StatusCode, "unknown service")

	basic := mallory.send(t, "registry", "GET", mallory.base+"/v2/", mallory.basic)
	require.Equal(t, 401, basic.StatusCode)
	require.Equal(t, `Basic realm="harbor"`, basic.Header.Get("WWW-Authenticate"))
	ann := newClient(r, "ann", "right")
	require.Equal(t, 200, ann.send(t, "registry", "GET", ann.base+"/v2/", ann.basic).StatusCode)
	require.Equal(t, 401, mallory.send(t, "registry", "GET", mallory.base+image, nil).StatusCode, "also what is public wants a token")
}

// Harbor requests a password from a client that sent an insufficient login or token, and a token from all others.
func TestHarborChallenges(t *testing.T) {
	r := newRegistry(t, Harbor())
	ann := newClient(r, "ann", "right")
	forbidden := "/v2/other/app/manifests/1"
	got := ann.send(t, "registry", "GET", ann.base+forbidden, ann.basic)
	require.Equal(t, plain401, got.String())
	require.Equal(t, `Basic realm="harbor"`, got.Header.Get("WWW-Authenticate"))
	require.Equal(t, `Basic realm="harbor"`, ann.ask(t, "GET", forbidden).Header.Get("WWW-Authenticate"), "with a token")
	got = ann.send(t, "registry", "GET", ann.base+image, bearer("old"))
	require.Equal(t, `Basic realm="harbor"`, got.Header.Get("WWW-Authenticate"))
}

func TestSeveralChallenges(t *testing.T) {
	d := Forgejo()
	d.unauthorized.Challenge += "\nbasic realm=plain"
	c := newClient(newRegistry(t, d), "", "")
	require.Equal(t, []string{
		`Bearer realm="https://registry.test/v2/token",service="container_registry",scope="*"`, "basic realm=plain",
	}, c.send(t, "", "GET", c.base+"/v2/", nil).Header.Values("WWW-Authenticate"))
}

func TestQuayRefusesScopes(t *testing.T) {
	r := newRegistry(t, Quay())
	ann := newClient(r, "ann", "right")
	for scope, want := range map[string]int{
		"repository:team/app:pull":               200,
		"repository:team/app:pull,push":          200,
		"repository:registry.test/team/app:pull": 200,
		"repository:team/app:delete":             400,
		"registry:catalog:*":                     400,
		"nonsense":                               400,
	} {
		require.Equal(t, want, ann.token(t, ann.base+"/v2/auth", "registry.test", scope).StatusCode, scope)
	}
	require.Equal(t, 401, newClient(r, "", "").token(t, ann.base+"/v2/auth", "registry.test").StatusCode, "neither a login nor a scope")
}

func TestECRPublicTakesALoginAsToken(t *testing.T) {
	r := newRegistry(t, ECRPublic())
	ann := newClient(r, "ann", "right")
	pair := base64.StdEncoding.EncodeToString([]byte("ann:right"))
	require.Equal(t, good, ann.send(t, "registry", "GET", ann.base+image, bearer(pair)).String())
	require.Equal(t, "registry 400 DENIED", ann.send(t, "registry", "GET", ann.base+image, ann.basic).String(), "but not as Basic")
}

func TestACRRefreshTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, ACR())
		const zero = "00000000-0000-0000-0000-000000000000"
		r.Authenticate = func(username string, password credentials.Secret) (Account, bool) {
			return Account{Username: username, Pull: []string{"*"}}, username == zero && password.Reveal() == "entra"
		}
		c := newClient(r, zero, "")
		exchange := func(token string) outcome {
			return c.send(t, "token", "POST", c.base+"/oauth2/exchange", func(req *http.Request) {
				form(req, "grant_type=access_token&service=registry.test&access_token="+token)
			})
		}
		require.Equal(t, 401, exchange("wrong").StatusCode)
		got := exchange("entra")
		require.Equal(t, "refresh_token", fieldsOf(t, got.body))
		refresh := strings.Split(got.body, `"`)[3]

		post := c.send(t, "token", "POST", c.base+"/oauth2/token", func(req *http.Request) {
			form(req, "grant_type=refresh_token&service=registry.test&scope=repository:team/app:pull&refresh_token="+refresh)
		})
		require.Equal(t, good, c.send(t, "registry", "GET", c.base+image, bearer(post.text(t))).String())
		c.password = refresh
		require.Equal(t, good, c.ask(t, "GET", image).String(), "as the password of the user that is all zeros")
		refused := c.send(t, "registry", "GET", c.base+image, bearer(refresh)).String()
		require.Equal(t, plain401, refused[:len(plain401)], "a refresh token is no access token")
		require.Contains(t, refused, "invalid_token")
		time.Sleep(3 * time.Hour)
		require.Equal(t, token401, c.ask(t, "GET", image).String())
	})
}

func TestManifestHeaders(t *testing.T) {
	for _, d := range Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			r := newRegistry(t, d)
			ann := newClient(r, "ann", "right")
			get, head := ann.ask(t, "GET", image), ann.ask(t, "HEAD", image)
			require.Equal(t, "application/vnd.oci.image.manifest.v1+json", get.Header.Get("Content-Type"))
			require.Equal(t, get.Header.Get("Content-Type"), head.Header.Get("Content-Type"))
			require.NotEmpty(t, head.Header.Get("Docker-Content-Digest"))
			if d.Name == "ecr" {
				require.Empty(t, get.Header.Get("Docker-Content-Digest"))
			} else {
				require.Equal(t, head.Header.Get("Docker-Content-Digest"), get.Header.Get("Docker-Content-Digest"))
			}
			byDigest := ann.ask(t, "GET", "/v2/team/app/manifests/"+head.Header.Get("Docker-Content-Digest"))
			require.Equal(t, get.body, byDigest.body)

			want := good
			if d.Name == "ghcr" || d.Name == "gitlab" || strings.HasPrefix(d.Name, "distribution") {
				want = noTag
			}
			ann.accept = "application/vnd.docker.distribution.manifest.v2+json, */*"
			require.Equal(t, want, ann.ask(t, "GET", image).String(), "an OCI image that Accept does not name")
		})
	}
}

func TestDockerHubCountsPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, DockerHub())
		r.RateLimit = RateLimit{Limit: 2, Window: 6 * time.Hour, RetryAfter: RetryAfterDate}
		ann := newClient(r, "ann", "right")
		got := ann.ask(t, "HEAD", image)
		require.Equal(t, "2;w=21600", got.Header.Get("Ratelimit-Limit"))
		require.Equal(t, "2;w=21600", got.Header.Get("Ratelimit-Remaining"), "a HEAD is free")
		require.Equal(t, "192.0.2.1", got.Header.Get("Docker-Ratelimit-Source"))
		require.Equal(t, "1;w=21600", ann.ask(t, "GET", image).Header.Get("Ratelimit-Remaining"))
		got = ann.ask(t, "GET", missingTag)
		require.Equal(t, "0;w=21600", got.Header.Get("Ratelimit-Remaining"))
		require.Equal(t, 404, got.StatusCode)
		got = ann.ask(t, "GET", image)
		require.Equal(t, 429, got.StatusCode)
		require.Equal(t, "Sat, 01 Jan 2000 06:00:00 GMT", got.Header.Get("Retry-After"))
		require.Equal(t, good, ann.ask(t, "HEAD", image).String(), "a HEAD stays free")
	})
}
