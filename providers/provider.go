package providers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
)

// A Provider issues the credential for a profile.
//
//   - It is safe for concurrent use, and keeps nothing of a profile that would change what another one gets.
//   - It returns soon after ctx ends, with an error that wraps [context.Cause] of ctx.
//   - It does not change the profile.
//   - What it returns without an error passes [credentials.Credential.Validate]; with an error it returns no
//     credential.
//   - A login that cannot be used is an error, never an anonymous credential.
//   - ExpiresAt is the issuer's own instant.
//   - Its errors are of type [registry.Error] where it knows what went wrong, and hold no secret.
//   - It does not cache: a [credentials.Cache] does that for all of them.
//
// [providerstest.TestProvider] holds an implementation to all that.
//
// [providerstest.TestProvider]: https://pkg.go.dev/github.com/regcred/regcred/providers/providerstest#TestProvider
type Provider interface {
	Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error)
}

// A Func is a function that is a [Provider].
type Func func(ctx context.Context, p registry.Profile) (credentials.Credential, error)

// Credential calls f.
func (f Func) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	return f(ctx, p)
}

// A Scoper is a [Provider] whose credentials serve more than the profile that they were issued for: two valid profiles
// of one kind that have the same tenant, login and transport, and the same scope, can share one credential. For AWS ECR
// the scope is the partition and region.
//
// It is optional. Something that wraps a Provider and hides it costs calls to the issuer, never correctness.
type Scoper interface {
	Scope(p registry.Profile) string
}

// A Validator is a [Provider] that knows more about its profiles than [registry.Profile.Validate] does: which logins it
// takes, which endpoints it serves. Its error is a [field.Errors] with every problem. It asks nobody.
//
// It is optional. Something that wraps a Provider and hides it has the same problems reported later, by Credential.
type Validator interface {
	Validate(p registry.Profile) error
}

// Validate reports every problem of the profile: those that any profile can have, and those that the provider knows of.
// Where both speak of one field, the general one is reported.
func Validate(provider Provider, p registry.Profile) error {
	general := p.Validate()
	v, ok := provider.(Validator)
	if !ok {
		return general
	}
	own := v.Validate(p)
	if general == nil {
		return own
	}
	var problems field.List
	var known []string
	for _, f := range fieldErrors(general) {
		known = append(known, f.Field)
		problems.Add(f.Field, f.Problem, f.Want)
	}
	for _, f := range fieldErrors(own) {
		if !slices.Contains(known, f.Field) {
			problems.Add(f.Field, f.Problem, f.Want)
		}
	}
	return problems.Err(subject(p))
}

// fieldErrors returns the problems in err; one about the whole if it is none of [field.Errors].
func fieldErrors(err error) []*field.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*field.Errors](err); ok {
		return e.Fields
	}
	return []*field.Error{{Problem: err.Error()}}
}

// Key says which credential in a cache serves the profile; see [credentials.Key] and [Scoper].
func Key(provider Provider, p registry.Profile) credentials.Key {
	key := credentials.Key{
		Tenant:    p.Tenant,
		Issuer:    string(p.Kind),
		Login:     p.Login.Fingerprint(),
		Transport: p.Transport.Fingerprint(),
	}
	if s, ok := provider.(Scoper); ok {
		key.Scope = s.Scope(p)
	}
	if key.Scope == "" {
		key.Scope = endpointScope(p)
	}
	return key
}

// endpointScope is the scope where nothing is known: just this endpoint, under all its names.
func endpointScope(p registry.Profile) string {
	endpoints, err := p.Endpoints()
	if err != nil {
		r := p.Redacted() // It is refused before it is issued, and a key is printed.
		return r.Endpoint + " " + strings.Join(r.Hosts, " ")
	}
	names := make([]string, len(endpoints))
	for i, e := range endpoints {
		names[i] = e.String()
	}
	return strings.Join(names, " ")
}

// Source binds a provider to one profile. It does not cache. Its errors are [registry.Error]s, also if those of the
// provider are not; an expired credential has [registry.ErrExpired], and one that is empty or has impossible dates
// [registry.ErrProvider].
func Source(provider Provider, p registry.Profile) credentials.Source {
	return credentials.Func(func(ctx context.Context) (credentials.Credential, error) {
		return issue(ctx, provider, p)
	})
}

// A Set is the providers that a program has, by the kind of profile that they serve:
//
//	providers.Set{registry.DockerHub: dockerhub.Provider{}, registry.Custom: custom.Provider{}}
//
// It is a [Provider], and passes on what [Scoper] and [Validator] say. It must not be changed once in use. A nil Set
// serves nothing.
type Set map[registry.Kind]Provider

// Credential validates the profile and asks the provider of its kind. Its error is a [registry.Error], whatever the
// provider's is: a kind without provider has [registry.ErrNoProfile], an invalid profile [registry.ErrInvalid], a ctx
// that ended [registry.ErrCanceled].
func (s Set) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, fail(p, registry.ErrCanceled, "", context.Cause(ctx))
	}
	if err := s.Validate(p); err != nil {
		if _, ok := errors.AsType[*registry.Error](err); ok {
			return credentials.Credential{}, err
		}
		return credentials.Credential{}, invalid(p, err)
	}
	return issue(ctx, s[p.Kind], p)
}

// issue calls the provider and checks what it issues. The error is a [registry.Error].
func issue(ctx context.Context, provider Provider, p registry.Profile) (credentials.Credential, error) {
	c, err := provider.Credential(ctx, p)
	if err == nil {
		err = c.Validate(time.Now())
		if err == nil {
			return c, nil
		}
		hint := ""
		if errors.Is(err, credentials.ErrCredentialExpired) {
			hint = "check the clock of this machine and that of the issuer, and that the provider does not keep old credentials"
		}
		return credentials.Credential{}, fail(p, registry.CodeOf(err), hint, fmt.Errorf("what the provider issued: %w", err))
	}
	if _, ok := errors.AsType[*registry.Error](err); ok {
		return credentials.Credential{}, err
	}
	code := registry.CodeOf(err)
	if ctx.Err() != nil && code == registry.ErrUnknown {
		code = registry.ErrCanceled
	}
	return credentials.Credential{}, fail(p, code, "", err)
}

// Scope passes on what the provider of the profile's kind says.
func (s Set) Scope(p registry.Profile) string {
	if scoper, ok := s[p.Kind].(Scoper); ok {
		return scoper.Scope(p)
	}
	return ""
}

// Validate reports every problem of the profile, see the function [Validate]; and a kind that the set has no provider
// for, as a [registry.Error] with [registry.ErrNoProfile].
func (s Set) Validate(p registry.Profile) error {
	if p.Kind != "" && s[p.Kind] == nil {
		var kinds []string
		for _, kind := range slices.Sorted(maps.Keys(s)) {
			kinds = append(kinds, string(kind))
		}
		return &registry.Error{
			Op: "find provider", Ref: "for " + subject(p), Code: registry.ErrNoProfile,
			Hint: "use one of the kinds that this program has providers for, or add the provider to its providers.Set",
			Err:  fmt.Errorf("no provider for kind %q; there are: %s", p.Kind, cmp.Or(strings.Join(kinds, ", "), "none")),
		}
	}
	return Validate(s[p.Kind], p)
}
