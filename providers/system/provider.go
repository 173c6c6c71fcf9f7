package system

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// A Provider issues credentials for the integrated registry. The zero Provider is ready to use, and safe for concurrent
// use.
//
// The login of a profile is one of:
//
//   - Username and Password of an account of the registry, a person's or a robot's: the provider requests a short-lived
//     login from the registry.
//   - Fields with only the field "key", a [Key] in its text form: the provider mints the login itself.
//   - Anonymous, for repositories that the registry makes public.
type Provider struct {
	// Lifetime is the lifetime of a credential. Zero means one hour. The registry rejects a longer one than its limit,
	// which is a day unless it is configured otherwise.
	Lifetime time.Duration

	// Transports keeps connections between calls. If nil, each call opens its own.
	Transports *registry.Transports
	// RoundTripper carries all calls instead of Transports, for tests and for instrumentation. Then PlainHTTP is the
	// only field of the profile's transport that is used. If nil, Transports is used.
	RoundTripper http.RoundTripper
}

const (
	defaultLifetime = time.Hour
	// callTimeout bounds one call to the registry; its slowest step is hashing a person's password.
	callTimeout = 30 * time.Second

	keyField = "key"
)

// Credential returns a login that can pull from the profile's endpoints and nothing else until its ExpiresAt, or an
// anonymous credential if the profile's login is anonymous.
//
// Its error is a [registry.Error]:
//
//   - [registry.ErrInvalid]: the profile is not valid, see [Provider.Validate]; or the registry does not allow the
//     lifetime.
//   - [registry.ErrUnauthorized]: the registry does not accept the login. [registry.ErrDenied]: the login has no
//     permission to pull from the endpoint.
//   - [registry.ErrRateLimited], with Wait; [registry.ErrUnavailable] and the codes below it; [registry.ErrTLS] and
//     those below it.
//   - [registry.ErrNotRegistry]: the server at the endpoint is not a System registry.
//   - [registry.ErrCanceled] or [registry.ErrTimeout]: ctx ended; it wraps the cause.
func (v Provider) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, v.fail(p, registry.ErrCanceled, context.Cause(ctx))
	}
	if err := providers.Validate(v, p); err != nil {
		return credentials.Credential{}, v.fail(p, registry.ErrInvalid, err)
	}
	endpoints, err := p.Endpoints()
	if err != nil {
		return credentials.Credential{}, v.fail(p, registry.ErrInvalid, err)
	}
	switch {
	case p.Login.Anonymous:
		return credentials.Credential{Anonymous: true}, nil
	case p.Login.Username != "":
		return v.ask(ctx, p, patterns(endpoints))
	default:
		key, err := ParseKey(p.Login.Fields[keyField])
		if err != nil {
			return credentials.Credential{}, v.fail(p, registry.ErrInvalid, err)
		}
		return key.mint(patterns(endpoints), v.lifetime()), nil
	}
}

// Validate reports logins that this provider does not support; see [Provider].
func (v Provider) Validate(p registry.Profile) error {
	var problems field.List
	const want = `username and password, fields with a "key", or anonymous`
	switch l := p.Login; l.Form() {
	case "", "anonymous", "username": // The profile's own validation reports a missing login.
	case "fields":
		for name := range l.Fields {
			if name != keyField {
				problems.Add("login.fields", fmt.Sprintf("has %q", name), `just "key"`)
			}
		}
		if _, err := ParseKey(l.Fields[keyField]); err != nil {
			problems.Add("login.fields.key", err.Error(), "the text of a key of the registry")
		}
	default:
		problems.Add("login", "has the form "+l.Form(), want)
	}
	if v.Lifetime > 0 && v.Lifetime < time.Second { // The registry uses whole seconds.
		problems.Add("", "is served by a provider with a lifetime under a second", "a longer one, or zero")
	}
	return problems.Err(fmt.Sprintf("profile %q", p.Name))
}

func (v Provider) lifetime() time.Duration {
	return option.OrDefault(v.Lifetime, defaultLifetime)
}

// patterns returns the patterns of the repositories under the endpoints in the registry's syntax: everything below a
// path, and the path itself.
func patterns(endpoints []registry.Endpoint) []string {
	var list []string
	for _, e := range endpoints {
		if e.Path == "" {
			return []string{"**"}
		}
		if pattern := e.Path + "/**"; !slices.Contains(list, pattern) {
			list = append(list, pattern)
		}
	}
	return list
}

func (v Provider) fail(p registry.Profile, code registry.Code, err error) error {
	return &registry.Error{Op: "get credential", Ref: fmt.Sprintf("for profile %q", p.Name), Code: code, Err: err}
}
