package federated_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/federated/federatedtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

func TestConformance(t *testing.T) {
	c := newCluster(issuertest.RS256)
	// Any name of the account is trusted: what the rules compare is the credential.
	servers := make(map[string]http.RoundTripper)
	var profiles []registry.Profile
	for name, x := range targets() {
		servers[x.profile.Endpoint] = (&federatedtest.Server{Trust: c.trust(), Name: x.name}).RoundTripper()
		p := x.profile
		p.Name = strings.ToLower(name)
		profiles = append(profiles, p)
	}
	byEndpoint := roundTripper(func(r *http.Request) (*http.Response, error) {
		for name, x := range targets() {
			e, _ := x.profile.MainEndpoint()
			host := map[string]string{
				"cloudsmith": federatedtest.Cloudsmith, "chainguard": federatedtest.Chainguard, "dockerHub": federatedtest.Docker, "ibm": federatedtest.IBM,
			}[name]
			if r.URL.Host == host || host == "" && r.URL.Host == e.Host {
				return servers[x.profile.Endpoint].RoundTrip(r)
			}
		}
		return nil, fmt.Errorf("no such host: %s", r.URL.Host)
	})
	password := profile("zot.example.com", credentials.Exchange{Password: &credentials.PasswordExchange{}})
	other := password
	other.Name = "other"
	other.Login = credentials.Login{Federated: &credentials.FederatedLogin{
		Subject:  credentials.Subject{Kubernetes: &credentials.ServiceAccount{Namespace: "shop", Name: "other"}},
		Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{Username: "another"}},
	}}
	basic := registry.Profile{
		Name: "basic", Kind: registry.Custom, Endpoint: "quay.io",
		Login: credentials.Login{Username: "jo", Password: credentials.NewSecret("long-enough")},
	}
	provider := federated.Provider{Subjects: c, RoundTripper: byEndpoint, Fallback: custom.Provider{}}
	failing := provider
	failing.RoundTripper = roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusForbidden, Status: "403 Forbidden", Body: http.NoBody, Request: r}, nil
	})
	failing.Fallback = nil
	stalled := provider
	stalled.RoundTripper = roundTripper(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	fail := profiles[:len(profiles):len(profiles)]
	t.Run("issues", func(t *testing.T) {
		providerstest.TestProvider(t, providerstest.Fixture{
			Provider: provider, Profiles: append(fail, password, other, basic),
			Invalid: []registry.Profile{profile("evil.example", credentials.Exchange{DockerHub: &credentials.DockerHubExchange{Organization: "acme", Connection: "uuid"}})},
		})
	})
	t.Run("fails", func(t *testing.T) {
		providerstest.TestProvider(t, providerstest.Fixture{Provider: provider, Profiles: fail, Failing: failing, Stalled: stalled})
	})
}
