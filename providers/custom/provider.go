// Package custom issues credentials for any registry that a Docker client can log in to: Quay, Nexus, Artifactory,
// Microsoft's MCR and ACR, Harbor, GHCR, GitLab, the CNCF's distribution, and the like.
//
// [Provider] uses the login of a profile unchanged: a user name with a password or a token, or none. Endpoint,
// certificates and proxy are fields of the profile too; see [registry.Profile].
//
// It makes no network call and renews nothing: if a registry issues only short-lived tokens, write a provider that
// requests them. The guide in docs/custom.md describes for each registry which login to create, and how.
package custom

import (
	"context"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// A Provider issues credentials for profiles of kind [registry.Custom]. The zero Provider is ready to use, and safe for
// concurrent use.
type Provider struct{}

// Credential returns the login of the profile, with the expiry of the login if it has one. It fails as
// [providers.Static.Credential] does.
func (Provider) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	return static.Credential(ctx, p)
}

// Validate reports logins that cannot work, as a [field.Errors]: an identity of a cloud, a kind of token that the
// registry at the endpoint is known to reject, and a short-lived token without an expiry in the profile.
func (Provider) Validate(p registry.Profile) error { return static.Validate(p) }

var static = providers.Static{Check: check}
