// Package federated issues credentials of registries for the identity of a workload, so that no password is stored: the
// token of a Kubernetes service account, of a CI job or of a SPIFFE workload is exchanged for a credential.
//
// [Provider] serves profiles whose login is federated, with one row of a table for each exchange: Quay, Artifactory,
// Cloudsmith, Chainguard, Docker Hub, IBM, and registries that accept the token as the password. The clouds have
// providers of their own, which exchange tokens too: packages ecr, gcr and acr.
//
// The tokens come from a [providers.Subjects]. The Provider does not cache: a [credentials.Cache] does.
package federated

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/providers/internal/subject"
	"github.com/regcred/regcred/registry"
)

// A Provider issues credentials for profiles whose login is federated, and passes all other profiles to another
// provider:
//
//	providers.Set{registry.Custom: federated.Provider{Subjects: subjects, Fallback: custom.Provider{}}}
//
// Set the fields before the first use; it is then safe for concurrent use, and may be copied.
type Provider struct {
	// Subjects returns the tokens. If nil, every federated profile is rejected.
	Subjects providers.Subjects

	// Allow reports whether a profile of the tenant may request a token for an audience other than the usual audience
	// of the host. If nil, only the usual audience is allowed. The audiences of clouds are never allowed.
	Allow func(tenant, audience, host string) bool

	// Fallback serves profiles with another form of login. If nil, they are rejected.
	Fallback providers.Provider

	// Transports keeps connections between calls. If nil, each call opens its own.
	Transports *registry.Transports
	// RoundTripper carries all calls instead of Transports, for tests and for instrumentation. The profile's transport
	// is then ignored. If nil, Transports is used.
	RoundTripper http.RoundTripper

	// Timeout bounds one call. Zero means 30 seconds.
	Timeout time.Duration
}

// Credential exchanges the subject's token for a credential. Its ExpiresAt is the earlier of the expiry in the
// response and the expiry in the credential itself.
//
// Its error is a [registry.Error], whose hint shows the issuer, subject and audience that were presented:
//   - [registry.ErrInvalid]: the profile is not valid; see [Provider.Validate].
//   - [registry.ErrNoIdentity]: there is no such subject, or its token is not for this audience and was not sent.
//   - [registry.ErrDenied]: the server does not trust the subject. [registry.ErrExpired]: the token expired.
//   - [registry.ErrRateLimited], with Wait; [registry.ErrUnavailable] and the codes below it; [registry.ErrTLS] and
//     those below it.
//   - [registry.ErrCanceled] or [registry.ErrTimeout]: ctx ended; it wraps the cause.
//
// For other logins, it returns the error of Fallback.
func (v Provider) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	if p.Login.Federated == nil && v.Fallback != nil {
		return v.Fallback.Credential(ctx, p)
	}
	if ctx.Err() != nil {
		return credentials.Credential{}, cloud.Error(p, registry.ErrCanceled, "", 0, context.Cause(ctx))
	}
	if err := providers.Validate(v, p); err != nil {
		return credentials.Credential{}, cloud.Error(p, registry.ErrInvalid, "correct the profile", 0, err)
	}
	ctx, cancel := cloud.WithTimeout(ctx, v.Timeout)
	defer cancel()
	c, err := v.exchange(ctx, p)
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		return credentials.Credential{}, cloud.Error(p, cloud.EndCode(ctx), "", 0, context.Cause(ctx))
	}
	if e, ok := err.(*registry.Error); ok && e.Op == "" {
		return credentials.Credential{}, cloud.Error(p, e.Code, e.Hint, e.Wait, e.Err)
	}
	return credentials.Credential{}, cloud.Error(p, registry.CodeOf(err), "", 0, err)
}

// Scope returns the host of the exchange. Its credential is valid for all repositories there, whatever the path of the
// endpoint, so a cache limits the calls for each host and not for each path. It returns "" for a profile with a host
// that the exchange does not serve. For other logins, it returns the scope of Fallback.
func (v Provider) Scope(p registry.Profile) string {
	if p.Login.Federated == nil {
		if scoper, ok := v.Fallback.(providers.Scoper); ok {
			return scoper.Scope(p)
		}
		return ""
	}
	x := rowOf(p.Login.Federated.Exchange)
	endpoints, err := p.Endpoints()
	if x == nil || err != nil {
		return ""
	}
	for _, e := range endpoints {
		if !x.serves(endpoints[0].Host, e.Host) {
			return ""
		}
	}
	return x.destination(endpoints[0].Host).Host
}

// Validate reports a subject, an audience, a host or a transport that the exchange does not allow, as a
// [field.Errors]. For other logins, it reports the problems that Fallback reports.
func (v Provider) Validate(p registry.Profile) error {
	if p.Login.Federated == nil {
		if validator, ok := v.Fallback.(providers.Validator); ok {
			return validator.Validate(p)
		}
		var problems field.List
		if v.Fallback == nil {
			problems.Add("login", "has the form "+cmp.Or(p.Login.Form(), "of none"), "federated")
		}
		return problems.Err(fmt.Sprintf("profile %q", p.Name))
	}
	var problems field.List
	x := rowOf(p.Login.Federated.Exchange)
	if x == nil {
		return nil // Login.Validate reports that there is not exactly one.
	}
	endpoints, err := p.Endpoints()
	if err != nil {
		return nil // Profile.Validate reports it.
	}
	for i, e := range endpoints {
		path := "endpoint"
		if i > 0 {
			path = fmt.Sprintf("hosts[%d]", i-1)
		}
		// The credential is published for every host of the profile.
		if !x.serves(endpoints[0].Host, e.Host) {
			problems.Add(path, "is "+e.Host, x.wantHost)
		}
	}
	subject.Validate(&problems, "login.federated.subject", v.Subjects, p, p.Login.Federated.Subject, x.destination(endpoints[0].Host), v.Allow)
	return problems.Err(fmt.Sprintf("profile %q", p.Name))
}

// maxAnswer is far larger than any valid response, in bytes.
const maxAnswer = 64 << 10

func (v Provider) exchange(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	login := p.Login.Federated
	x := rowOf(login.Exchange)
	endpoint, err := p.MainEndpoint()
	if err != nil {
		return credentials.Credential{}, err
	}
	to := x.destination(endpoint.Host)
	token, err := subject.Get(ctx, v.Subjects, p, login.Subject, to, v.Allow)
	if err != nil {
		return credentials.Credential{}, err
	}
	if x.request == nil { // The token is the password.
		return credentials.Credential{
			Username: x.username(login.Exchange, answer{}), Password: token.Secret,
			IssuedAt: token.Claims.IssuedAt, ExpiresAt: token.Claims.ExpiresAt,
		}, nil
	}
	start := time.Now()
	a, err := v.send(ctx, p, x, to.Host, token)
	if err != nil {
		return credentials.Credential{}, err
	}
	c := credentials.Credential{
		Username: x.username(login.Exchange, a), Password: credentials.NewSecret(a.token()),
		IssuedAt: start.Round(0), ExpiresAt: a.expiresAt(start, x.lifetime),
	}
	if strings.Contains(c.Username, ":") || !cloud.IsToken(a.token()) {
		return credentials.Credential{}, &registry.Error{Code: registry.ErrUnavailable, Err: fmt.Errorf("exchange at %s: the response holds no usable login", to.Host)}
	}
	if err := c.Validate(time.Now()); err != nil {
		return credentials.Credential{}, &registry.Error{Code: registry.ErrUnavailable, Err: fmt.Errorf("exchange at %s: the response is not usable: %w", to.Host, err)}
	}
	return c, nil
}

// send sends the request of the exchange, once. A retry would not help if the trust does not match, and after any
// other failure a cache waits before its next call.
func (v Provider) send(ctx context.Context, p registry.Profile, x *row, host string, token subject.Token) (answer, error) {
	what := "exchange the subject token at " + host
	req, err := x.request(p.Login.Federated.Exchange, "https://"+host, token.Secret.Reveal())
	if err != nil {
		return answer{}, &registry.Error{Code: registry.ErrInvalid, Err: errors.New(what + ": the request cannot be made")}
	}
	client, done, err := cloud.Client(v.RoundTripper, v.Transports, p.Transport)
	if err != nil {
		return answer{}, &registry.Error{Code: registry.ErrInvalid, Err: err}
	}
	defer done()
	res, err := client.Do(req.WithContext(ctx))
	if err != nil { // Keep only the cause: the client's error quotes the URL and the request.
		return answer{}, &registry.Error{Code: registry.NetworkCode(err), Err: fmt.Errorf("%s: %s", what, cloud.Clean(cause(err).Error(), token.Secret.Reveal()))}
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, &registry.Error{Code: registry.NetworkCode(err), Err: errors.New(what + ": the response broke off")}
	case len(body) > maxAnswer:
		return answer{}, &registry.Error{Code: registry.ErrTooLarge, Err: fmt.Errorf("%s: the response is larger than %d bytes", what, maxAnswer)}
	}
	var a answer
	parsed := json.Unmarshal(body, &a) == nil
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusCreated {
		if !parsed || a.token() == "" {
			return answer{}, &registry.Error{Code: registry.ErrNotRegistry, Hint: "check the endpoint and the exchange of the profile", Err: errors.New(what + ": the response holds no token")}
		}
		return a, nil
	}
	return answer{}, x.refused(what, res, a, token)
}

// cause returns the error that the errors of net/http wrap, because those quote the URL.
func cause(err error) error {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err
}
