package validate_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// Without Runtimes, the verdict is containerd's, and a warning names the runtimes that would not pull with the observed
// responses.
func TestWarnsOfOtherRuntimes(t *testing.T) {
	for name, tc := range map[string]struct {
		edit    func(*scene)
		deep    bool
		runtime []string
	}{
		"nothing odd":      {edit: func(*scene) {}},
		"ping 200":         {edit: func(s *scene) { s.pingChallenges = []string{} }, runtime: []string{"CRI-O", "Docker"}},
		"ping 403":         {edit: func(s *scene) { s.open(); s.pingStatus = 403 }, runtime: []string{"CRI-O"}},
		"two challenges":   {edit: challenged(basic, bearer), runtime: []string{"CRI-O", "Docker"}},
		"text after JSON":  {edit: func(s *scene) { s.token(`{"token":"tok","access_token":"tok"} x`); s.post = sends(404, "") }, runtime: []string{"CRI-O"}},
		"HEAD, no length":  {edit: header("HEAD", "Content-Length", ""), runtime: []string{"Docker"}},
		"x86_64":           {edit: indexed(`{"os":"linux","architecture":"x86_64"}`, "amd64"), deep: true, runtime: []string{"CRI-O"}},
		"docker's config":  {edit: func(s *scene) { s.open(); s.image(ociManifest, dockerConfig, amd64Config) }, deep: true, runtime: []string{"CRI-O"}},
		"usual, and whole": {edit: func(*scene) {}, deep: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			tc.edit(s)
			c := &validate.Checker{RoundTripper: s}
			if tc.deep {
				c.Deep, c.Platforms = true, platforms(t, "linux/amd64")
			}
			got, err := c.Image(t.Context(), image(t, sceneHost+"/team/app:1"), as("ann", "right"))
			require.NoError(t, err)
			require.Equal(t, validate.Yes, got.Pulls)
			var named []string
			for _, w := range got.Warnings {
				who, _, _ := strings.Cut(w, " ")
				named = append(named, who)
			}
			require.Equal(t, tc.runtime, named, "%v", got.Warnings)
		})
	}
}

// A result reports its basis, and whether the image runs.
func TestBasis(t *testing.T) {
	s := newScene()
	ask := func(c *validate.Checker) validate.Result {
		c.RoundTripper = s
		got, err := c.Image(t.Context(), image(t, sceneHost+"/team/app:1"), as("ann", "right"))
		require.NoError(t, err)
		require.Len(t, got.Runtimes, 2)
		require.Equal(t, validate.Yes, got.Pulls)
		return got
	}
	got := ask(&validate.Checker{})
	require.Equal(t, validate.BasisHeaders, got.Basis)
	require.Equal(t, validate.Unknown, got.Runs)
	got = ask(&validate.Checker{Platforms: platforms(t, "linux/amd64")})
	require.Equal(t, validate.BasisManifest, got.Basis)
	require.Equal(t, validate.Yes, got.Runs)
	got = ask(&validate.Checker{Platforms: platforms(t, "linux/amd64"), Deep: true})
	require.Equal(t, validate.BasisLayers, got.Basis)
}

// An image for another platform that is not in an index pulls everywhere, and runs nowhere.
func TestPullsAndRuns(t *testing.T) {
	for _, runtime := range []validate.Runtime{validate.Containerd, validate.CRIO, validate.Docker, validate.DockerContainerd} {
		s := newScene()
		s.image(ociManifest, ociConfig, strings.Replace(amd64Config, "amd64", "arm64", 1))
		c := &validate.Checker{RoundTripper: s, Platforms: platforms(t, "linux/amd64"), Runtimes: []validate.Runtime{runtime}}
		got, err := c.Image(t.Context(), image(t, sceneHost+"/team/app:1"), as("ann", "right"))
		require.ErrorIs(t, err, registry.ErrPlatformNotFound, runtime)
		require.Equal(t, validate.Yes, got.Pulls, runtime)
		require.Equal(t, validate.No, got.Runs, runtime)
	}
}

// If Runtimes has several runtimes, the image must pull on each.
func TestRuntimesOfAList(t *testing.T) {
	s := newScene()
	headStatus(404)(s)
	c := &validate.Checker{RoundTripper: s, Runtimes: []validate.Runtime{validate.CRIO, validate.Containerd, validate.CRIO}}
	got, err := c.Image(t.Context(), image(t, sceneHost+"/team/app:1"), as("ann", "right"))
	require.ErrorIs(t, err, registry.ErrHEAD)
	require.ErrorIs(t, err, registry.ErrIncompatible)
	require.Contains(t, registry.HintOf(err), "containerd")
	require.Equal(t, validate.No, got.Pulls)
	require.Len(t, got.Runtimes, 3)
	require.Equal(t, validate.Yes, got.Runtimes[0].Pulls)

	c = &validate.Checker{RoundTripper: s, Runtimes: []validate.Runtime{"rkt"}}
	_, err = c.Image(t.Context(), image(t, sceneHost+"/team/app:1"))
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.ErrorContains(t, err, "rkt")
}

// HEAD succeeds when no pull is left, but a pull fails.
func TestNoPullLeft(t *testing.T) {
	r := &registrytest.Registry{Dialect: registrytest.DockerHub(), TokenHost: "auth.docker.io", Public: []string{"*"}}
	r.RateLimit = registrytest.RateLimit{Limit: 1, Window: time.Hour}
	add(t, r, registrytest.Image{}, "library/nginx:latest")
	synctest.Test(t, func(t *testing.T) {
		deep := &validate.Checker{RoundTripper: r.RoundTripper(), Platforms: platforms(t, "linux/amd64")}
		_, err := deep.Image(t.Context(), image(t, "nginx"))
		require.NoError(t, err, "the one pull that is left")
		c := &validate.Checker{RoundTripper: r.RoundTripper()}
		got, err := c.Image(t.Context(), image(t, "nginx"))
		require.ErrorIs(t, err, registry.ErrRateLimited)
		require.Zero(t, got.RateLimit.Remaining)
	})
}

// containerd sends a rejected Basic login four or five times. The check sends it once.
func TestRejectedLoginIsSentOnce(t *testing.T) {
	s := newScene()
	s.challenges = []string{basic}
	s.accepts = "Bearer" // Every login is rejected.
	sent := 0
	s.before = func(_ http.ResponseWriter, req *http.Request) bool {
		if isManifest(req) && strings.HasPrefix(req.Header.Get("Authorization"), "Basic ") && req.Method == http.MethodHead {
			sent++
		}
		return false
	}
	c := &validate.Checker{RoundTripper: s}
	_, err := c.Image(t.Context(), image(t, sceneHost+"/team/app:1"), as("ann", "right"))
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	require.Equal(t, 1, sent)
}

// An index that names no manifests, not even an empty list of them, is an index still.
func TestNestedIndexWithoutManifests(t *testing.T) {
	const inner = `{"schemaVersion":2,"mediaType":"` + ociIndex + `"}`
	for _, runtime := range []validate.Runtime{validate.Containerd, validate.CRIO, validate.Docker, validate.DockerContainerd} {
		for _, deep := range []bool{false, true} {
			s := newScene()
			s.contents[digestOf(inner)] = [2]string{ociIndex, inner}
			s.indexOf(fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, ociIndex, digestOf(inner), len(inner)))
			c := &validate.Checker{RoundTripper: s, Deep: deep, Runtimes: []validate.Runtime{runtime}}
			if !deep {
				c.Platforms = platforms(t, "linux/amd64")
			}
			got, _ := c.Image(t.Context(), image(t, sceneHost+"/team/app:1"), as("ann", "right"))
			require.NotEqual(t, validate.Yes, got.Runs, runtime)
		}
	}
}

// Where the pull succeeds, a kubelet does not try the next login, even if no container can start.
func TestNoLoginAfterAPull(t *testing.T) {
	for runtime, attempts := range map[validate.Runtime]int{validate.CRIO: 1, validate.Containerd: 2} {
		s := newScene()
		s.image(ociManifest, "application/vnd.example.config.v1+json", amd64Config) // containerd 1.7 does not pull it.
		c := &validate.Checker{RoundTripper: s, Runtimes: []validate.Runtime{runtime}, Platforms: platforms(t, "linux/amd64")}
		got, err := c.Image(t.Context(), image(t, sceneHost+"/team/app:1"), as("ann", "right"), as("bob", "right"))
		require.ErrorIs(t, err, registry.ErrContentType)
		require.Len(t, got.Attempts, attempts, runtime)
	}
}
