package ca_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/internal/ca"
	"github.com/regcred/regcred/systemregistry/store"
)

func verify(t *testing.T, bundle string, config *tls.Config, host string) error {
	t.Helper()
	certificate, err := config.GetCertificate(nil)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(bundle)))
	_, err = certificate.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: time.Now()})
	return err
}

func TestCertificateIsTrusted(t *testing.T) {
	a, err := ca.Load(t.Context(), new(store.Memory))
	require.NoError(t, err)
	config := a.TLS([]string{"registry.example.com", "127.0.0.1", "::1"})
	for _, host := range []string{"registry.example.com", "127.0.0.1", "::1"} {
		require.NoError(t, verify(t, a.PEM(), config, host))
	}
	require.Error(t, verify(t, a.PEM(), config, "other.example.com"))
}

func TestAuthorityIsKept(t *testing.T) {
	s := new(store.Memory)
	first, err := ca.Load(t.Context(), s)
	require.NoError(t, err)
	second, err := ca.Load(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, first.PEM(), second.PEM())
	require.NoError(t, verify(t, first.PEM(), second.TLS([]string{"a.example.com"}), "a.example.com"))
}

func TestCertificateIsRenewedWhileServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := ca.Load(t.Context(), new(store.Memory))
		require.NoError(t, err)
		config := a.TLS([]string{"a.example.com"})
		first, err := config.GetCertificate(nil)
		require.NoError(t, err)
		time.Sleep(24 * time.Hour)
		same, err := config.GetCertificate(nil)
		require.NoError(t, err)
		require.Same(t, first, same)
		for range 24 { // Two years, a month at a time.
			time.Sleep(30 * 24 * time.Hour)
			require.NoError(t, verify(t, a.PEM(), config, "a.example.com"))
		}
	})
}
