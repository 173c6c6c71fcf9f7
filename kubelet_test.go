package regcred_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// kubeletPulls reports whether a node that has only the bytes of the secret pulls the image: it tries the entries one
// after the other, and pulls without a login if there are none.
func kubeletPulls(t *testing.T, h http.RoundTripper, secret []byte, name string) bool {
	t.Helper()
	config, err := pullsecret.Parse(secret)
	require.NoError(t, err)
	image, err := registry.ParseImage(name)
	require.NoError(t, err)
	var candidates []validate.Candidate
	for _, m := range config.Match(image) {
		candidates = append(candidates, validate.Candidate{Name: m.Key, Source: credentials.Static(m.Credential)})
	}
	checker := validate.Checker{RoundTripper: h}
	_, err = checker.Image(context.Background(), image, candidates...)
	return err == nil
}

// For any profiles, the pipeline's verdict on an image is the result on a node that has the secret.
func TestVerdictIsWhatAKubeletFinds(t *testing.T) {
	h := hosts{"harbor.test": harbor(t), "quay.test": quay(t), "registry-1.docker.io": dockerHub(t)}
	h["auth.docker.io"] = h["registry-1.docker.io"]
	logins := [][2]string{{"robot-a", "pw-a"}, {"robot-b", "pw-b"}, {"robot-a", "wrong"}, {"hub", "pw-hub"}}
	endpoints := []string{
		"harbor.test", "harbor.test/team-a", "harbor.test/team", "harbor.test/team-b/app", "quay.test", "quay.test/team-a", "docker.io", "docker.io/acme", "https://HARBOR.test/v2/",
	}
	images := []string{
		"harbor.test/team-a/app:1", "harbor.test/team-b/app:1", "harbor.test/team-a/app:2", "quay.test/team-a/app:1", "quay.test/public/app:1",
		"docker.io/acme/app:1", "acme/app:1", "nginx", "docker.io/acme/secret:1", "HARBOR.test/team-a/app:1",
	}
	random := rand.New(rand.NewPCG(1, 2))
	pulled := map[bool]int{}
	for round := range 300 {
		var profiles []registry.Profile
		var entries []pullsecret.Entry
		for i := range random.IntN(5) {
			login := logins[random.IntN(len(logins))]
			p := profile(fmt.Sprintf("p%d", i), endpoints[random.IntN(len(endpoints))], login[0], login[1])
			profiles = append(profiles, p)
			entries = append(entries, pullsecret.Entry{Profile: p, Credential: credentials.Credential{Username: login[0], Password: credentials.NewSecret(login[1])}})
		}
		outcome, err := newPipeline(h).Run(t.Context(), regcred.Request{Profiles: profiles, Images: images})
		config, conflict := pullsecret.Build(entries...)
		if conflict != nil {
			_, ok := errors.AsType[*pullsecret.ConflictError](err)
			require.True(t, ok, "%v", err)
			continue
		}
		for i, image := range images {
			pulls := kubeletPulls(t, h, config.Reveal(), image)
			require.Equal(t, pulls, outcome.Images[i].Err == nil, "round %d: %s with %s: %v", round, image, config.Keys(), outcome.Images[i].Err)
			pulled[pulls]++
		}
		if err == nil {
			require.Equal(t, string(config.Reveal()), string(outcome.Secret.Config.Reveal()))
		}
	}
	require.Greater(t, pulled[true], 300, "the test must see both")
	require.Greater(t, pulled[false], 300)
}

func quay(t *testing.T) *registrytest.Registry {
	t.Helper()
	r := &registrytest.Registry{
		Dialect:  registrytest.Quay(),
		Accounts: []registrytest.Account{{Username: "robot-a", Password: credentials.NewSecret("pw-a"), Pull: []string{"team-a/*"}}},
		Public:   []string{"public/*"},
	}
	add(t, r, "team-a/app:1", "public/app:1")
	return r
}

func dockerHub(t *testing.T) *registrytest.Registry {
	t.Helper()
	r := &registrytest.Registry{
		Dialect:   registrytest.DockerHub(),
		Accounts:  []registrytest.Account{{Username: "hub", Password: credentials.NewSecret("pw-hub"), Pull: []string{"acme/*"}}},
		Public:    []string{"library/*", "acme/app"},
		TokenHost: "auth.docker.io",
	}
	add(t, r, "library/nginx:latest", "acme/app:1", "acme/secret:1")
	return r
}

func add(t *testing.T, r *registrytest.Registry, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := r.Add(name, registrytest.Image{})
		require.NoError(t, err)
	}
}
