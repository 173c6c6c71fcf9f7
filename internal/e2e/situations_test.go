package e2e

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// A proof is how a situation of docs/verdicts.md is created at a real registry.
type proof struct {
	// dialect is the registry's section in the table of verdicts; image and candidate are what is checked there.
	dialect   string
	image     string
	candidate validate.Candidate
	platform  string
	// None is the reason why no registry that runs here can be in the situation. The dialects are all there is.
	none string
}

// TestSituations creates every situation of docs/verdicts.md that can be created at a registry which runs here, and
// compares the verdicts with the table that the page is made from.
func TestSituations(t *testing.T) {
	const table = "../../validate/testdata/verdicts.txt"
	text, err := os.ReadFile(table)
	require.NoError(t, err)
	want := make(map[string]map[string]string) // By dialect and situation.
	names := make(map[string]bool)
	dialect := ""
	for line := range strings.Lines(string(text)) {
		name, codes, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		switch {
		case strings.HasPrefix(line, "#"):
		case ok && strings.HasPrefix(line, "  "):
			want[dialect][strings.TrimSpace(name)], names[strings.TrimSpace(name)] = strings.TrimSpace(codes), true
		default:
			dialect = name
			want[dialect] = make(map[string]string)
		}
	}

	gitea := startGitea(t)
	gitea.addOwner(t, "team", "ann", "private")
	gitea.addOwner(t, "public", "ann", "public")
	gitea.addOwner(t, "other", "bob", "private")
	image, _ := newImage(t)
	fill(t, gitea.host, image)

	distribution := serveDeleting(t)
	pushImage(t, distribution, "team/app:1", "ann", image)
	layerGone, _ := newImage(t)
	pushImage(t, distribution, "team/layer:1", "ann", layerGone)
	layers, err := layerGone.Layers()
	require.NoError(t, err)
	layer, err := layers[0].Digest()
	require.NoError(t, err)
	erase(t, distribution, "team/layer/blobs/"+layer.String())

	amd64, err := mutate.ConfigFile(image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: rootFS(t, image)})
	require.NoError(t, err)
	pushImage(t, distribution, "team/platform:1", "ann", amd64)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: amd64, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}},
	})
	ref, err := name.ParseReference(distribution+"/team/index:1", name.Insecure)
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(ref, index, remote.WithAuth(&authn.Basic{Username: "ann", Password: "right"})))
	digest, err := amd64.Digest()
	require.NoError(t, err)
	erase(t, distribution, "team/index/manifests/"+digest.String())

	open := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(open.Close)
	openHost := strings.TrimPrefix(open.URL, "http://")
	putSchema1(t, openHost, "team/app/manifests/1")

	ann := plain("ann", "right")
	proofs := map[string]proof{
		"pullable":                {dialect: "gitea", image: gitea.host + "/team/app:1", candidate: ann},
		"public":                  {dialect: "gitea", image: gitea.host + "/public/app:1", candidate: plain("", "")},
		"private":                 {dialect: "gitea", image: gitea.host + "/team/app:1", candidate: plain("", "")},
		"wrong password":          {dialect: "gitea", image: gitea.host + "/team/app:1", candidate: plain("ann", "wrong")},
		"no right":                {dialect: "gitea", image: gitea.host + "/other/app:1", candidate: ann},
		"no repository":           {dialect: "gitea", image: gitea.host + "/team/gone:1", candidate: ann},
		"no repository, no right": {dialect: "gitea", image: gitea.host + "/other/gone:1", candidate: ann},
		"no project":              {dialect: "gitea", image: gitea.host + "/missing/app:1", candidate: ann},
		"no image":                {dialect: "gitea", image: gitea.host + "/team/app:gone", candidate: ann},
		"layer gone":              {dialect: "distribution-basic", image: distribution + "/team/layer:1", candidate: ann},
		"manifest gone":           {dialect: "distribution-basic", image: distribution + "/team/index:1", candidate: ann},
		"platform":                {dialect: "distribution-basic", image: distribution + "/team/platform:1", candidate: ann, platform: "linux/arm64"},
		"schema 1":                {dialect: "distribution-basic", image: openHost + "/team/app:1", candidate: plain("", "")},

		"expired login":      {none: "the passwords of htpasswd and the passwords and access tokens of Gitea do not expire"},
		"token not taken":    {none: "only Nexus has such a setting, and it is not a Go module"},
		"no right to layers": {none: "Gitea and distribution give a right to a repository, and not to a part of an image"},
		"blocked":            {none: "the registries that block images by a rule, such as Harbor and Quay, are services of many parts"},
		"rate limit":         {none: "Gitea, distribution and go-containerregistry's registry do not limit requests"},
		"firewall":           {none: "what answers is a proxy before a registry, whichever registry it is"},
		"down":               {none: "a registry that runs here fails by closing its connections, which is another situation"},
	}
	for name := range names {
		p, ok := proofs[name]
		require.True(t, ok, "the page has a new situation, %q: prove it at a real registry, or say why none that runs here can", name)
		t.Run(name, func(t *testing.T) {
			if p.none != "" {
				t.Skip("not proven at a real registry: " + p.none)
			}
			codes, ok := want[p.dialect][name]
			require.True(t, ok, "%s has no verdict on it", p.dialect)
			for _, deep := range []bool{false, true} {
				c := &validate.Checker{Deep: deep}
				t.Cleanup(c.CloseIdleConnections)
				if p.platform != "" {
					platform, err := validate.ParsePlatform(p.platform)
					require.NoError(t, err)
					c.Platforms = []validate.Platform{platform}
				}
				image, err := registry.ParseImage(p.image)
				require.NoError(t, err)
				_, err = c.Image(t.Context(), image, p.candidate)
				expected, deeper, _ := strings.Cut(codes, ", deep ")
				if deep && deeper != "" {
					expected = deeper
				}
				if got := string(registry.CodeOf(err)); expected == "pullable" {
					require.NoError(t, err)
				} else {
					require.Equal(t, expected, got, "deep: %v: %v", deep, err)
				}
			}
		})
	}
}

// serveDeleting starts distribution 3.1 with the accounts of passwords, where content may be deleted.
func serveDeleting(t *testing.T) (host string) {
	t.Helper()
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"inmemory": {}, "delete": {"enabled": true}, "maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
		Auth: configuration.Auth{"htpasswd": {"realm": "test", "path": passwords(t)}},
	}
	config.Log.Level = "panic"
	config.Log.AccessLog.Disabled = true
	logrus.SetLevel(logrus.PanicLevel)
	server := httptest.NewServer(handlers.NewApp(t.Context(), config))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// erase deletes content.
func erase(t *testing.T, host, path string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+host+"/v2/"+path, nil)
	require.NoError(t, err)
	req.SetBasicAuth("ann", "right")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusAccepted, res.StatusCode)
}

func rootFS(t *testing.T, image v1.Image) v1.RootFS {
	t.Helper()
	config, err := image.ConfigFile()
	require.NoError(t, err)
	return config.RootFS
}

// putSchema1 pushes a manifest of Docker's schema 1, which no client writes anymore.
func putSchema1(t *testing.T, host, path string) {
	t.Helper()
	body := fmt.Sprintf(`{"schemaVersion":1,"name":"team/app","tag":"1","architecture":"amd64","fsLayers":[{"blobSum":%q}],"history":[{"v1Compatibility":"{}"}],"signatures":[{}]}`, missing)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+host+"/v2/"+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusCreated, res.StatusCode)
}
