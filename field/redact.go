package field

import (
	"strconv"
	"strings"
)

// Redact returns text that a user wrote without what may be a login in it, for errors, logs and status pages: a URL or
// the name of an image can hold one by mistake. Everything before the last @ that starts no digest becomes ***, and so do
// a query and a fragment.
func Redact(text string) string {
	cut := strings.LastIndexByte(text, '@')
	if cut >= 0 && isDigest(text[cut+1:]) {
		cut = strings.LastIndexByte(text[:cut], '@')
	}
	scheme := ""
	if cut >= 0 {
		before := text[:cut]
		if i := strings.Index(before, "://"); i >= 0 && strings.Trim(strings.ToLower(before[:i]), "abcdefghijklmnopqrstuvwxyz0123456789+.-") == "" {
			scheme = before[:i+3]
		}
		text = text[cut+1:]
	}
	if i := strings.IndexAny(text, "?#"); i >= 0 {
		text = text[:i+1] + mask
	}
	if cut >= 0 {
		text = scheme + mask + "@" + text
	}
	return text
}

const mask = "***"

// isDigest reports whether the text is an algorithm and its hexadecimal digits, and nothing else.
func isDigest(text string) bool {
	algorithm, digits, ok := strings.Cut(text, ":")
	return ok && strings.HasPrefix(algorithm, "sha") && len(digits) >= 32 && strings.Trim(digits, "0123456789abcdefABCDEF") == ""
}

// maxQuote is longer than any honest host, path or image name that a person can read.
const maxQuote = 300

// Quote returns text that a user wrote in quotes, as [Redact] leaves it and no longer than a line.
func Quote(text string) string {
	text = Redact(text)
	if len(text) > maxQuote {
		text = strings.ToValidUTF8(text[:maxQuote], "") + "..."
	}
	return strconv.Quote(text)
}
