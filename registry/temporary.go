package registry

import (
	"errors"

	"github.com/regcred/regcred/field"
)

// Temporary reports whether all problems in err may disappear without a fix: err has at least one code, and all of them
// are [Code.Temporary]. It returns false for nil.
//
// Unlike [CodeOf] it considers all joined errors, such as the errors of many images: if one image is missing, a retry
// is useless, even if another registry is down. An [Error] counts with its own code; the codes of its causes are
// ignored, because they are details. An error without a code is ignored, like the text around a cause. A [field.Errors]
// is never temporary.
func Temporary(err error) bool {
	some, all := verdicts(err)
	return some && all
}

// verdicts reports whether the tree of err has any code, and whether all codes in it are temporary.
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
