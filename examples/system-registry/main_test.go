package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/registry"
)

// started runs the program until stop is called, and returns the URL that it printed.
func started(t *testing.T, dir string) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	lines, ended := make(printed, 100), make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-dir", dir, "-addr", "127.0.0.1:0"}, lines) }()
	select {
	case text := <-lines:
		return strings.Fields(text)[1], func() {
			cancel()
			require.NoError(t, <-ended)
		}
	case err := <-ended:
		cancel()
		t.Fatal(err)
	case <-time.After(time.Minute):
		cancel()
		t.Fatal("it printed nothing")
	}
	return "", nil
}

// printed is what the program printed, a piece for each call.
type printed chan string

func (p printed) Write(b []byte) (int, error) {
	select {
	case p <- string(b):
		return len(b), nil
	default:
		return 0, errors.New("printed too much")
	}
}

// What is printed and left in the folder is all that a platform needs for a profile, also after a restart.
func TestFromNothingToACredential(t *testing.T) {
	dir := t.TempDir()
	var authority string
	for range 2 {
		url, stop := started(t, dir)
		password, err := os.ReadFile(filepath.Join(dir, "admin-password"))
		require.NoError(t, err)
		ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
		require.NoError(t, err)
		if authority == "" {
			authority = string(ca)
		}
		require.Equal(t, authority, string(ca))
		profile := registry.Profile{
			Name: "internal", Kind: registry.System, Endpoint: url,
			Login:     credentials.Login{Username: "admin", Password: credentials.NewSecret(string(password))},
			Transport: registry.Transport{CABundle: string(ca)},
		}
		c, err := providers.Set{registry.System: system.Provider{}}.Credential(t.Context(), profile)
		require.NoError(t, err)
		require.Equal(t, "admin", c.Username)
		stop()
	}
}
