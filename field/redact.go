package field

import (
	"strconv"
	"strings"
)

// Redact returns a user's text without parts that may be a login, for errors, logs and status pages: by mistake, a URL
// or the name of an image can contain one. Everything before the last @ that does not start a digest is replaced by
// ***, and so are a query and a fragment.
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

// isDigest reports whether the whole text is an algorithm and its hexadecimal digits.
func isDigest(text string) bool {
	algorithm, digits, ok := strings.Cut(text, ":")
	return ok && strings.HasPrefix(algorithm, "sha") && len(digits) >= 32 && strings.Trim(digits, "0123456789abcdefABCDEF") == ""
}

// maxQuote is longer than any legitimate host, path or image name that a person can read.
const maxQuote = 300

// Quote returns a user's text in quotes, after [Redact] and cut to maxQuote bytes.
func Quote(text string) string {
	text = Redact(text)
	if len(text) > maxQuote {
		text = strings.ToValidUTF8(text[:maxQuote], "") + "..."
	}
	return strconv.Quote(text)
}
