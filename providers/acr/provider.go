// Package acr issues credentials for Azure Container Registry.
//
// [Provider] turns a profile with an identity of Microsoft Entra ID into what the registry accepts: it gets an access
// token for the identity and exchanges it at the registry for a refresh token, which is the password. Package acrtest
// has an Azure for tests, in memory.
//
// It does not cache: a refresh token is valid for three hours, so put a [credentials.Cache] before it. It does not
// check whether a repository may be pulled: package validate does. It never follows the realm of a registry's
// challenge: an access token of Entra opens every registry of its identity.
package acr

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/providers/internal/subject"
	"github.com/regcred/regcred/registry"
)

// A Provider issues credentials for profiles of kind [registry.ACR]. The zero Provider is ready to use. Set the fields
// before the first use; it is then safe for concurrent use, and may be copied.
type Provider struct {
	// Subjects returns the tokens of workloads. If nil, a login with a subject is rejected.
	Subjects providers.Subjects

	// NoAmbient rejects profiles that use the identity of the process or a managed identity of its machine. Set it where
	// profiles are written by people who must not act as the process.
	NoAmbient bool

	// Transports keeps connections between calls. If nil, each call makes its own and closes them.
	Transports *registry.Transports
	// RoundTripper carries all calls in place of Transports, for tests and for instrumentation: to Entra, to the registry
	// and to the machine's identity endpoint. The profile's transport is then ignored. If nil, Transports is used.
	RoundTripper http.RoundTripper

	// Timeout bounds one call with all its steps. Zero means 30 seconds.
	Timeout time.Duration
}

// Username goes with every refresh token: https://aka.ms/acr/authorization.
const Username = "00000000-0000-0000-0000-000000000000"

// Credential returns a refresh token of the registry until its ExpiresAt, which is about three hours. A user name and
// password are returned as they are, and an anonymous credential if the profile says so.
//
// Its error is a [registry.Error], which names the step and the response:
//   - [registry.ErrInvalid]: the profile, see [Provider.Validate]; or Entra does not know the tenant.
//   - [registry.ErrNoIdentity]: the machine has no such identity, or the subject has no token.
//   - [registry.ErrUnauthorized], [registry.ErrExpired]: Entra does not accept the identity.
//   - [registry.ErrDenied]: Entra does not trust the subject, or the registry grants the identity nothing.
//   - [registry.ErrBlocked]: the registry's firewall.
//   - [registry.ErrRateLimited], with Wait; [registry.ErrUnavailable] and the codes below it; [registry.ErrTLS] and
//     those below it.
//   - [registry.ErrCanceled] or [registry.ErrTimeout]: ctx ended; it wraps the cause.
func (v Provider) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, cloud.Error(p, registry.ErrCanceled, "", 0, context.Cause(ctx))
	}
	if err := providers.Validate(v, p); err != nil {
		return credentials.Credential{}, cloud.Error(p, registry.ErrInvalid, "correct the profile", 0, err)
	}
	if form := p.Login.Form(); form == "anonymous" || form == "username" {
		return providers.Static{}.Credential(ctx, p)
	}
	endpoint, err := p.MainEndpoint()
	if err != nil {
		return credentials.Credential{}, cloud.Error(p, registry.ErrInvalid, "correct the profile", 0, err)
	}
	ctx, cancel := cloud.WithTimeout(ctx, v.Timeout)
	defer cancel()
	s := session{provider: v, profile: p, host: endpoint.Host, cloud: cloudOf(endpoint.Host), through: v.RoundTripper, direct: v.RoundTripper}
	if v.RoundTripper == nil {
		transports := v.Transports
		if transports == nil {
			transports = new(registry.Transports)
			defer transports.CloseIdleConnections()
		}
		through, err := transports.For(p.Transport)
		if err != nil {
			return credentials.Credential{}, cloud.Error(p, registry.ErrInvalid, "correct the profile", 0, err)
		}
		// The machine's identity endpoint is not reached through a proxy.
		direct, err := transports.For(registry.TransportConfig{Proxy: registry.Direct})
		if err != nil {
			return credentials.Credential{}, cloud.Error(p, registry.ErrInvalid, "", 0, err)
		}
		s.through, s.direct = through, direct
	}
	c, err := s.credential(ctx)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return credentials.Credential{}, cloud.Error(p, cloud.EndCode(ctx), "", 0, context.Cause(ctx))
	}
	if e, ok := err.(*registry.Error); ok && e.Op == "" {
		return credentials.Credential{}, cloud.Error(p, e.Code, e.Hint, e.Wait, e.Err)
	}
	return credentials.Credential{}, cloud.Error(p, registry.CodeOf(err), "", 0, err)
}

// Scope is the host of the registry: a refresh token opens all repositories of one registry that its identity may pull.
// It is "" for a profile whose endpoint is not of ACR.
func (v Provider) Scope(p registry.Profile) string {
	endpoint, err := p.MainEndpoint()
	if err != nil || cloudOf(endpoint.Host).suffix == "" {
		return ""
	}
	return endpoint.Host
}

const wantHost = "the login server of a registry, such as acme.azurecr.io"

// Validate reports every problem that is Azure's own, as a [field.Errors]; [registry.Profile.Validate] reports the rest.
// It sends no request.
//
// All hosts of a profile are the same registry. The login is an Azure identity, that of the process, a user name and
// password that last, such as those of a repository-scoped token, or none. A refresh token that somebody pasted is
// rejected: it expires within three hours, and nobody could renew it.
func (v Provider) Validate(p registry.Profile) error {
	var problems field.List
	var host string
	if endpoints, err := p.Endpoints(); err == nil {
		host = endpoints[0].Host
		if cloudOf(host).suffix == "" {
			problems.Add("endpoint", "is "+host, wantHost)
		}
		for i, e := range endpoints[1:] {
			if e.Host != host { // The credential is published for every host of the profile.
				problems.Add(fmt.Sprintf("hosts[%d]", i), "is "+e.Host, host+": a refresh token is for one registry")
			}
		}
	}
	if p.Transport.PlainHTTP {
		problems.Add("transport.plainHTTP", "is set", "nothing: ACR has https only")
	}
	v.validateLogin(&problems, p, host)
	return problems.Err(fmt.Sprintf("profile %q", p.Name))
}

func (v Provider) validateLogin(problems *field.List, p registry.Profile, host string) {
	const want = "azure with a client secret, a certificate, a subject or a managed identity; ambient; username and password; or anonymous"
	own := p.Login.Ambient
	switch l := p.Login; l.Form() {
	case "", "anonymous", "ambient":
	case "azure":
		own = l.Azure.ManagedIdentity
		if l.Azure.Subject != nil {
			subject.Validate(problems, "login.azure.subject", v.Subjects, p, *l.Azure.Subject, cloudOf(host).destination(), nil)
		}
		if !l.Azure.Certificate.IsZero() {
			if _, err := parseCertificate(l.Azure.Certificate); err != nil {
				problems.Add("login.azure.certificate", err.Error(), "a certificate and its RSA private key, both in PEM")
			}
		}
	case "username":
		if l.Username == Username {
			problems.Add("login.username", "is that of a refresh token, which expires within three hours", want)
		}
	default:
		problems.Add("login", "has the form "+l.Form(), want)
	}
	if own && v.NoAmbient {
		problems.Add("login", "is the identity of this process", "an identity of its own: this program lends its identity to no profile")
	}
	if own {
		subject.ValidateTransport(problems, p, "the identity of this process")
	}
}
