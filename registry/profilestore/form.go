package profilestore

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/internal/document"
)

// FromForm decodes a profile that a browser sent, and assigns it to the tenant of the session. A body that names a
// tenant is an error.
//
// A secret is a string, or {"redacted": true} as written by [Redacted], which keeps the secret of the stored profile.
// If stored is nil, the profile is a new one. A secret is kept only if its destination is unchanged: if the kind, the
// proxy, the CA bundle or plain HTTP changes, or an endpoint is added, the secret must be entered again. Otherwise a
// user who may edit a profile, but does not know its password, could have the password sent to a host of their own. For
// the same reason the secrets of a login must be entered again if its settings or one of its fields change, because
// they may name the issuer that a custom provider calls.
//
// Its error is a [field.Errors] with every problem, and never quotes a value. For a stored profile of another tenant it
// has [registry.ErrDenied]. It does not call [registry.Profile.Validate].
func FromForm(tenant string, body []byte, stored *registry.Profile) (registry.Profile, error) {
	root, err := document.ParseJSON(body, "a profile")
	if err != nil {
		return registry.Profile{}, err
	}
	have := make(map[string]credentials.Secret)
	if stored != nil {
		if stored.Tenant != tenant {
			return registry.Profile{}, fmt.Errorf("%w: the stored profile belongs to another tenant", registry.ErrDenied)
		}
		_, err := document.Encode(*stored, func(path string, s credentials.Secret) (*document.Node, error) {
			have[path] = s
			return &document.Node{}, nil
		})
		if err != nil {
			return registry.Profile{}, err
		}
	}
	var kept []string
	d := document.Decoder{Secret: func(path string, n *document.Node) (credentials.Secret, error) {
		mark := n.Get(redactedName)
		if len(n.Members) != 1 || mark == nil || mark.Kind != document.Bool || !mark.Bool {
			return plain(path, n)
		}
		s, ok := have[path]
		if !ok {
			return s, errors.New("is redacted, and no such secret is stored: expected the secret")
		}
		kept = append(kept, path)
		return s, nil
	}}
	p, err := decode(&d, root, "profile")
	if err != nil || len(kept) == 0 {
		p.Tenant = tenant
		return p, err
	}
	for _, path := range kept {
		if change := elsewhere(*stored, p, path); change != "" {
			d.Problems.Add(path, "was entered for another destination", "the secret again, because "+change)
		}
	}
	if err := d.Problems.Err(fmt.Sprintf("profile %q", p.Name)); err != nil {
		return registry.Profile{}, err
	}
	p.Tenant = tenant
	return p, nil
}

// plain decodes a secret that was entered.
func plain(path string, n *document.Node) (credentials.Secret, error) {
	var d document.Decoder
	s := d.DecodeSecret(n, path)
	return s, d.Problems.Err("")
}

// elsewhere returns the change that would send the kept secret at path to another destination, or "" if there is none.
func elsewhere(old, changed registry.Profile, path string) string {
	had, _ := old.Endpoints()
	now, err := changed.Endpoints()
	added := err != nil || slices.ContainsFunc(now, func(e registry.Endpoint) bool {
		return !slices.ContainsFunc(had, func(h registry.Endpoint) bool { return h.APIHost() == e.APIHost() && h.PlainHTTP == e.PlainHTTP })
	})
	a, b := old.Transport, changed.Transport
	switch {
	case old.Kind != changed.Kind:
		return "the kind changed"
	case added:
		return "the endpoint changed"
	case a.Proxy != b.Proxy:
		return "the proxy changed"
	case a.CABundle != b.CABundle:
		return "the CA bundle changed"
	case a.PlainHTTP != b.PlainHTTP:
		return "plain HTTP changed"
	case !strings.HasPrefix(path, "login."):
		return ""
	case !maps.Equal(old.Login.Settings, changed.Login.Settings):
		return "the settings changed"
	case !maps.EqualFunc(old.Login.Fields, changed.Login.Fields, credentials.Secret.Equal):
		return "another of the fields changed"
	}
	return ""
}
