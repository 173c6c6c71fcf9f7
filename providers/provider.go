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
//   - It is safe for concurrent use, and keeps no state of a profile that affects another profile's result.
//   - It returns soon after ctx ends, with an error that wraps [context.Cause] of ctx.
//   - It does not change the profile.
//   - A credential that it returns without an error passes [credentials.Credential.Validate]; with an error it returns
//     no credential.
//   - A login that cannot be used is an error, never an anonymous credential.
//   - ExpiresAt is the expiry as reported by the issuer, unchanged.
//   - Its errors are of type [registry.Error] if it knows the cause, and hold no secret.
//   - It does not cache: a [credentials.Cache] does that for all providers.
//
// [providerstest.TestProvider] tests that an implementation follows these rules.
//
// [providerstest.TestProvider]: https://pkg.go.dev/github.com/regcred/regcred/providers/providerstest#TestProvider
type Provider interface {
	Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error)
}

// A Func is an adapter that makes a function a [Provider].
type Func func(ctx context.Context, p registry.Profile) (credentials.Credential, error)

// Credential calls f.
func (f Func) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	return f(ctx, p)
}

// A Scoper is a [Provider] whose credentials are valid for more than the profile that they were issued for: two valid
// profiles of one kind with the same tenant, login and transport, and the same scope, can share one credential. For AWS
// ECR the scope is the partition and region.
//
// It is optional. A wrapper that does not implement Scoper causes extra calls to the issuer, but is correct.
type Scoper interface {
	Scope(p registry.Profile) string
}

// A Validator is a [Provider] that checks more of its profiles than [registry.Profile.Validate] does: the forms of
// login and the endpoints that it supports. Its error is a [field.Errors] with all problems. It makes no network call.
//
// It is optional. If a wrapper does not implement Validator, Credential reports the same problems later.
type Validator interface {
	Validate(p registry.Profile) error
}

// Validate reports all problems of the profile: the general ones, and those that the provider reports. If both have a
// problem with the same field, only the general one is reported.
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
	all := fieldErrors(general)
	for _, f := range fieldErrors(own) {
		same := func(other *field.Error) bool { return other.Field == f.Field }
		if !slices.ContainsFunc(all, same) {
			all = append(all, f)
		}
	}
	return &field.Errors{Subject: subject(p), Fields: all}
}

// fieldErrors returns copies of the problems in err. An err that is not a [field.Errors] is one problem of the whole
// profile.
func fieldErrors(err error) []*field.Error {
	var problems field.List
	problems.Under("", err)
	e, _ := errors.AsType[*field.Errors](problems.Err(""))
	if e == nil {
		return nil
	}
	return e.Fields
}

// Key returns the key of the profile's credential in a cache; see [credentials.Key] and [Scoper].
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

// endpointScope returns the scope of a profile whose provider is not a [Scoper]: the endpoint of the profile, under
// all its names.
func endpointScope(p registry.Profile) string {
	endpoints, err := p.Endpoints()
	if err != nil {
		r := p.WithoutMisplaced() // Keys are printed. No call is made with this profile, because it is not valid.
		return r.Endpoint + " " + strings.Join(r.Hosts, " ")
	}
	names := make([]string, len(endpoints))
	for i, e := range endpoints {
		names[i] = e.String()
	}
	return strings.Join(names, " ")
}

// Source binds a provider to one profile. It does not cache. All its errors are [registry.Error]s, even if the
// provider's errors are not; an expired credential has [registry.ErrExpired], and one that is empty or has impossible
// dates [registry.ErrProvider].
func Source(provider Provider, p registry.Profile) credentials.Source {
	return credentials.Func(func(ctx context.Context) (credentials.Credential, error) {
		return issue(ctx, provider, p)
	})
}

// A Set maps each kind of profile to the provider that serves it:
//
//	providers.Set{registry.DockerHub: dockerhub.Provider{}, registry.Custom: custom.Provider{}}
//
// It is a [Provider], and forwards [Scoper] and [Validator] to the provider of the profile's kind. It must not be
// changed once in use. A nil Set serves no profile.
type Set map[registry.Kind]Provider

// Credential validates the profile and calls the provider of its kind. All its errors are [registry.Error]s, even if
// the provider's errors are not: a kind without provider has [registry.ErrNoProvider], an invalid profile
// [registry.ErrInvalid], a ctx that ended [registry.ErrCanceled].
func (s Set) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, fail(p, registry.ErrCanceled, "", context.Cause(ctx))
	}
	if err := s.Validate(p); err != nil {
		if _, ok := errors.AsType[*field.Errors](err); ok {
			return credentials.Credential{}, fail(p, registry.CodeOf(err), registry.HintOf(err), err)
		}
		if _, ok := errors.AsType[*registry.Error](err); ok {
			return credentials.Credential{}, err
		}
		return credentials.Credential{}, invalid(p, err)
	}
	return issue(ctx, s[p.Kind], p)
}

// issue calls the provider and checks the credential. The error is a [registry.Error].
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

// Scope returns the scope from the provider of the profile's kind, or "" if that provider is not a [Scoper].
func (s Set) Scope(p registry.Profile) string {
	if scoper, ok := s[p.Kind].(Scoper); ok {
		return scoper.Scope(p)
	}
	return ""
}

// Validate reports all problems of the profile; see the function [Validate]. If the set has no provider of the
// profile's kind, that is the only problem, and the code is [registry.ErrNoProvider].
func (s Set) Validate(p registry.Profile) error {
	if p.Kind != "" && s[p.Kind] == nil {
		var kinds []string
		for _, kind := range slices.Sorted(maps.Keys(s)) {
			kinds = append(kinds, string(kind))
		}
		var problems field.List
		problems.Under("kind", &registry.Error{
			Code: registry.ErrNoProvider,
			Hint: "use one of these kinds, or add a provider for it to the providers.Set of the program",
			Err:  fmt.Errorf("it is %q, and the program serves: %s", p.Kind, cmp.Or(strings.Join(kinds, ", "), "none")),
		})
		return problems.Err(subject(p))
	}
	return Validate(s[p.Kind], p)
}
