package field

import (
	"strconv"
	"strings"
)

// Redact returns a user's text without parts that may be a login, for errors, logs and status pages. A URL or the name
// of an image can contain a login by mistake. Redact replaces with *** everything before the last @, except the scheme
// of a URL, and also a query and a fragment. It ignores an @ that starts a digest, also one that was cut off, unless the
// text before has a colon, as a login has.
func Redact(text string) string {
	cut := strings.LastIndexByte(text, '@')
	if cut >= 0 && startsDigest(text[:cut], text[cut+1:]) {
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

// startsDigest reports whether the @ between the texts starts a digest: an algorithm and its hexadecimal digits.
func startsDigest(before, after string) bool {
	algorithm, digits, ok := strings.Cut(after, ":")
	if !ok || !strings.HasPrefix(algorithm, "sha") || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return false
	}
	known := algorithm == "sha256" || algorithm == "sha384" || algorithm == "sha512"
	return len(digits) >= 32 || known && !strings.Contains(before, ":")
}

// maxQuote is the maximum length of a quoted text in bytes. No legitimate host, path or image name that a person can
// read is longer.
const maxQuote = 300

// Quote returns a user's text in quotes, after [Redact] and cut to maxQuote bytes.
func Quote(text string) string {
	text = Redact(text)
	if len(text) > maxQuote {
		text = strings.ToValidUTF8(text[:maxQuote], "") + "..."
	}
	return strconv.Quote(text)
}
