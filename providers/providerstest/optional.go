package providerstest

import (
	"context"
	"errors"
	"fmt"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

func validateAgrees(ctx context.Context, s Subject) error {
	v, ok := s.Provider.(providers.Validator)
	if !ok {
		return nil
	}
	var errs []error
	for _, p := range s.Profiles {
		if err := v.Validate(p); err != nil {
			errs = append(errs, fmt.Errorf("refused by Validate, taken by Credential: %w", err))
		}
	}
	for _, p := range s.Invalid {
		refused := v.Validate(p) != nil
		_, err := s.Provider.Credential(ctx, p)
		if invalid := errors.Is(err, registry.ErrInvalid); refused != invalid {
			errs = append(errs, fmt.Errorf("profile %q: refused by Validate: %t; ErrInvalid of Credential: %t",
				p.Name, refused, invalid))
		}
	}
	return errors.Join(errs...)
}

func validateReportsFields(_ context.Context, s Subject) error {
	v, ok := s.Provider.(providers.Validator)
	if !ok {
		return nil
	}
	var errs []error
	for _, p := range s.Invalid {
		err := v.Validate(p)
		if _, ok := errors.AsType[*field.Errors](err); err != nil && !ok {
			errs = append(errs, fmt.Errorf("profile %q: the error is no field.Errors: %w", p.Name, err))
		}
	}
	return errors.Join(errs...)
}

func scopeIsStable(_ context.Context, s Subject) error {
	scoper, ok := s.Provider.(providers.Scoper)
	if !ok {
		return nil
	}
	scoper.Scope(registry.Profile{}) // Must not panic: it is called with profiles before their validation.
	return s.each(func(p registry.Profile) error {
		if a, b := scoper.Scope(p), scoper.Scope(clone(p)); a != b {
			return fmt.Errorf("profile %q: %q, then %q", p.Name, a, b)
		}
		return nil
	})
}

func scopeServesBoth(ctx context.Context, s Subject) error {
	return s.each(func(p registry.Profile) error {
		c, err := s.Provider.Credential(ctx, p)
		if err != nil {
			return nil // Another rule checks this.
		}
		for _, other := range s.Profiles {
			if providers.Key(s.Provider, p) != providers.Key(s.Provider, other) {
				continue
			}
			if err := s.examine(other, c); err != nil {
				return fmt.Errorf("it shares its key with profile %q, whose credential does not serve it: %w", p.Name, err)
			}
		}
		return nil
	})
}
