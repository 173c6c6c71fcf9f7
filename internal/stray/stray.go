// Package stray finds what gets into a login by the way it was stored: a line end of echo, the byte order mark of an
// editor, the NUL that old versions of docker filled up with.
package stray

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// AtEnd names what is at the start or the end of a text that nobody types on purpose; "" if nothing is.
func AtEnd(s string) string {
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	for _, r := range []rune{first, last} {
		switch {
		case s == "":
		case r == '\ufeff':
			return "a byte order mark"
		case r == 0:
			return "a NUL"
		case unicode.IsSpace(r):
			return "a line break or white space"
		}
	}
	return ""
}

// WithoutMark returns the text without a byte order mark at its start.
func WithoutMark(s string) string { return strings.TrimPrefix(s, "\ufeff") }
