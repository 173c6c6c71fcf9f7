package gcrtest

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

func isRegistry(host string) bool { return registry.KindOf(host) == registry.GCR }

// Registry returns the registry at the host. Use it to add images, make requests fail, and inspect requests. It panics
// if the host is not a registry of Google.
func (g *Google) Registry(host string) *registrytest.Registry {
	if !isRegistry(host) {
		panic("gcrtest: " + host + " is not a registry of Google's")
	}
	var r *registrytest.Registry
	g.locked(func() {
		if r = g.registries[host]; r == nil {
			r = g.newRegistry(host)
			g.registries[host] = r
		}
	})
	return r
}

func (g *Google) newRegistry(host string) *registrytest.Registry {
	dialect := registrytest.ArtifactRegistry()
	if strings.HasSuffix(host, "gcr.io") {
		dialect = registrytest.GCR()
	}
	return &registrytest.Registry{Dialect: dialect, Public: at(host, g.Public), Authenticate: func(username string, password credentials.Secret) (registrytest.Account, bool) {
		return g.authenticate(host, username, password.Reveal())
	}}
}

// at returns the repositories of a host, without the host.
func at(host string, repositories []string) (here []string) {
	for _, name := range repositories {
		if name == "*" {
			here = append(here, name)
		} else if repository, ok := strings.CutPrefix(name, host+"/"); ok {
			here = append(here, repository)
		}
	}
	return here
}

func (g *Google) authenticate(host, username, password string) (registrytest.Account, bool) {
	var principal string
	var expires time.Time
	switch username {
	case "_json_key_base64":
		text, err := base64.StdEncoding.DecodeString(password)
		if err != nil {
			return registrytest.Account{}, false
		}
		principal = g.ownerOf(string(text))
	case "_json_key":
		principal = g.ownerOf(password)
	case "oauth2accesstoken":
		t, ok := g.tokenOf(password)
		if !ok || !slices.ContainsFunc(t.scopes, mayRead) {
			return registrytest.Account{}, false
		}
		principal, expires = t.principal, t.expiresAt
	}
	a, ok := g.account(principal)
	// A federated identity needs no account: without a role it is known and denied.
	if !ok && !strings.HasPrefix(principal, "principal:") || g.isDisabled(principal) {
		return registrytest.Account{}, false
	}
	return registrytest.Account{Username: principal, ExpiresAt: expires, Pull: at(host, a.Pull)}, true
}

// ownerOf returns the service account of a valid key, or "" for any other text.
func (g *Google) ownerOf(text string) string {
	var f keyFile
	if json.Unmarshal([]byte(text), &f) != nil {
		return ""
	}
	var k *key
	g.locked(func() {
		if !g.disabled[f.PrivateKeyID] {
			k = g.keys[f.PrivateKeyID]
		}
	})
	if k == nil || k.email != f.ClientEmail || k.pem != f.PrivateKey {
		return ""
	}
	return k.email
}

// mayRead reports whether a token with the scope may pull.
func mayRead(scope string) bool {
	return scope == scopeAll || scope == scopeAll+".read-only" || strings.HasPrefix(scope, "https://www.googleapis.com/auth/devstorage.")
}
