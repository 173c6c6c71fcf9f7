package providerstest

import (
	"context"
	"errors"
	"fmt"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// A failure is the result of a call that must fail.
type failure struct {
	what       string
	profile    registry.Profile
	credential credentials.Credential
	err        error
}

// unusable are logins that every provider must reject.
var unusable = map[string]credentials.Login{
	"no login":                      {},
	"a login of two kinds":          {Anonymous: true, Username: "user", Password: credentials.NewSecret("hunter22")},
	"a password without user name":  {Password: credentials.NewSecret("hunter22")},
	"a user name without password":  {Username: "user"},
	"a password with its line end":  {Username: "u", Password: credentials.NewSecret("hunter22\n")},
	"an AWS key without its secret": {AWS: &credentials.AWSLogin{AccessKeyID: "AKIA"}},
}

// failures makes all calls of the subject that must fail.
func (fx Fixture) failures(ctx context.Context) []failure {
	var all []failure
	call := func(what string, provider providers.Provider, p registry.Profile) {
		c, err := provider.Credential(ctx, p)
		all = append(all, failure{what, p, c, err})
	}
	for what, login := range unusable {
		p := clone(fx.Profiles[0])
		p.Login = login
		call(what, fx.Provider, p)
	}
	for _, p := range fx.Invalid {
		call(fmt.Sprintf("profile %q", p.Name), fx.Provider, p)
	}
	if fx.Failing != nil {
		for _, p := range fx.Profiles {
			if !p.Login.Anonymous {
				call(fmt.Sprintf("profile %q, whose issuer refuses it", p.Name), fx.Failing, p)
			}
		}
	}
	return all
}

// eachFailure calls test with each call that returned an error.
func (fx Fixture) eachFailure(ctx context.Context, test func(f failure) error) error {
	var errs []error
	for _, f := range fx.failures(ctx) {
		if f.err == nil {
			continue // Another rule checks this.
		}
		if err := test(f); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.what, err))
		}
	}
	return errors.Join(errs...)
}

func neverAnonymous(ctx context.Context, fx Fixture) error {
	var errs []error
	for _, f := range fx.failures(ctx) {
		if f.err == nil && f.credential.Anonymous {
			errs = append(errs, fmt.Errorf("%s: the credential is anonymous", f.what))
		}
	}
	for _, p := range fx.Profiles {
		if c, err := fx.Provider.Credential(ctx, p); err == nil && c.Anonymous && !p.Login.Anonymous {
			errs = append(errs, fmt.Errorf("profile %q has a login, and the credential is anonymous", p.Name))
		}
	}
	return errors.Join(errs...)
}

func refusesLogin(ctx context.Context, fx Fixture) error {
	var errs []error
	for _, f := range fx.failures(ctx) {
		if f.err == nil && !f.credential.Anonymous {
			errs = append(errs, fmt.Errorf("%s: no error", f.what))
		}
	}
	return errors.Join(errs...)
}

func nothingBesideError(ctx context.Context, fx Fixture) error {
	return fx.eachFailure(ctx, func(f failure) error {
		if !f.credential.Equal(credentials.Credential{}) {
			return errors.New("a credential beside the error")
		}
		return nil
	})
}

func errorsHaveCodes(ctx context.Context, fx Fixture) error {
	return fx.eachFailure(ctx, func(f failure) error {
		e, ok := errors.AsType[*registry.Error](f.err)
		switch {
		case !ok:
			return fmt.Errorf("the error is no registry.Error: %w", f.err)
		case e.Code == "" || e.Code == registry.ErrUnknown || e.Op == "":
			return fmt.Errorf("the error has no code or does not say what was tried: %w", f.err)
		}
		return nil
	})
}

// errorsHoldNoSecret reports a leaked secret by its name only, because the output of tests is public.
func errorsHoldNoSecret(ctx context.Context, fx Fixture) error {
	return fx.eachFailure(ctx, func(f failure) error {
		for err := range tree(f.err) {
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
				if found := secretIn(text, f.profile); found != "" {
					return fmt.Errorf("profile %q: an error of type %T holds the secret in %s", f.profile.Name, err, found)
				}
			}
		}
		return nil
	})
}
