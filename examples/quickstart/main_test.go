package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuickstart(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), nil, &out))
	for _, want := range []string{
		"Yes. The requests:",
		"Code unauthorized:",
		"/shop/web:1.4: yes, it is sha256:",
		"/shop/web:1.5: no, code image_not_found:",
		"kind: Secret",
		".dockerconfigjson: [redacted]",
		"It has a login for 127.0.0.1:",
	} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "s3cret")
	require.NotContains(t, out.String(), "czNjcmV0")
}

func TestQuickstartReveals(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-reveal"}, &out))
	_, data, found := strings.Cut(out.String(), ".dockerconfigjson: ")
	require.True(t, found, out.String())
	data, _, _ = strings.Cut(data, "\n")
	config, err := base64.StdEncoding.DecodeString(data)
	require.NoError(t, err)
	require.Contains(t, string(config), base64.StdEncoding.EncodeToString([]byte("robot$shop:s3cret")))
}

// Incorrect usage has its own exit code.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"unexpected"}, {"-unknown"}} {
		require.Equal(t, 2, exitCode(run(t.Context(), args, io.Discard)), args)
	}
	require.Equal(t, 1, exitCode(errors.New("denied")))
}
