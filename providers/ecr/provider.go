// Package ecr issues credentials for the registries of Amazon Web Services: private ones in all partitions of AWS, and
// ECR Public.
//
// [Provider] exchanges the AWS identity of a profile for a token of the registries: it starts with an access key, a web
// identity or the identity of the process, assumes any number of roles, and calls ecr:GetAuthorizationToken.
// [ParseHost] parses the name of a registry. Package ecrtest has a simulated AWS for tests, in memory.
//
// It does not cache: a token is valid for twelve hours, and for all registries that its owner may use in the region, so
// wrap it in a [credentials.Cache]. It does not check whether the identity may pull from a repository; package validate
// does.
package ecr

import (
	"context"
	"net/http"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// A Provider issues credentials for profiles of kind [registry.ECR]. The zero Provider is ready to use. Set the fields
// before the first use; it is then safe for concurrent use, and may be copied.
//
// It calls AWS's API in the registry's own region and partition, as named by the profile's endpoint, whatever the
// environment selects. It uses the FIPS name of the API if the endpoint is a FIPS name, and the dual-stack name if the
// endpoint is a dual-stack name.
//
// Calls to AWS's APIs also use the profile's transport with its proxy and certificates. So a profile must not have a
// proxy or certificates if its login is the identity of the process or a file of [Provider.SubjectTokens]. The
// endpoints that provide the identity of a machine or a pod are always reached directly.
type Provider struct {
	// Transports keeps connections between calls, and can be shared. If nil, each call opens and closes its own, which
	// is sufficient if a cache keeps calls rare.
	Transports *registry.Transports
	// RoundTripper carries all calls instead of Transports, for tests and for instrumentation: to AWS's APIs, and to
	// the endpoints that provide the identity of a machine or a pod. Then the profile's transport is ignored, and AWS's
	// chain rejects AWS_CA_BUNDLE for an ambient identity. If nil, Transports is used.
	RoundTripper http.RoundTripper

	// Timeout bounds one call with all its steps and retries. Zero means 30 seconds.
	Timeout time.Duration

	// Endpoint returns the URL of AWS's API for a service ("ecr", "ecr-public", "sts") in a region, for VPC endpoints
	// without private DNS and for tests. If it is nil or returns the empty string, AWS's own endpoint is used.
	Endpoint func(service, region string) string

	// NoAmbient rejects profiles that use the identity of the process. Set it if the authors of profiles must not pull
	// what the process may pull. The egress policy of a profile applies in addition.
	NoAmbient bool

	// SubjectTokens are the files from which a profile may read the token of a web identity, each spelled as in the
	// profile. If nil, no file is allowed, because a profile can name any file, and this process would read it and send
	// its text over the network. List only files that the authors of profiles may use.
	SubjectTokens []string

	// Subjects returns the tokens of workloads for web identities that name a subject. If nil, such profiles are
	// rejected.
	Subjects providers.Subjects

	// NoInstanceMetadata excludes the instance metadata service from ambient identities. The login of a profile can do
	// the same for that profile.
	NoInstanceMetadata bool
}

// Username is the user name for every token of ECR.
const Username = "AWS"

// Credential returns a token for the profile's registries that is valid until its ExpiresAt, or an anonymous credential
// for ECR Public if the login is anonymous.
//
// Its error is a [registry.Error], which names the step, the identity and AWS's response:
//
//   - [registry.ErrInvalid]: the profile is not valid; see [Provider.Validate].
//   - [registry.ErrNoIdentity]: the process has no identity, or its file with a web identity token cannot be read.
//   - [registry.ErrUnauthorized], [registry.ErrExpired], [registry.ErrClockSkew]: AWS does not accept the identity.
//   - [registry.ErrDenied]: AWS knows the identity, which has no permission to get a token or to assume a role.
//   - [registry.ErrUnsupported]: the region is not enabled for the account.
//   - [registry.ErrRateLimited], with Wait; [registry.ErrUnavailable] and the codes below it; [registry.ErrTLS] and
//     those below it.
//   - [registry.ErrCanceled]: ctx ended; it wraps the cause.
func (p Provider) Credential(ctx context.Context, profile registry.Profile) (credentials.Credential, error) {
	s := session{provider: p, profile: profile}
	if ctx.Err() != nil {
		return credentials.Credential{}, s.error(registry.ErrCanceled, "", context.Cause(ctx))
	}
	if err := providers.Validate(p, profile); err != nil {
		return credentials.Credential{}, s.error(registry.ErrInvalid, "", err)
	}
	if profile.Login.Anonymous {
		return credentials.Credential{Anonymous: true}, nil
	}
	host, err := mainHost(profile)
	if err != nil {
		return credentials.Credential{}, s.error(registry.ErrInvalid, "", err)
	}
	s.host = host
	if s.roundTripper = p.RoundTripper; s.roundTripper == nil {
		transports := p.Transports
		if transports == nil {
			transports = new(registry.Transports)
			defer transports.CloseIdleConnections()
		}
		if s.way, err = transports.For(profile.Transport); err != nil {
			return credentials.Credential{}, s.error(registry.ErrInvalid, "", err)
		}
		s.roundTripper = s.way
	}
	ctx, cancel := cloud.WithTimeout(ctx, p.Timeout)
	defer cancel()
	return s.credential(ctx)
}

// Scope returns the scope of the profile's token: partition and region, and the kind of endpoint that issues it, so
// that a profile with a FIPS endpoint gets no token from another endpoint. It returns "" for a profile whose endpoint
// is not a registry of ECR.
func (p Provider) Scope(profile registry.Profile) string {
	host, err := mainHost(profile)
	if err != nil {
		return ""
	}
	scope := host.Partition + "/" + host.Region
	if host.Public {
		scope += "/public"
	}
	if host.FIPS {
		scope += "/fips"
	}
	if host.DualStack {
		scope += "/dual-stack"
	}
	return scope
}

func mainHost(profile registry.Profile) (Host, error) {
	endpoint, err := profile.MainEndpoint()
	if err != nil {
		return Host{}, err
	}
	return ParseHost(endpoint.Host)
}
