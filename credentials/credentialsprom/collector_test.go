package credentialsprom_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialsprom"
	"github.com/regcred/regcred/credentials/credentialstest"
)

func TestCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		collector := credentialsprom.New(&cache)
		registry := prometheus.NewPedanticRegistry()
		require.NoError(t, registry.Register(collector))

		good := credentials.Key{Issuer: "ecr", Scope: "aws/eu-central-1"}
		bad := credentials.Key{Issuer: "gcr", Scope: "google"}
		_, err := cache.Credential(t.Context(), good, &credentialstest.Issuer{Steps: []credentialstest.Step{{Life: time.Hour}}})
		require.NoError(t, err)
		_, err = cache.Credential(t.Context(), bad, &credentialstest.Issuer{Steps: []credentialstest.Step{{Err: errors.New("refused")}}})
		require.Error(t, err)
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP regcred_credential_calls_total Calls to issuers of credentials that ended.
# TYPE regcred_credential_calls_total counter
regcred_credential_calls_total{issuer="ecr",result="failed",scope="aws/eu-central-1"} 0
regcred_credential_calls_total{issuer="ecr",result="issued",scope="aws/eu-central-1"} 1
regcred_credential_calls_total{issuer="gcr",result="failed",scope="google"} 1
regcred_credential_calls_total{issuer="gcr",result="issued",scope="google"} 0
# HELP regcred_credential_expiring_total Failed renewals when less than a twentieth of a credential's life was left.
# TYPE regcred_credential_expiring_total counter
regcred_credential_expiring_total{issuer="ecr",scope="aws/eu-central-1"} 0
regcred_credential_expiring_total{issuer="gcr",scope="google"} 0
# HELP regcred_credential_expiry_seconds When the first of the usable credentials expires.
# TYPE regcred_credential_expiry_seconds gauge
regcred_credential_expiry_seconds{issuer="ecr",scope="aws/eu-central-1"} 9.466884e+08
# HELP regcred_credential_keys Keys in the cache.
# TYPE regcred_credential_keys gauge
regcred_credential_keys{issuer="ecr",scope="aws/eu-central-1",usable="false"} 0
regcred_credential_keys{issuer="ecr",scope="aws/eu-central-1",usable="true"} 1
regcred_credential_keys{issuer="gcr",scope="google",usable="false"} 1
regcred_credential_keys{issuer="gcr",scope="google",usable="true"} 0
`), "regcred_credential_calls_total", "regcred_credential_expiring_total", "regcred_credential_expiry_seconds", "regcred_credential_keys"))
		problems, err := testutil.GatherAndLint(registry)
		require.NoError(t, err)
		require.Empty(t, problems)
	})
}
