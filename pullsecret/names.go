package pullsecret

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/regcred/regcred/field"
)

// The grammars are from Kubernetes: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and the
// page about labels next to it.
const (
	wantLabel     = "lower-case letters, digits and hyphens, at most 63, with a letter or digit at both ends"
	wantSubdomain = "lower-case letters, digits, hyphens and dots, at most 253, " +
		"with a letter or digit at both ends of each part"
	wantKey = "a name of at most 63 letters, digits, hyphens, underscores and dots, " +
		"optionally after a domain and a slash"
	wantLabelValue = "at most 63 letters, digits, hyphens, underscores and dots, " +
		"with a letter or digit at both ends; or nothing"
)

// isLabel reports whether s is a label of RFC 1123: the name of a namespace.
func isLabel(s string) bool { return len(s) <= 63 && isPart(s) }

// isSubdomain reports whether s is a DNS subdomain of RFC 1123: the name of a secret. The length of the whole is
// limited; the length of its parts is not.
func isSubdomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if !isPart(part) {
			return false
		}
	}
	return true
}

func isPart(s string) bool {
	return isWord(s, func(b byte) bool { return b == '-' }) && strings.ToLower(s) == s
}

// isLabelValue reports whether s is the value of a label, which may be empty.
func isLabelValue(s string) bool { return s == "" || isQualified(s) }

func isQualified(s string) bool {
	return len(s) <= 63 && isWord(s, func(b byte) bool { return b == '-' || b == '_' || b == '.' })
}

// isWord reports whether s starts and ends with a letter or digit, with letters, digits and the bytes that inner
// accepts between them.
func isWord(s string, inner func(byte) bool) bool {
	for i := range len(s) {
		b := s[i]
		if !isAlphanumeric(b) && (i == 0 || i == len(s)-1 || !inner(b)) {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// checkKey checks the key of a label or an annotation. As in Kubernetes, the key of an annotation may have upper-case
// letters in its domain.
func checkKey(p *field.List, path, key string) {
	name := key
	domain, rest, hasDomain := strings.Cut(key, "/")
	if hasDomain {
		name = rest
	}
	if path == "annotations" {
		domain = strings.ToLower(domain)
	}
	if !isQualified(name) || hasDomain && !isSubdomain(domain) {
		p.Add(path, "have the key "+strconv.Quote(key), wantKey)
	}
}

func checkText(p *field.List, path, text string) {
	if !utf8.ValidString(text) {
		p.Add(path, "is not UTF-8", "text")
	}
}
