package inject

import (
	"errors"
	"strings"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
)

// Reason returns what is wrong in one word, for conditions, events, metrics and traces: NameTaken, WrongType, Contested,
// OlderCredential, Conflict, NamespaceGone, ClusterUnavailable or Invalid; or the code of a [registry.Error], such as
// Unauthorized; or else Failed.
func (p Problem) Reason() string {
	for _, known := range []struct {
		err    error
		reason string
	}{
		{ErrForeign, "NameTaken"},
		{ErrType, "WrongType"},
		{ErrContested, "Contested"},
		{ErrOlder, "OlderCredential"},
		{ErrConflict, "Conflict"},
		{ErrNamespace, "NamespaceGone"},
		{ErrUnavailable, "ClusterUnavailable"},
	} {
		if errors.Is(p.Err, known.err) {
			return known.reason
		}
	}
	if code := registry.CodeOf(p.Err); code != registry.ErrUnknown {
		return camel(string(code))
	}
	if _, ok := errors.AsType[*field.Errors](p.Err); ok {
		return "Invalid"
	}
	return "Failed"
}

// camel turns image_not_found into ImageNotFound: reasons are words without separators.
func camel(code string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(code, "_") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
