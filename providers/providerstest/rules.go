package providerstest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// A rule is one sentence of a contract. Its test returns the violations by the subject.
type rule struct {
	name string
	test func(ctx context.Context, fx Fixture) error
}

// broken returns the violations of the rule, or nil. Each rule gets an unmodified list of the profiles.
func (r rule) broken(ctx context.Context, fx Fixture) error {
	fx.Profiles = slices.Clone(fx.Profiles)
	for i, p := range fx.Profiles {
		fx.Profiles[i] = clone(p)
	}
	return r.test(ctx, fx)
}

var rules = []rule{
	{"what it issues is valid", issuesValid},
	{"what it issues belongs to the profile", belongs},
	{"it is safe for concurrent use", concurrent},
	{"it does not change the profile", leavesProfile},
	{"it returns soon after ctx ends, with its cause", leavesWithCaller},
	{"it is never anonymous because something failed", neverAnonymous},
	{"it refuses a login that cannot be used", refusesLogin},
	{"it returns no credential beside an error", nothingBesideError},
	{"its errors say what went wrong", errorsHaveCodes},
	{"its errors hold no secret", errorsHoldNoSecret},
	{"Validate: it agrees with Credential", validateAgrees},
	{"Validate: it reports problems by field", validateReportsFields},
	{"Scope: it is the same each time", scopeIsStable},
	{"Scope: what is shared serves both", scopeServesBoth},
}

func (fx Fixture) check() error {
	if fx.Provider == nil || len(fx.Profiles) == 0 {
		return errors.New("it has no provider or no profiles")
	}
	for _, p := range fx.Profiles {
		if err := p.Validate(); err != nil {
			return err
		}
		for _, secret := range secretsIn(p) {
			if secret.Len() < minSecret {
				return fmt.Errorf("profile %q: %s has %d bytes: too few to be recognized in an error", p.Name, secret.field, secret.Len())
			}
		}
	}
	return nil
}

// examine returns the problem with c as the credential of p.
func (fx Fixture) examine(p registry.Profile, c credentials.Credential) error {
	if fx.Check == nil {
		return nil
	}
	if err := fx.Check(p, c); err != nil {
		return fmt.Errorf("profile %q: %w", p.Name, err)
	}
	return nil
}

func (fx Fixture) each(test func(p registry.Profile) error) error {
	var errs []error
	for _, p := range fx.Profiles {
		errs = append(errs, test(p))
	}
	return errors.Join(errs...)
}

func issuesValid(ctx context.Context, fx Fixture) error {
	return fx.each(func(p registry.Profile) error {
		c, err := fx.Provider.Credential(ctx, p)
		if err == nil {
			err = c.Validate(time.Now())
		}
		if err != nil {
			return fmt.Errorf("profile %q: %w", p.Name, err)
		}
		return nil
	})
}

// belongs calls the provider for all profiles in turn, twice, so that state kept from one profile shows up in another.
func belongs(ctx context.Context, fx Fixture) error {
	ask := func(p registry.Profile) error {
		c, err := fx.Provider.Credential(ctx, p)
		if err != nil {
			return nil // Another rule checks this.
		}
		return fx.examine(p, c)
	}
	return errors.Join(fx.each(ask), fx.each(ask))
}

const (
	callers        = 8
	callsPerCaller = 4
)

func concurrent(ctx context.Context, fx Fixture) error {
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		errs  []error
	)
	for range callers {
		for _, p := range fx.Profiles {
			own := clone(p) // Another rule checks that the provider does not change the profile.
			group.Go(func() {
				for range callsPerCaller {
					c, err := fx.Provider.Credential(ctx, own)
					if err == nil {
						err = fx.examine(own, c)
					}
					if err != nil {
						mu.Lock()
						errs = append(errs, err)
						mu.Unlock()
						return
					}
				}
			})
		}
	}
	group.Wait()
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d callers failed; one: %w", len(errs), callers*len(fx.Profiles), errs[0])
}

func leavesProfile(ctx context.Context, fx Fixture) error {
	return fx.each(func(p registry.Profile) error {
		before := clone(p)
		_, _ = fx.Provider.Credential(ctx, p)
		if !reflect.DeepEqual(before, p) {
			return fmt.Errorf("profile %q: it is not what it was before the call", p.Name)
		}
		return nil
	})
}

// soon is generous: a loaded machine is slow, and a provider that ignores its context never returns.
const soon = 30 * time.Second

func leavesWithCaller(ctx context.Context, fx Fixture) error {
	leave := func(provider providers.Provider, p registry.Profile, after time.Duration) error {
		cause := errors.New("the caller left")
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		if after == 0 {
			cancel(cause)
		} else {
			defer time.AfterFunc(after, func() { cancel(cause) }).Stop()
		}
		result := make(chan error, 1)
		go func() {
			_, err := provider.Credential(ctx, p)
			result <- err
		}()
		select {
		case err := <-result:
			if err == nil {
				return fmt.Errorf("profile %q: no error after ctx ended", p.Name)
			}
			if !errors.Is(err, cause) {
				return fmt.Errorf("profile %q: the error does not wrap the cause of ctx: %w", p.Name, err)
			}
			return nil
		case <-time.After(after + soon):
			return fmt.Errorf("profile %q: not back %s after ctx ended", p.Name, soon)
		}
	}
	return fx.each(func(p registry.Profile) error {
		err := leave(fx.Provider, p, 0)
		if err == nil && fx.Stalled != nil && !p.Login.Anonymous {
			err = leave(fx.Stalled, p, 50*time.Millisecond)
		}
		return err
	})
}
