package providerstest

import (
	"context"
	"errors"
	"fmt"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

func validateAgrees(ctx context.Context, fx Fixture) error {
	v, ok := fx.Provider.(providers.Validator)
	if !ok {
		return nil
	}
	var errs []error
	for _, p := range fx.Profiles {
		if err := v.Validate(p); err != nil {
			errs = append(errs, fmt.Errorf("refused by Validate, taken by Credential: %w", err))
		}
	}
	for _, p := range fx.Invalid {
		refused := v.Validate(p) != nil
		_, err := fx.Provider.Credential(ctx, p)
		if invalid := errors.Is(err, registry.ErrInvalid); refused != invalid {
			errs = append(errs, fmt.Errorf("profile %q: refused by Validate: %t; ErrInvalid of Credential: %t",
				p.Name, refused, invalid))
		}
	}
	return errors.Join(errs...)
}

func validateReportsFields(_ context.Context, fx Fixture) error {
	v, ok := fx.Provider.(providers.Validator)
	if !ok {
		return nil
	}
	var errs []error
	for _, p := range fx.Invalid {
		err := v.Validate(p)
		if _, ok := errors.AsType[*field.Errors](err); err != nil && !ok {
			errs = append(errs, fmt.Errorf("profile %q: the error is no field.Errors: %w", p.Name, err))
		}
	}
	return errors.Join(errs...)
}

func scopeIsStable(_ context.Context, fx Fixture) error {
	scoper, ok := fx.Provider.(providers.Scoper)
	if !ok {
		return nil
	}
	scoper.Scope(registry.Profile{}) // Must not panic: it is called with profiles before their validation.
	return fx.each(func(p registry.Profile) error {
		if a, b := scoper.Scope(p), scoper.Scope(clone(p)); a != b {
			return fmt.Errorf("profile %q: %q, then %q", p.Name, a, b)
		}
		return nil
	})
}

func scopeServesBoth(ctx context.Context, fx Fixture) error {
	return fx.each(func(p registry.Profile) error {
		c, err := fx.Provider.Credential(ctx, p)
		if err != nil {
			return nil // Another rule checks this.
		}
		for _, other := range fx.Profiles {
			if providers.Key(fx.Provider, p) != providers.Key(fx.Provider, other) {
				continue
			}
			if err := fx.examine(other, c); err != nil {
				return fmt.Errorf("it shares its key with profile %q, whose credential does not serve it: %w", p.Name, err)
			}
		}
		return nil
	})
}
