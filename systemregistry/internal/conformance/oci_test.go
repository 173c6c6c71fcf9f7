package conformance_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
)

const suite = "github.com/opencontainers/distribution-spec/conformance"

// excluded lists the features of the suite that distribution v3.1.2 does not have. All other tests must pass.
var excluded = []string{
	"OCI_API_REFERRER=false",          // Distribution has no referrers API. Clients fall back to tags, as is allowed.
	"OCI_DATA_SHA512=false",           // It links blobs by sha256 only.
	"OCI_DATA_NONDISTRIBUTABLE=false", // It accepts layers at other URLs only if they are configured.
}

// TestOCI runs the OCI's conformance suite over TLS, as an account with a password.
func TestOCI(t *testing.T) {
	r := start(t, systemregistry.Server{})
	dir := t.TempDir()
	program := filepath.Join(dir, "conformance")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, suite).CombinedOutput()
	require.NoError(t, err, string(out))

	command := exec.CommandContext(t.Context(), program)
	command.Dir = dir
	command.Env = append(append(os.Environ(), excluded...),
		"OCI_REGISTRY="+r.Host, "OCI_TLS=enabled", "SSL_CERT_FILE="+r.CAFile, "OCI_USERNAME=root", "OCI_PASSWORD="+rootPassword.Reveal(), "OCI_VERSION=1.1")
	out, err = command.CombinedOutput()
	t.Log(string(out))
	require.NoError(t, err)
	junit, err := os.ReadFile(filepath.Join(dir, "results", "junit.xml"))
	require.NoError(t, err)
	require.Contains(t, string(junit), "<testcase", "no test ran")
	require.NotContains(t, string(junit), "<failure")
	if keep := os.Getenv("REGCRED_RESULTS"); keep != "" {
		require.NoError(t, os.WriteFile(filepath.Join(keep, "oci.xml"), junit, 0o600))
	}
}
