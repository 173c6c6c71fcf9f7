// Package stray detects characters that get into a login when it is stored: the line end of echo, the byte order mark
// of an editor, the NUL padding of old versions of docker.
package stray

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// AtEnd names a character at the start or the end of a text that people do not type on purpose; "" if there is none.
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
