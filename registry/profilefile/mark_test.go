package profilefile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry/profilefile"
)

// A password file written on Windows has a byte order mark; it becomes part of the password.
// Threads: microsoft/azuredevopslabs#715, distribution/distribution#3179.
func TestByteOrderMarkInAPasswordFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pw"), []byte("\ufeffsecret\r\n"), 0o600))
	path := filepath.Join(dir, "p.yaml")
	require.NoError(t, os.WriteFile(path, []byte("name: a\nkind: custom\nendpoint: h.example.com\nlogin: {username: u, password: {file: pw}}\n"), 0o600))
	profiles, err := profilefile.Read(path)
	if err == nil {
		err = profiles[0].Validate()
	}
	require.True(t, err != nil || profiles[0].Login.Password.Reveal() == "secret", "%q", profiles[0].Login.Password.Reveal())
}
