package providers

import (
	"context"
	"fmt"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
)

// A Static is a [Provider] for registries that accept the login of the profile unchanged: a user name with a password
// or a token, or no login. It makes no network call. The zero Static is ready to use, and can serve a kind that a
// program defines:
//
//	providers.Set{"harbor": providers.Static{}}
type Static struct {
	// Check reports additional problems of profiles for this kind of registry. It is also called for profiles that have
	// other problems. If nil, there are no additional checks.
	Check func(p registry.Profile, problems *field.List)
}

// Credential returns the login as a credential that expires when the login does, or an anonymous credential for an
// anonymous login. Its error is a [registry.Error] with [registry.ErrInvalid] for a profile that has problems,
// [registry.ErrExpired] for a login that is expired, or [registry.ErrCanceled].
func (s Static) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, fail(p, registry.ErrCanceled, "", context.Cause(ctx))
	}
	if err := Validate(s, p); err != nil {
		return credentials.Credential{}, invalid(p, err)
	}
	c := credentials.Credential{
		Anonymous: p.Login.Anonymous,
		Username:  p.Login.Username,
		Password:  p.Login.Password,
		ExpiresAt: p.Login.ExpiresAt,
	}
	// A valid login of these forms can only be expired.
	if err := c.Validate(time.Now()); err != nil {
		return credentials.Credential{}, fail(p, registry.ErrExpired,
			"put a new password or token into the profile, with its expiry", err)
	}
	return c, nil
}

// Validate rejects settings, and logins of other forms than username and anonymous. It also reports the problems that
// Check finds.
func (s Static) Validate(p registry.Profile) error {
	var problems field.List
	switch form := p.Login.Form(); form {
	case "", "anonymous", "username": // The profile's own validation reports a login of no form.
	default:
		problems.Add("login", "has the form "+form, "username and password, or anonymous: true")
	}
	if len(p.Login.Settings) > 0 {
		problems.Add("login.settings", "is set", "nothing: this provider has no settings")
	}
	if s.Check != nil {
		s.Check(p, &problems)
	}
	return problems.Err(subject(p))
}

func subject(p registry.Profile) string { return fmt.Sprintf("profile %q", p.Name) }

// fail returns the error of a call that issues no credential.
func fail(p registry.Profile, code registry.Code, hint string, err error) error {
	return &registry.Error{Op: "get credential", Ref: "for " + subject(p), Code: code, Hint: hint, Err: err}
}

func invalid(p registry.Profile, err error) error {
	return fail(p, registry.ErrInvalid, "", err)
}
