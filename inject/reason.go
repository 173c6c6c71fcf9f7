package inject

import (
	"strings"

	"github.com/regcred/regcred/registry"
)

// Reason returns the cause in one word, for conditions, events, metrics and traces. It is the error's code, as
// returned by [registry.CodeOf], in the spelling of Kubernetes: NameTaken, WrongType, Contested, OlderCredential,
// Conflict, NamespaceGone, ClusterUnavailable, Invalid, Unauthorized. It is Failed for an error without a code.
func (p Problem) Reason() string {
	if code := registry.CodeOf(p.Err); code != registry.ErrUnknown {
		return camel(string(code))
	}
	return "Failed"
}

// camel turns image_not_found into ImageNotFound, because reasons have no separators.
func camel(code string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(code, "_") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
