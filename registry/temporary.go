package registry

import (
	"errors"

	"github.com/regcred/regcred/field"
)

// Temporary reports whether everything that is wrong in err may be right later without anybody fixing anything: there
// is at least one code in it, and each is [Code.Temporary]. It is false for nil.
//
// Unlike [CodeOf] it looks at all errors that were joined, such as those of many images: one that is missing is worth
// no other try, whatever else is down. An [Error] is judged by its own code, not by those of its causes: what it wraps
// is how it came about. What has no code says nothing, as the text around a cause; but a [field.Errors] is
// always to be fixed.
func Temporary(err error) bool {
	some, all := verdicts(err)
	return some && all
}

// verdicts reports whether there is some code in the tree of err, and whether all codes in it are temporary.
func verdicts(err error) (some, all bool) {
	switch e := err.(type) { //nolint:errorlint // It walks the tree itself.
	case Code:
		return true, e.Temporary()
	case *field.Errors:
		return true, false
	case *Error:
		if e.Code != "" {
			return true, e.Code.Temporary()
		}
	case interface{ Unwrap() []error }:
		all = true
		for _, inner := range e.Unwrap() {
			one, good := verdicts(inner)
			some, all = some || one, all && good
		}
		return some, all
	}
	if inner := errors.Unwrap(err); inner != nil {
		return verdicts(inner)
	}
	return false, true
}
