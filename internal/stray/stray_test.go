package stray_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/stray"
)

func TestAtEnd(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "p": "", "a b": "", "p\n": "a line break or white space", " p": "a line break or white space",
		"p\u00a0": "a line break or white space", "\ufeffp": "a byte order mark", "p\x00": "a NUL", "p\ufeff": "a byte order mark",
	} {
		require.Equal(t, want, stray.AtEnd(text), "%q", text)
	}
	require.Equal(t, "p", stray.WithoutMark("\ufeffp"))
}
