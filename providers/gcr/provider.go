// Package gcr issues credentials for the registries of Google Cloud: Artifact Registry, and gcr.io, which Artifact
// Registry serves today.
//
// [Provider] turns a profile with a Google identity into what the registries take: the key of a service account as it
// is, or an access token made from a key, from workload identity federation, from the identity of the process, or by
// impersonation of another service account. Package gcrtest has a Google Cloud for tests, in memory.
//
// It does not cache: an access token is good for an hour, for all registries that its owner may pull from, so put a
// [credentials.Cache] before it. It does not ask whether a repository may be pulled: package validate does. No profile
// makes it start a program.
package gcr

import (
	"context"
	"net/http"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// A Provider issues credentials for profiles of kind [registry.GCR]. The zero Provider is ready to use. Set the fields
// before the first use; it is then safe for concurrent use, and may be copied.
//
// The profile's transport, its proxy and certificates, is for Google's APIs too. The metadata server, and a URL that a
// subject token comes from, belong to the machine and are reached directly.
type Provider struct {
	// Transports keeps connections between calls, and can be shared. Nil means that each call makes its own and closes
	// them, which is right where a cache keeps the calls rare.
	Transports *registry.Transports
	// RoundTripper carries all calls in place of Transports, for tests and for instrumentation: those to Google's APIs, to
	// the metadata server, and to a URL that a subject token comes from. Nothing of the profile's transport counts then.
	// Nil means none.
	RoundTripper http.RoundTripper

	// Timeout bounds one call with all its steps and attempts. Zero means 30 seconds.
	Timeout time.Duration

	// NoAmbient refuses profiles that use the identity of the process. Set it where profiles are written by people who
	// must not act as the process: a profile can name a proxy and a certificate authority of its own, and see
	// everything that goes there.
	NoAmbient bool

	// SubjectTokens are the files and URLs from which a profile with workload identity federation may take the token
	// that it exchanges, each spelled as in the profile. Nil means that there are none, for such a profile names
	// whatever file or URL it likes, and this process reads it: list only what the authors of profiles may use, and see
	// NoAmbient.
	SubjectTokens []string

	// Subjects returns the tokens of workloads for a federation that names a subject. If nil, they are rejected.
	Subjects providers.Subjects

	// UncheckedKeys hands out a long-lived key without asking Google whether it is still good. False means that the key
	// is exchanged once, for a token that is thrown away: a key that was deleted or disabled is then an error that says
	// so, instead of a refusal by the registry that does not.
	UncheckedKeys bool
}

// The user names that Google's registries know: https://cloud.google.com/artifact-registry/docs/docker/authentication.
const (
	// KeyUsername goes with the key of a service account, as JSON.
	KeyUsername = "_json_key"
	// TokenUsername goes with every access token.
	TokenUsername = "oauth2accesstoken"
)

// Credential returns what the profile's registries take: a long-lived key, which never expires; or an access token,
// until its ExpiresAt; or an anonymous credential if the profile says so.
//
// Its error is a [registry.Error], which names the identity and Google's answer:
//   - [registry.ErrInvalid]: the profile, see [Provider.Validate].
//   - [registry.ErrNoIdentity]: the process has no identity or none that this package knows, or a subject token cannot
//     be read.
//   - [registry.ErrUnauthorized], [registry.ErrExpired], [registry.ErrClockSkew]: Google does not accept the identity.
//   - [registry.ErrDenied]: Google knows the identity, and does not let it impersonate the service account or use the
//     pool.
//   - [registry.ErrUnsupported]: the API is not enabled in the project.
//   - [registry.ErrRateLimited], with Wait; [registry.ErrUnavailable] and the codes below it; [registry.ErrTLS] and
//     those below it.
//   - [registry.ErrCanceled]: ctx ended; it wraps the cause.
func (p Provider) Credential(ctx context.Context, profile registry.Profile) (credentials.Credential, error) {
	s := &session{provider: p, profile: profile}
	if ctx.Err() != nil {
		return credentials.Credential{}, s.error(registry.ErrCanceled, "", 0, context.Cause(ctx))
	}
	if err := providers.Validate(p, profile); err != nil {
		return credentials.Credential{}, s.error(registry.ErrInvalid, "", 0, err)
	}
	if profile.Login.Anonymous {
		return credentials.Credential{Anonymous: true}, nil
	}
	ctx, cancel := cloud.WithTimeout(ctx, p.Timeout)
	defer cancel()
	s.wire = &wire{ctx: ctx, google: p.RoundTripper, direct: p.RoundTripper}
	if p.RoundTripper == nil {
		transports := p.Transports
		if transports == nil {
			transports = new(registry.Transports)
			defer transports.CloseIdleConnections()
		}
		var err error
		if s.wire.google, err = transports.For(profile.Transport); err != nil {
			return credentials.Credential{}, s.error(registry.ErrInvalid, "", 0, err)
		}
		if s.wire.direct, err = transports.For(registry.TransportConfig{Proxy: registry.Direct}); err != nil {
			return credentials.Credential{}, s.error(registry.ErrInvalid, "", 0, err)
		}
	}
	return s.try(ctx)
}

// Three attempts within a second ride out a hiccup, such as a metadata server that starts after its pod. A longer
// outage is for the cache to wait for, which asks for many at once.
const (
	maxAttempts  = 3
	firstBackoff = 250 * time.Millisecond
)

func (s *session) try(ctx context.Context) (credentials.Credential, error) {
	for attempt, backoff := 1, firstBackoff; ; attempt, backoff = attempt+1, 2*backoff {
		c, err := s.credential(ctx)
		code := registry.CodeOf(err)
		if err == nil || attempt == maxAttempts || code != registry.ErrUnavailable && code != registry.ErrUnreachable {
			return c, err
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return credentials.Credential{}, err
		}
	}
}

// Scope is the same for all registries of Google: key and token are good for every one that their owner may pull from.
// It is "" for a profile with a host that is not Google's, so that such a profile never meets a credential that was
// issued for another one.
func (p Provider) Scope(profile registry.Profile) string {
	if checkHosts(profile) != nil {
		return ""
	}
	return "google"
}
