package validate

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCleanLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "",
		" \t\n":                  "",
		"one  line":              "one line",
		" two\r\nlines \n":       "two lines",
		"a \x00 b":               "a b",
		"\x1b[1mbold\xff\u202e ": "[1mbold",
		"no\u00a0break":          "no break",
		strings.Repeat("é", 20):  strings.Repeat("é", 8) + "...",
	} {
		require.Equal(t, want, cleanLine(text, 20), "%q", text)
	}
}
