package validate_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// Registries lock accounts after some rejected logins: one call sends one once, for all images, steps and runtimes.
func TestRejectedBasicLoginSentOnce(t *testing.T) {
	for _, d := range []registrytest.Dialect{
		registrytest.DistributionBasic(), registrytest.ECR(), registrytest.NexusBasic(), registrytest.Zot(),
	} {
		t.Run(d.Name, func(t *testing.T) {
			r := newRegistry(d, user("ann", "right", "*"))
			wrong, right := as("ann", "wrong"), as("ann", "right")
			var requests, good []validate.Request
			for i := range 20 {
				n := fmt.Sprintf("team/app%d:1", i)
				add(t, r, registrytest.Image{}, n)
				at := image(t, sceneHost+"/"+n)
				requests = append(requests, validate.Request{Image: at, Candidates: []validate.Candidate{wrong}})
				good = append(good, validate.Request{Image: at, Candidates: []validate.Candidate{wrong, right}})
			}
			var sent atomic.Int32
			c := &validate.Checker{
				Runtimes: []validate.Runtime{validate.Containerd, validate.CRIO, validate.Docker, validate.DockerContainerd},
				RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
					if _, password, _ := req.BasicAuth(); password == "wrong" {
						sent.Add(1)
					}
					return r.RoundTripper().RoundTrip(req)
				}),
			}
			for range 2 { // The next call asks again, because somebody may have repaired the account.
				sent.Store(0)
				got, err := c.Images(t.Context(), requests)
				require.ErrorIs(t, err, registry.ErrUnauthorized)
				for _, one := range got {
					require.ErrorIs(t, one.Err, registry.ErrUnauthorized)
					require.NotEmpty(t, one.Attempts[0].Exchanges)
				}
				require.EqualValues(t, 1, sent.Load())
			}

			lists := &validate.Checker{RoundTripper: c.RoundTripper}
			sent.Store(0)
			for _, err := range lists.Repositories(t.Context(), endpoint(t, sceneHost), wrong) {
				require.Error(t, err)
			}
			require.EqualValues(t, 1, sent.Swap(0), "a list of repositories")
			for _, err := range lists.Tags(t.Context(), requests[0].Image, wrong) {
				require.ErrorIs(t, err, registry.ErrUnauthorized)
			}
			require.EqualValues(t, 1, sent.Load(), "a list of tags")

			c.CacheFor = time.Minute
			sent.Store(0)
			_, err := c.Login(t.Context(), endpoint(t, sceneHost), wrong)
			require.ErrorIs(t, err, registry.ErrUnauthorized)
			_, err = c.Image(t.Context(), requests[0].Image, wrong)
			require.ErrorIs(t, err, registry.ErrUnauthorized)
			_, err = c.Images(t.Context(), good)
			require.NoError(t, err, "the login after a rejected one")
			require.EqualValues(t, 1, sent.Load())
		})
	}
}

// A 401 with a Basic challenge for a missing right, as Gitea's, says nothing about the other repositories.
func TestDeniedBasicLoginIsNotRejected(t *testing.T) {
	for _, d := range registrytest.Dialects() {
		if d.Open() {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			r := newRegistry(d, user("ann", "right", "team/mine"))
			add(t, r, registrytest.Image{}, "team/theirs:1", "team/mine:1")
			s := start(t, r)
			for _, runtime := range []validate.Runtime{validate.Containerd, validate.CRIO, validate.Docker, validate.DockerContainerd} {
				c := &validate.Checker{Runtimes: []validate.Runtime{runtime}, CacheFor: time.Minute}
				_, _ = c.Image(t.Context(), image(t, s.Host+"/team/theirs:1"), login(s, "ann", "right"))
				_, err := c.Image(t.Context(), image(t, s.Host+"/team/mine:1"), login(s, "ann", "right"))
				require.NoError(t, err, runtime)
			}
		})
	}
}

func TestLockoutWarning(t *testing.T) {
	known := []string{"artifactory", "gitlab", "harbor", "quay"}
	for _, d := range registrytest.Dialects() {
		if d.Open() {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			r := newRegistry(d, user("ann", "right", "*"))
			add(t, r, registrytest.Image{}, "team/app:1")
			s := start(t, r)
			warned := func(c *validate.Checker, password string) bool {
				got, _ := c.Image(t.Context(), image(t, s.Host+"/team/app:1"), login(s, "ann", password))
				return slices.ContainsFunc(got.Warnings, func(w string) bool {
					return strings.Contains(w, "containerd sends a rejected login again, 4 to 5 times per request")
				})
			}
			require.Equal(t, slices.Contains(known, d.Name), warned(&validate.Checker{}, "wrong"))
			require.False(t, warned(&validate.Checker{}, "right"))
			require.False(t, warned(&validate.Checker{Runtimes: []validate.Runtime{validate.CRIO}}, "wrong"),
				"CRI-O sends it once")
		})
	}
}
