package e2e

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"

	_ "github.com/distribution/distribution/v3/registry/auth/token"

	"github.com/regcred/regcred/credentials"
	registries "github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest/probe"
)

var update = flag.Bool("update", false, "write the captures of the real registries")

const captures = "../../registry/registrytest/probe/testdata/captures/"

// probed probes a real registry with the images of every comparison, and compares the capture with the checked-in one,
// which the tests of package probe compare with the fake.
func probed(t *testing.T, file, software, dialect, host string, login authn.Basic) {
	t.Helper()
	image := func(repository, tag string) registries.Image {
		return registries.Image{Host: host, Repository: repository, Tag: tag}
	}
	target := probe.Target{
		Transport:  registries.TransportConfig{PlainHTTP: true, Proxy: registries.Direct},
		Credential: credentials.Credential{Anonymous: true},
		Image:      image("team/app", "1"), Other: image("other/app", "1"),
	}
	if dialect != "distribution-basic" { // Which has no public images beside others.
		target.Public = image("public/app", "1")
	}
	if login.Username != "" {
		target.Credential = credentials.Credential{Username: login.Username, Password: credentials.NewSecret(login.Password)}
	}
	c, err := (&probe.Probe{}).Run(t.Context(), target)
	require.NoError(t, err)
	c.Software, c.Dialect = software, dialect
	var kept probe.Capture
	text, err := os.ReadFile(captures + file)
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
		kept, err = probe.Decode(text)
		require.NoError(t, err)
		c.Accepted = kept.Accepted
	}
	text, err = c.Encode()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(captures+file, text, 0o644))
	} else {
		require.Equal(t, kept, c, "the registry responds like when the capture was made: go test ./internal/e2e -run TestProbe -update")
	}
	for _, name := range []string{"team", "127.0.0.1", "localhost"} {
		require.NotContains(t, string(text), name)
	}
	d, _ := probe.DialectNamed(dialect)
	comparison, err := c.Compare(t.Context(), d)
	require.NoError(t, err)
	for _, difference := range comparison.Differences {
		if difference.Wording {
			t.Logf("wording: %s", difference)
		}
	}
	t.Logf("%d responses; assumed: %q", comparison.Compared, comparison.Assumed)
	if err := c.Verify(t.Context()); err != nil {
		nearest, failed := c.Nearest(t.Context())
		require.NoError(t, failed)
		t.Errorf("%v\nthe nearest dialect is %s: %d differences", err, nearest.Dialect, len(nearest.Relevant()))
	}
}

// TestProbe makes captures of all registries that run here.
func TestProbe(t *testing.T) {
	image, _ := newImage(t)
	ann := authn.Basic{Username: "ann", Password: "right"}
	t.Run("distribution 3.1 htpasswd", func(t *testing.T) {
		host := serve3(t, configuration.Auth{"htpasswd": {"realm": "basic-realm", "path": passwords(t)}}, configuration.Proxy{})
		fill(t, host, image)
		probed(t, "distribution-3.1-htpasswd.json", "distribution 3.1.2", "distribution-basic", host, ann)
	})
	t.Run("distribution 2.8 htpasswd", func(t *testing.T) {
		host := serve2(t, fmt.Sprintf("auth: {htpasswd: {realm: basic-realm, path: %s}}\n", passwords(t)))
		fill(t, host, image)
		probed(t, "distribution-2.8-htpasswd.json", "distribution 2.8", "distribution-basic", host, ann)
	})
	t.Run("distribution 3.1 token", func(t *testing.T) {
		s := newTokenServer(t)
		host := s.front(t, serve3(t, configuration.Auth{"token": s.settings()}, configuration.Proxy{}))
		fill(t, host, image)
		probed(t, "distribution-3.1-token.json", "distribution 3.1.2", "distribution-token", host, ann)
	})
	t.Run("distribution 2.8 token", func(t *testing.T) {
		s := newTokenServer(t)
		host := s.front(t, serve2(t, fmt.Sprintf("auth: {token: {realm: %s, service: registry, issuer: tokens, rootcertbundle: %s}}\n", s.realm, s.bundle)))
		fill(t, host, image)
		probed(t, "distribution-2.8-token.json", "distribution 2.8", "distribution-token", host, ann)
	})
	t.Run("distribution 3.1 token anonymous", func(t *testing.T) {
		s := newTokenServer(t)
		host := s.front(t, serve3(t, configuration.Auth{"token": s.settings()}, configuration.Proxy{}))
		fill(t, host, image)
		probed(t, "distribution-3.1-token-anonymous.json", "distribution 3.1.2", "distribution-token", host, authn.Basic{})
	})
	t.Run("go-containerregistry", func(t *testing.T) {
		server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		t.Cleanup(server.Close)
		host := strings.TrimPrefix(server.URL, "http://")
		fill(t, host, image)
		probed(t, "go-containerregistry.json", "go-containerregistry 0.22.1", "mcr", host, authn.Basic{})
	})
	t.Run("System", func(t *testing.T) {
		probed(t, "system.json", "System registry", "distribution-token", startSystem(t, image), authn.Basic{Username: "ann", Password: systemPassword})
	})
	t.Run("Gitea", func(t *testing.T) {
		g := startGitea(t)
		g.addOwner(t, "team", "ann", "private")
		g.addOwner(t, "public", "ann", "public")
		g.addOwner(t, "other", "bob", "private")
		fill(t, g.host, image)
		probed(t, "gitea.json", "Gitea 1.26.0", "gitea", g.host, ann)
	})
}
