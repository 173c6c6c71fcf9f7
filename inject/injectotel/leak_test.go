package injectotel_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// No span has a secret in it: not the one that is published, and not a login in the wrong field of a profile.
func TestTracesDoNotLeak(t *testing.T) {
	const canary = "hunter2" // trees looks for it.
	const url = "https://ann:" + canary + "@example.com/?key=" + canary
	for name, change := range map[string]func(*registry.Profile){
		"nothing wrong": func(*registry.Profile) {},
		"endpoint":      func(p *registry.Profile) { p.Endpoint = url },
		"hosts":         func(p *registry.Profile) { p.Hosts = []string{url} },
		"proxy":         func(p *registry.Profile) { p.Transport.Proxy = url },
		"proxy login": func(p *registry.Profile) {
			p.Transport.Proxy, p.Transport.ProxyUsername, p.Transport.ProxyPassword = "http://proxy.example.com", "ann", credentials.NewSecret(canary)
		},
		"subject": func(p *registry.Profile) {
			p.Login = credentials.Login{Federated: &credentials.FederatedLogin{
				Subject: credentials.Subject{File: url}, Exchange: credentials.Exchange{Quay: &credentials.QuayExchange{Robot: url}},
			}}
		},
		"Azure": func(p *registry.Profile) {
			p.Kind, p.Endpoint = registry.ACR, "ann.azurecr.io"
			p.Login = credentials.Login{Azure: &credentials.AzureLogin{TenantID: url, ClientID: url, ClientSecret: credentials.NewSecret(canary)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "shop")
			list := target()
			change(&list[0].Profiles[0])
			_ = w.sync(list)
			require.Contains(t, w.trees(), "sync pull secrets")
		})
	}
}
