package validate_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/scenario"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// The target of a redirect is sent the login by the runtimes' rules, and only if Realms lists its host.
func TestLoginAtTheTargetOfARedirect(t *testing.T) {
	redirected := scenario.Redirect{Manifests: true, Blobs: true, Login: true}
	withPing := redirected
	withPing.Ping = true
	for _, c := range []struct {
		name     string
		scenario scenario.Scenario
		realms   []string
		pulls    map[validate.Runtime]bool
	}{
		{"not listed", scenario.Scenario{Auth: "open", Redirect: redirected}, nil, nil},
		{"listed", scenario.Scenario{Auth: "open", Redirect: redirected}, []string{scenario.OtherHost},
			map[validate.Runtime]bool{validate.Containerd: true}},
		{"with the ping", scenario.Scenario{Auth: "open", Redirect: withPing}, []string{scenario.OtherHost},
			map[validate.Runtime]bool{validate.Containerd: true, validate.Docker: true}},
		{"rejected", scenario.Scenario{Auth: "open", Login: "wrong", Redirect: redirected}, []string{scenario.OtherHost}, nil},
	} {
		for _, runtime := range []validate.Runtime{validate.Containerd, validate.CRIO, validate.Docker, validate.DockerContainerd} {
			t.Run(c.name+" "+string(runtime), func(t *testing.T) {
				served := scenario.NewRegistry(c.scenario, "")
				checker := &validate.Checker{
					RoundTripper: registrytest.NewRoundTripper(served), Runtimes: []validate.Runtime{runtime}, Realms: c.realms, Deep: true,
				}
				password := scenario.Password
				if c.scenario.Login == "wrong" {
					password = "wrong"
				}
				got, err := checker.Image(t.Context(), image(t, scenario.Image), as(scenario.Username, password))
				sent := 0
				for _, r := range served.Requests() {
					if strings.HasPrefix(r.Target, scenario.OtherHost) && r.Auth != "" {
						sent++
					}
				}
				if c.pulls[runtime] {
					require.NoError(t, err)
					require.Equal(t, validate.Yes, got.Pulls)
					return
				}
				require.Error(t, err)
				require.Contains(t, []registry.Code{registry.ErrInsecure, registry.ErrUnauthorized}, registry.CodeOf(err))
				if c.name == "rejected" && runtime == validate.Containerd {
					require.ErrorIs(t, err, registry.ErrUnauthorized)
					require.Equal(t, 1, sent, "a rejected login is sent once")
				} else {
					require.Zero(t, sent)
				}
			})
		}
	}
}
