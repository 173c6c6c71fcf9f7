package registry_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
)

func TestErrorsOfOtherPackagesHaveCodes(t *testing.T) {
	one := func(problem error) error {
		var problems field.List
		problems.Under("login.password", problem)
		return problems.Err(`profile "a"`)
	}
	var list field.List
	list.Add("name", "is missing", "a name")
	list.Add("login.password", "is missing", "a password or token")
	two := list.Err(`profile "a"`)
	noProvider := &registry.Error{Op: "find provider", Code: registry.ErrNoProvider, Hint: "add one"}
	for name, test := range map[string]struct {
		err  error
		code registry.Code
		hint string
	}{
		"a field":                         {&field.Error{Field: "name", Problem: "is missing", Want: "a name"}, registry.ErrInvalid, "correct name: expected a name"},
		"fields":                          {two, registry.ErrInvalid, "correct name, login.password"},
		"fields, wrapped":                 {fmt.Errorf("x: %w", two), registry.ErrInvalid, "correct name, login.password"},
		"fields in an Error":              {&registry.Error{Op: "x", Code: registry.ErrInvalid, Err: two}, registry.ErrInvalid, "correct name, login.password"},
		"the error of a part":             {one(errors.New("is odd")), registry.ErrInvalid, "correct login.password"},
		"fields that share a code":        {one(noProvider), registry.ErrNoProvider, "add one"},
		"fields, and one has a code":      {errors.Join(two, noProvider), registry.ErrInvalid, "correct name, login.password"},
		"expired":                         {credentials.ErrCredentialExpired, registry.ErrExpired, registry.ErrExpired.Hint()},
		"empty":                           {fmt.Errorf("x: %w", credentials.ErrEmpty), registry.ErrProvider, registry.ErrProvider.Hint()},
		"dates":                           {credentials.ErrImplausibleDates, registry.ErrProvider, registry.ErrProvider.Hint()},
		"rejected again":                  {&credentials.BackoffError{Err: credentials.ErrRejected}, registry.ErrUnauthorized, registry.ErrUnauthorized.Hint()},
		"no login in a store":             {credentials.ErrNoLogin, registry.ErrNoIdentity, "log in to this registry first, or add a login to the profile"},
		"an identity token in a store":    {credentials.ErrIdentityToken, registry.ErrUnsupported, "log in with a user name and a password or access token"},
		"an Error before what it wraps":   {&registry.Error{Op: "x", Code: registry.ErrTimeout, Err: credentials.ErrEmpty}, registry.ErrTimeout, registry.ErrTimeout.Hint()},
		"an error of another module":      {errors.New("x"), registry.ErrUnknown, ""},
		"a code in an error of another":   {fmt.Errorf("x: %w", registry.ErrConflict), registry.ErrConflict, registry.ErrConflict.Hint()},
		"an Error without a code or hint": {&registry.Error{Op: "x"}, registry.ErrUnknown, ""},
	} {
		require.Equal(t, test.code, registry.CodeOf(test.err), name)
		require.Equal(t, test.hint, registry.HintOf(test.err), name)
	}
}
