// Package acr issues credentials for Azure Container Registry.
//
// [Provider] exchanges the Microsoft Entra ID identity of a profile for a credential of the registry: it requests an
// access token for the identity from Entra, and exchanges that token at the registry for a refresh token, which is the
// password. Package acrtest simulates Azure in memory, for tests.
//
// It does not cache: a refresh token is valid for three hours, so wrap it in a [credentials.Cache]. It does not check
// whether the identity may pull from a repository; package validate does. It never follows the realm of a registry's
// challenge, because an access token of Entra is valid at every registry of its identity.
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

	// NoAmbient rejects profiles that use the identity of the process or a managed identity of its machine. Set it if
	// the authors of profiles must not act as the process.
	NoAmbient bool

	// Transports keeps connections between calls. If nil, each call opens and closes its own.
	Transports *registry.Transports
	// RoundTripper carries all calls instead of Transports, for tests and for instrumentation: to Entra, to the registry
	// and to the machine's identity endpoint. The profile's transport is then ignored. If nil, Transports is used.
	RoundTripper http.RoundTripper

	// Timeout bounds one call with all its steps. Zero means 30 seconds.
	Timeout time.Duration
}

// Username is the user name for every refresh token: https://aka.ms/acr/authorization.
const Username = "00000000-0000-0000-0000-000000000000"

// Credential returns a refresh token of the registry, which is valid until its ExpiresAt, for about three hours. If
// the login is a user name and a password, it returns them unchanged. If the login is anonymous, it returns an
// anonymous credential.
//
// Its error is a [registry.Error], which names the step and the response:
//   - [registry.ErrInvalid]: the profile is not valid, see [Provider.Validate]; or Entra does not know the tenant.
//   - [registry.ErrNoIdentity]: the machine has no such identity, or the subject has no token.
//   - [registry.ErrUnauthorized], [registry.ErrExpired]: Entra does not accept the identity.
//   - [registry.ErrDenied]: Entra does not trust the subject, or the registry grants the identity no permission.
//   - [registry.ErrBlocked]: the registry's firewall rejects the client.
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
		// The machine's identity endpoint is reached directly, without a proxy.
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

// Scope returns the host of the registry, because a refresh token is valid for all repositories of one registry that
// its identity may pull. It returns "" for a profile whose endpoint is not a registry of ACR.
func (v Provider) Scope(p registry.Profile) string {
	endpoint, err := p.MainEndpoint()
	if err != nil || cloudOf(endpoint.Host).suffix == "" {
		return ""
	}
	return endpoint.Host
}

const wantHost = "the login server of a registry, such as acme.azurecr.io"

// Validate reports the problems of a profile that are specific to Azure, as a [field.Errors];
// [registry.Profile.Validate] reports the others. It makes no network call.
//
// All hosts of a profile must be names of one registry. The login is an Azure identity, the identity of the process, a
// long-lived user name and password, such as a repository-scoped token, or anonymous. A pasted refresh token is
// rejected: it expires within three hours, and the provider could not renew it.
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
