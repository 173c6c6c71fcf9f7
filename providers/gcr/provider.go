// Package gcr issues credentials for the registries of Google Cloud: Artifact Registry, and gcr.io, which Artifact
// Registry serves today.
//
// [Provider] turns the Google identity of a profile into a credential for the registries: the key of a service account
// unchanged, or an access token from a key, from workload identity federation, from the identity of the process, or
// from impersonation of another service account. Package gcrtest has a simulated Google Cloud for tests, in memory.
//
// It does not cache: an access token is valid for an hour, for all registries that its owner may pull from, so wrap it
// in a [credentials.Cache]. It does not check whether the identity may pull from a repository; package validate does.
// No profile can make it start a program.
package gcr

import (
	"context"
	"errors"
	"fmt"
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
// Calls to Google's APIs also use the profile's transport with its proxy and certificates. So a profile must not have
// a proxy or certificates if its login is the identity of the process or a token of [Provider.SubjectTokens]. The
// metadata server, and the URL of a subject token, belong to the machine and are reached directly.
type Provider struct {
	// Transports keeps connections between calls, and can be shared. If nil, each call opens and closes its own, which
	// is sufficient if a cache keeps calls rare.
	Transports *registry.Transports
	// RoundTripper carries all calls instead of Transports, for tests and for instrumentation: to Google's APIs, to the
	// metadata server, and to the URL of a subject token. Then the profile's transport is ignored. If nil, Transports
	// is used.
	RoundTripper http.RoundTripper

	// Timeout bounds one call with all its steps and attempts. Zero means 30 seconds.
	Timeout time.Duration

	// NoAmbient rejects profiles that use the identity of the process. Set it if the authors of profiles must not pull
	// what the process may pull.
	NoAmbient bool

	// SubjectTokens are the files and URLs from which a profile with workload identity federation may take the token to
	// exchange, each spelled as in the profile. If nil, none is allowed, because such a profile can name any file or
	// URL, and this process would read it. List only those that the authors of profiles may use, and see NoAmbient.
	SubjectTokens []string

	// Subjects returns the tokens of workloads for a federation that names a subject. If nil, such profiles are
	// rejected.
	Subjects providers.Subjects

	// UncheckedKeys returns a long-lived key without checking it. If false, Google is called once to exchange the key
	// for a token, which is discarded: so a deleted or disabled key is an error that names the cause. If true, the
	// registry rejects such a key later, without a cause.
	UncheckedKeys bool
}

// The user names of Google's registries: https://cloud.google.com/artifact-registry/docs/docker/authentication.
const (
	// KeyUsername is the user name for the key of a service account, as JSON.
	KeyUsername = "_json_key"
	// TokenUsername is the user name for every access token.
	TokenUsername = "oauth2accesstoken"
)

// Credential returns a credential for the profile's registries: a long-lived key, which never expires; an access token,
// valid until its ExpiresAt; or an anonymous credential if the login is anonymous.
//
// Its error is a [registry.Error], which names the identity and Google's response:
//
//   - [registry.ErrInvalid]: the profile is not valid; see [Provider.Validate].
//   - [registry.ErrNoIdentity]: the process has no identity or none that this package supports, or a subject token
//     cannot be read.
//   - [registry.ErrUnauthorized], [registry.ErrExpired], [registry.ErrClockSkew]: Google does not accept the identity.
//   - [registry.ErrDenied]: Google knows the identity, which has no permission to impersonate the service account or to
//     use the pool.
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

// Three attempts within a second cover a short failure, such as a metadata server that starts after its pod. The cache
// retries after a longer outage, on behalf of all callers.
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
			return credentials.Credential{}, s.error(cloud.EndCode(ctx), "", 0, fmt.Errorf("%w, after: %v", context.Cause(ctx), errors.Unwrap(err)))
		}
	}
}

// Scope returns the same scope for all registries of Google: a key or token is valid for every registry that its owner
// may pull from. It returns "" for a profile with a host that is not Google's, so that such a profile never gets a
// credential that was issued for another one.
func (p Provider) Scope(profile registry.Profile) string {
	if checkHosts(profile) != nil {
		return ""
	}
	return "google"
}
