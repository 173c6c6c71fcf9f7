// Package custom issues credentials for any registry that a Docker client can log in to: Quay, Nexus, Artifactory,
// Microsoft's MCR and ACR, Harbor, GHCR, GitLab, the CNCF's distribution, and the like.
//
// [Provider] takes the login of a profile as it is: a user name with a password or a token in its place, or none.
// Endpoint, certificates and proxy stand in the profile too; see [registry.Profile].
//
// It asks nobody and renews nothing: where a registry only gives tokens that soon end, a provider of one's own must
// make them. The guide in docs/custom.md says for each registry which login to make, and how.
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

// Credential returns the login of the profile, until its ExpiresAt if it has one. Its errors are those of
// [providers.Static].
func (Provider) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	return static.Credential(ctx, p)
}

// Validate reports logins that cannot work, as a [field.Errors]: an identity of a cloud, a kind of token
// that the registry at the endpoint is known to refuse, and a token that soon ends where the profile does not say when.
func (Provider) Validate(p registry.Profile) error { return static.Validate(p) }

var static = providers.Static{Check: check}
