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
	// Audience is the one audience that the token is for: the Subject's, or that of the exchange. It is never empty.
	Audience string
	// Lifetime is how long the token has to live: at least ten minutes, which is the least that Kubernetes issues. A
	// source that cannot choose ignores it.
	Lifetime time.Duration
}

// A Subjects returns tokens of other issuers, which a provider exchanges for a registry's credential. Package
// inject/kube has one that requests the tokens of service accounts, and package providers/subjects has one for files,
// environment variables and functions.
//
//   - It is safe for concurrent use, and returns soon after ctx ends.
//   - It decides by the profile's tenant whether the profile may use the subject, and returns an error if not: a profile
//     must not name the service account of another tenant.
//   - It requests or reads the token for each call. It does not cache or log it.
//   - Its errors hold no token. They are of type [registry.Error] where it knows what went wrong:
//     [registry.ErrNoIdentity] if there is no such subject, [registry.ErrDenied] if the profile may not use it.
type Subjects interface {
	SubjectToken(ctx context.Context, r SubjectRequest) (credentials.Secret, error)
}
