package validate_test

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// A home is a registry that speaks a dialect.
type home struct {
	title, host, tokenHost string
	source                 string // The vendor's page on how to log in.
}

var homes = map[string]home{
	"dockerhub": {"Docker Hub", "docker.io", "auth.docker.io",
		"https://docs.docker.com/security/access-tokens/"},
	"ecr": {"Amazon ECR", "123456789012.dkr.ecr.us-east-1.amazonaws.com", "",
		"https://docs.aws.amazon.com/AmazonECR/latest/userguide/common-errors-docker.html"},
	"ecr-public": {"Amazon ECR Public", "public.ecr.aws", "",
		"https://docs.aws.amazon.com/AmazonECR/latest/public/public-registry-auth.html"},
	"gcr": {"Google Container Registry", "gcr.io", "",
		"https://cloud.google.com/artifact-registry/docs/docker/authentication"},
	"gar": {"Google Artifact Registry", "europe-west1-docker.pkg.dev", "",
		"https://cloud.google.com/artifact-registry/docs/docker/authentication"},
	"quay": {"Quay", "quay.io", "", "https://docs.quay.io/glossary/robot-accounts.html"},
	"nexus-basic": {"Sonatype Nexus, Basic authentication", "nexus.example.com", "",
		"https://help.sonatype.com/en/docker-authentication.html"},
	"nexus-bearer": {"Sonatype Nexus, Docker Bearer Token Realm", "nexus.example.com", "",
		"https://help.sonatype.com/en/docker-authentication.html"},
	"artifactory": {"JFrog Artifactory", "example.jfrog.io", "",
		"https://docs.jfrog.com/artifactory/docs/docker-repositories"},
	"mcr": {"Microsoft Artifact Registry (MCR)", "mcr.microsoft.com", "",
		"https://github.com/microsoft/containerregistry"},
	"acr": {"Azure Container Registry", "example.azurecr.io", "",
		"https://learn.microsoft.com/azure/container-registry/container-registry-authentication"},
	"harbor": {"Harbor", "harbor.example.com", "",
		"https://goharbor.io/docs/latest/working-with-projects/project-configuration/create-robot-accounts/"},
	"ghcr": {"GitHub Container Registry", "ghcr.io", "",
		"https://docs.github.com/packages/working-with-a-github-packages-registry/working-with-the-container-registry"},
	"gitlab": {"GitLab", "registry.gitlab.com", "gitlab.com",
		"https://docs.gitlab.com/user/packages/container_registry/authenticate_with_container_registry/"},
	"distribution-basic": {"CNCF distribution, htpasswd", "registry.example.com", "",
		"https://distribution.github.io/distribution/about/configuration/#htpasswd"},
	"distribution-token": {"CNCF distribution, token server", "registry.example.com", "",
		"https://distribution.github.io/distribution/spec/auth/token/"},
	"zot": {"zot", "zot.example.com", "", "https://zotregistry.dev/latest/articles/authn-authz/"},
	"gitea": {"Gitea", "gitea.example.com", "",
		"https://docs.gitea.com/usage/packages/container"},
	"forgejo": {"Forgejo, and Gitea before 1.25.3", "forgejo.example.com", "",
		"https://forgejo.org/docs/latest/user/packages/container/"},
}

// A situation is a state of a registry, an image and a login. By default, there is an image team/app:1 for linux/amd64,
// and ann may pull it.
type situation struct {
	name, text string
	// skip reports whether the situation is impossible with the dialect.
	skip func(registrytest.Dialect) bool

	// The content of the registry.
	image    registrytest.Image
	registry func(*registrytest.Registry)
	// The requested image.
	repository, reference string
	platform              string
	// The login of the request.
	anonymous bool
	password  string
}

func isOpen(d registrytest.Dialect) bool { return d.Open() }

// oneForAll reports whether all accounts of the registry may pull everything.
func oneForAll(d registrytest.Dialect) bool { return d.Open() || d.Name == "distribution-basic" }

func may(pull ...string) func(*registrytest.Registry) {
	return func(r *registrytest.Registry) { r.Accounts[0].Pull = pull }
}

var situations = []situation{
	{name: "pullable", text: "the login may pull the image"},
	{name: "public", text: "the image is public; no login",
		anonymous: true, registry: func(r *registrytest.Registry) { r.Public = []string{"team/app"} }},
	{name: "private", text: "the image is not public; no login", skip: isOpen, anonymous: true},
	{name: "wrong password", text: "the user name or password is wrong", skip: isOpen, password: "wrong"},
	{name: "token not taken", text: "the Docker Bearer Token Realm is not active, so that tokens are not taken",
		skip: func(d registrytest.Dialect) bool { return d.Name != "nexus-bearer" },
		registry: func(r *registrytest.Registry) {
			isToken := func(q registrytest.Request) bool { return q.Part == registrytest.PartRegistry && q.Scheme == "bearer" }
			r.Inject(registrytest.Fault{Match: isToken, Answer: r.Dialect.Unauthorized()})
		}},
	{name: "expired login", text: "the login has expired",
		skip: isOpen, registry: func(r *registrytest.Registry) { r.Accounts[0].ExpiresAt = time.Now().Add(-time.Hour) }},
	{name: "no right", text: "the login has no right to the repository", skip: oneForAll, registry: may("team/other")},
	{name: "no repository", text: "the repository does not exist; the login would have the right to it",
		repository: "team/gone"},
	{name: "no repository, no right", text: "the repository does not exist, and the login has no right to it",
		skip: oneForAll, repository: "team/gone", registry: may("team/app")},
	{name: "no project", text: "not even the first part of the repository's name exists", repository: "missing/app"},
	{name: "no image", text: "the tag or digest does not exist", reference: "gone"},
	{name: "no right to layers", text: "the login may read the manifest, not the layers",
		skip: oneForAll, registry: func(r *registrytest.Registry) { r.Accounts[0].NoBlobs = []string{"team/app"} }},
	{name: "layer gone", text: "a layer does not exist", image: registrytest.Image{Without: registrytest.Layers}},
	{name: "manifest gone", text: "the index names a manifest that does not exist",
		image: registrytest.Image{Index: true, Without: registrytest.Manifests}},
	{name: "platform", text: "the image is not for the platform of the nodes", platform: "linux/arm64"},
	{name: "schema 1", text: "the image is in Docker's schema 1 format",
		image: registrytest.Image{Format: registrytest.DockerSchema1}},
	{name: "blocked", text: "a rule of the registry blocks the image",
		skip:     func(d registrytest.Dialect) bool { return !d.Blocks() },
		registry: func(r *registrytest.Registry) { r.Blocked = []string{"team/app"} }},
	{name: "rate limit", text: "the registry limits the rate for an hour",
		registry: func(r *registrytest.Registry) {
			instead(r, r.Dialect.RateLimited(), "Retry-After", "3600")
		}},
	{name: "firewall", text: "a firewall before the registry answers with a page",
		registry: func(r *registrytest.Registry) {
			instead(r, registrytest.Answer{Status: 403, Body: "<html><body>Forbidden</body></html>"}, "", "")
		}},
	{name: "down", text: "the registry fails", registry: func(r *registrytest.Registry) {
		instead(r, registrytest.Answer{Status: 503, Body: "<html><body>Sorry</body></html>"}, "", "")
	}},
}

// instead makes the registry send this response to every request for an image.
func instead(r *registrytest.Registry, a registrytest.Answer, header, value string) {
	f := registrytest.Fault{Match: func(q registrytest.Request) bool { return q.Reference != "" }, Answer: a}
	if header != "" {
		f.Header = map[string]string{header: value}
	}
	r.Inject(f)
}

// meet puts a registry that speaks the dialect into the situation, and checks an image: by "tag", by "digest", or
// "deep".
func (s situation) meet(t *testing.T, d registrytest.Dialect, how string) (validate.Result, error) {
	home := homes[d.Name]
	r := newRegistry(d, user("ann", "right", "team/app", "team/gone", "missing/app"))
	r.TokenHost = home.tokenHost
	if s.registry != nil {
		s.registry(r)
	}
	digest := add(t, r, s.image, "team/app:1")
	var candidate validate.Candidate
	if !s.anonymous {
		candidate = validate.Candidate{Name: "ann", Source: source("ann", cmp.Or(s.password, "right"))}
	}
	i := registry.Image{Host: home.host, Repository: cmp.Or(s.repository, "team/app"), Tag: cmp.Or(s.reference, "1")}
	if how == "digest" {
		if i.Tag, i.Digest = "", digest; s.reference != "" {
			i.Digest = "sha256:" + strings.Repeat("0", 64)
		}
	}
	c := &validate.Checker{RoundTripper: r.RoundTripper(), Deep: how == "deep"}
	if s.platform != "" {
		p, err := validate.ParsePlatform(s.platform)
		if err != nil {
			t.Fatal(err)
		}
		c.Platforms = []validate.Platform{p}
	}
	return c.Image(t.Context(), i, candidate)
}
