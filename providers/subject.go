package providers

import (
	"context"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A SubjectRequest is a request for a subject's token.
type SubjectRequest struct {
	// Profile is the profile that names the subject. Its tenant and author decide which subjects it may use.
	Profile registry.Profile
	Subject credentials.Subject
	// Audience is the only audience of the token: the audience of Subject, or the default of the exchange. It is never
	// empty.
	Audience string
	// Lifetime is the minimum lifetime of the token. It is at least ten minutes, which is the minimum of Kubernetes. A
	// source that cannot choose a lifetime ignores it.
	Lifetime time.Duration
}

// A Subjects is a source of tokens from other issuers, which a provider exchanges for a registry's credential. Package
// inject/kube has an implementation that requests the tokens of service accounts, and package providers/subjects has
// one for files, environment variables and functions.
//
//   - It is safe for concurrent use, and returns soon after ctx ends.
//   - It decides by the profile's tenant whether the profile may use the subject, and returns an error if not: a
//     profile must not name the service account of another tenant.
//   - It requests or reads the token for each call. It does not cache or log it.
//   - Its errors hold no token. They are of type [registry.Error] if it knows the cause: [registry.ErrNoIdentity] if
//     there is no such subject, [registry.ErrDenied] if the profile may not use it.
type Subjects interface {
	SubjectToken(ctx context.Context, r SubjectRequest) (credentials.Secret, error)
}
