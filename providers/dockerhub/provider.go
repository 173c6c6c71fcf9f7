// Package dockerhub issues credentials for Docker Hub.
//
// [Provider] uses the login of a profile unchanged: a Docker ID with a password or a personal access token, the name of
// an organization with an organization access token, or none for public images.
//
// It makes no network call, so it cannot check whether Docker Hub accepts the login; package validate does. The guide
// in docs/dockerhub.md describes which login to create, and how.
package dockerhub

import (
	"context"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// A Provider issues credentials for profiles of kind [registry.DockerHub]. The zero Provider is ready to use, and safe
// for concurrent use.
type Provider struct{}

// Credential returns the login of the profile, with the expiry of the login if it has one. It fails as
// [providers.Static.Credential] does.
func (Provider) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	return static.Credential(ctx, p)
}

// Validate reports logins that Docker Hub does not accept, as a [field.Errors]: an identity of a cloud, and an e-mail
// address in place of the Docker ID.
func (Provider) Validate(p registry.Profile) error { return static.Validate(p) }

var static = providers.Static{Check: check}

// check rejects an e-mail address, which Docker Hub's web site accepts and its registry does not:
// https://github.com/docker/cli/issues/961.
func check(p registry.Profile, problems *field.List) {
	if strings.Contains(p.Login.Username, "@") {
		problems.Add("login.username", "is an e-mail address",
			"the Docker ID, or the name of the organization that an organization access token belongs to")
	}
}
