package providers

import (
	"context"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A Subjects returns tokens of other issuers, which a provider exchanges for a registry's credential. Package
// inject/kube has one that requests the tokens of service accounts, and package providers/subjects has one for files,
// environment variables and functions.
//
//   - It is safe for concurrent use, and returns soon after ctx ends.
//   - s.Audience is set: the provider has filled it in. The token is issued for that audience and for no other.
//   - It decides by p.Tenant and s whether the author of the profile may use the subject, and returns an error if not: a
//     profile must not name the service account of another tenant.
//   - It requests or reads the token for each call. It does not cache or log it.
//   - Its errors hold no token. They are of type [registry.Error] where it knows what went wrong:
//     [registry.ErrNoIdentity] if there is no such subject, [registry.ErrDenied] if the profile may not use it.
type Subjects interface {
	SubjectToken(ctx context.Context, p registry.Profile, s credentials.Subject) (credentials.Secret, error)
}
