// Package ecr issues credentials for the registries of Amazon Web Services: private ones in all partitions of AWS, and
// ECR Public.
//
// [Provider] turns a profile with an AWS identity into the token that its registries take: from an access key, a web
// identity or the identity of the process, over any number of roles, to ecr:GetAuthorizationToken. [ParseHost] says
// what the name of a registry means. Package ecrtest has an AWS for tests, in memory.
//
// It does not cache: a token is good for twelve hours, and for all registries that its owner may reach in the region,
// so put a [credentials.Cache] before it. It does not ask whether a repository may be pulled: package validate does.
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
// AWS's API is asked where the registry is, whatever the environment says: in the region and partition of the profile's
// endpoint, by its FIPS name if the endpoint is a FIPS name, by its dual-stack name if the endpoint is one.
//
// The profile's transport, its proxy and certificates, is for AWS's APIs too. The endpoints that give a machine or a
// pod its identity are always reached directly.
type Provider struct {
	// Transports keeps connections between calls, and can be shared. Nil means that each call makes its own and closes
	// them, which is right where a cache keeps the calls rare.
	Transports *registry.Transports
	// RoundTripper carries all calls in place of Transports, for tests and for instrumentation: those to AWS's APIs, and
	// those to the endpoints that give a machine or a pod its identity. Nothing of the profile's transport counts then,
	// and AWS's chain refuses AWS_CA_BUNDLE for an ambient identity. Nil means none.
	RoundTripper http.RoundTripper

	// Timeout bounds one call with all its steps and retries. Zero means 30 seconds.
	Timeout time.Duration

	// Endpoint returns the URL of AWS's API for a service ("ecr", "ecr-public", "sts") in a region, for VPC endpoints
	// without private DNS and for tests. Nil means AWS's own endpoints; so does the empty text.
	Endpoint func(service, region string) string

	// NoAmbient refuses profiles that use the identity of the process. Set it where profiles are written by people who
	// must not act as the process: a profile can name a proxy and a certificate authority of its own, and see
	// everything that goes there. A profile with an egress policy is held to that as well.
	NoAmbient bool

	// SubjectTokens are the files from which a profile may take the token of a web identity, each spelled as in the
	// profile. Nil means that there are none, because a profile names whatever file it likes, and this process reads it
	// and sends its text on: list only what the authors of profiles may use.
	SubjectTokens []string

	// Subjects returns the tokens of workloads for web identities that name a subject. If nil, they are rejected.
	Subjects providers.Subjects

	// NoInstanceMetadata keeps ambient identities from asking the instance metadata service. A single profile says so
	// in its login.
	NoInstanceMetadata bool
}

// Username is the user name that goes with every token of ECR.
const Username = "AWS"

// Credential returns the token that the profile's registries take until its ExpiresAt, or an anonymous credential for
// ECR Public if the profile says anonymous.
//
// Its error is a [registry.Error], which names the step, the identity and AWS's answer:
//   - [registry.ErrInvalid]: the profile, see [Provider.Validate].
//   - [registry.ErrNoIdentity]: the process has no identity, or its file with a web identity token cannot be read.
//   - [registry.ErrUnauthorized], [registry.ErrExpired], [registry.ErrClockSkew]: AWS does not accept the identity.
//   - [registry.ErrDenied]: AWS knows the identity, and does not let it have a token or assume a role.
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

// Scope says what the profile's token serves: partition and region, and by which of the region's endpoints it is asked
// for, so that a profile that asks for FIPS gets no token that came another way. It is "" for a profile whose endpoint
// is not of ECR.
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
