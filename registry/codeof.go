package registry

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/internal/panics"
)

// CodeOf returns the code of err: the code of the outermost [Error] in its tree; otherwise the first Code in the tree;
// otherwise the code that is listed below for an error of this module; otherwise [ErrUnknown]. It returns "" for nil.
//
// [field.Errors] and [field.Error] have [ErrInvalid], [credentials.ErrCredentialExpired] has [ErrExpired],
// [credentials.ErrEmpty], [credentials.ErrImplausibleDates] and a panic have [ErrProvider], [credentials.ErrRejected]
// has [ErrUnauthorized], [credentials.ErrNoLogin] has [ErrNoIdentity], and [credentials.ErrIdentityToken] has
// [ErrUnsupported].
//
// For joined errors, such as the errors of many images, CodeOf returns the code of the first, and [Temporary] considers
// all of them.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	switch e := outermost(err).(type) { //nolint:errorlint // It is found in the tree already.
	case *Error:
		return e.Code
	case *field.Errors:
		return codeOfFields(e)
	}
	if c, ok := errors.AsType[Code](err); ok {
		return c
	}
	if _, ok := errors.AsType[*field.Error](err); ok {
		return ErrInvalid
	}
	for _, known := range codesOfCredentials {
		if errors.Is(err, known.err) {
			return known.code
		}
	}
	return ErrUnknown
}

// outermost returns the first [Error] that has a code, or [field.Errors], in the tree of err, or nil if there is none.
// It does not look into a field.Errors: an Error there is the cause of one problem.
func outermost(err error) error {
	switch e := err.(type) { //nolint:errorlint // It walks the tree itself.
	case *Error:
		if e.Code != "" {
			return e
		}
	case *field.Errors:
		return e
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if found := outermost(inner); found != nil {
				return found
			}
		}
		return nil
	}
	if inner := errors.Unwrap(err); inner != nil {
		return outermost(inner)
	}
	return nil
}

// codeOfFields returns the code that all problems share, or [ErrInvalid] if they share none. For example, it returns
// [ErrNoProvider] if a kind without a provider is the only problem.
func codeOfFields(invalid *field.Errors) Code {
	var shared Code
	for _, f := range invalid.Fields {
		code, ok := errors.AsType[Code](f)
		if e, isError := errors.AsType[*Error](f); isError {
			code, ok = e.Code, true
		}
		if !ok || shared != "" && code != shared {
			return ErrInvalid
		}
		shared = code
	}
	return cmp.Or(shared, ErrInvalid)
}

// codesOfCredentials maps errors of the packages that this package imports to codes.
var codesOfCredentials = []struct {
	err  error
	code Code
	hint string
}{
	{credentials.ErrCredentialExpired, ErrExpired, ""},
	{credentials.ErrEmpty, ErrProvider, ""},
	{credentials.ErrImplausibleDates, ErrProvider, ""},
	{panics.ErrPanicked, ErrProvider, "report this to the maintainer of the code that the error names: it panicked"},
	{credentials.ErrRejected, ErrUnauthorized, ""},
	{credentials.ErrNoLogin, ErrNoIdentity, "log in to this registry first, or add a login to the profile"},
	{credentials.ErrIdentityToken, ErrUnsupported, "log in with a user name and a password or access token"},
}

// HintOf returns an instruction for fixing err: the advice of the outermost [Error] in its tree; otherwise the expected
// value of a [field.Error] in it; otherwise the hint of the code that [CodeOf] returns. It returns "" if there is none.
func HintOf(err error) string {
	if err == nil {
		return ""
	}
	switch e := outermost(err).(type) { //nolint:errorlint // It is found in the tree already.
	case *Error:
		return e.Advice()
	case *field.Errors:
		return adviceOfFields(e)
	}
	if f, ok := errors.AsType[*field.Error](err); ok {
		return correct(f)
	}
	return cmp.Or(adviceOfCause(err), CodeOf(err).Hint())
}

// adviceOfCause returns the advice of a specific error in the tree of err. It ignores the general hint of a code.
func adviceOfCause(err error) string {
	if outermost(err) != nil {
		return HintOf(err)
	}
	for _, known := range codesOfCredentials {
		if known.hint != "" && errors.Is(err, known.err) {
			return known.hint
		}
	}
	return ""
}

// adviceOfFields returns the hint that all problems share, such as the hint for a kind without a provider. If they
// share none, it returns an instruction to correct the fields.
func adviceOfFields(invalid *field.Errors) string {
	if code := codeOfFields(invalid); code != ErrInvalid {
		return cmp.Or(HintOf(errors.Unwrap(invalid.Fields[0])), code.Hint())
	}
	if len(invalid.Fields) == 1 {
		return correct(invalid.Fields[0])
	}
	var paths []string
	for _, f := range invalid.Fields {
		if path := cmp.Or(f.Field, invalid.Subject, "the input"); !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return "correct " + strings.Join(paths, ", ")
}

// correct returns the hint for a field.
func correct(f *field.Error) string {
	hint := "correct " + cmp.Or(f.Field, "the input")
	if f.Want != "" {
		hint += ": expected " + f.Want
	}
	return hint
}
