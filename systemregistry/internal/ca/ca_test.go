package ca_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
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
	a, err := ca.Load(t.Context(), new(store.Memory), nil)
	require.NoError(t, err)
	config := a.TLS([]string{"registry.example.com", "127.0.0.1", "::1"})
	for _, host := range []string{"registry.example.com", "127.0.0.1", "::1"} {
		require.NoError(t, verify(t, a.PEM(), config, host))
	}
	require.Error(t, verify(t, a.PEM(), config, "other.example.com"))
}

func TestAuthorityIsKept(t *testing.T) {
	s := new(store.Memory)
	first, err := ca.Load(t.Context(), s, nil)
	require.NoError(t, err)
	second, err := ca.Load(t.Context(), s, nil)
	require.NoError(t, err)
	require.Equal(t, first.PEM(), second.PEM())
	require.NoError(t, verify(t, first.PEM(), second.TLS([]string{"a.example.com"}), "a.example.com"))
}

func TestCertificateIsRenewedWhileServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := ca.Load(t.Context(), new(store.Memory), nil)
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

// Nodes trust the authority, so its key must not be usable to impersonate other servers.
func TestAuthorityIsConstrained(t *testing.T) {
	s := new(store.Memory)
	hosts := []string{"registry.example.com", "192.0.2.1", "2001:db8::1", "localhost"}
	a, err := ca.Load(t.Context(), s, hosts)
	require.NoError(t, err)
	for _, host := range append(hosts, "mirror.registry.example.com") {
		require.True(t, a.Permits(host), host)
		require.NoError(t, verify(t, a.PEM(), a.TLS([]string{host, "other.example.com", "192.0.2.2"}), host))
	}
	for _, host := range []string{"example.com", "other.example.com", "registry.example.com.evil.example", "192.0.2.2", "2001:db8::2"} {
		require.False(t, a.Permits(host), host)
		require.Error(t, verify(t, a.PEM(), a.TLS([]string{host}), host), host)
	}
	block, _ := pem.Decode([]byte(a.PEM()))
	certificate, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	require.True(t, certificate.PermittedDNSDomainsCritical)
	require.Len(t, certificate.PermittedIPRanges, 2)
}

// While an authority is replaced, clients that follow the documented steps never fail.
func TestAuthorityIsReplaced(t *testing.T) {
	s := new(store.Memory)
	a, err := ca.Load(t.Context(), s, []string{"a.example.com"})
	require.NoError(t, err)
	replica, err := ca.Load(t.Context(), s, []string{"a.example.com"})
	require.NoError(t, err)
	config, other := a.TLS([]string{"a.example.com", "b.example.com"}), replica.TLS([]string{"a.example.com"})
	before := a.PEM()
	require.NoError(t, a.Retire(t.Context()), "there is just one")
	require.Equal(t, before, a.PEM())

	hosts := []string{"a.example.com", "b.example.com"}
	require.NoError(t, a.Add(t.Context(), hosts))
	both := a.PEM()
	require.NoError(t, a.Add(t.Context(), hosts))
	require.Equal(t, both, a.PEM(), "asked twice")
	require.NoError(t, verify(t, before, config, "a.example.com"), "the old one signs still")
	require.NoError(t, verify(t, both, config, "a.example.com"))

	require.NoError(t, a.Retire(t.Context()))
	for _, host := range hosts {
		require.NoError(t, verify(t, both, config, host))
		require.NoError(t, verify(t, a.PEM(), config, host))
		require.Error(t, verify(t, before, config, host))
	}
	require.NoError(t, verify(t, both, other, "a.example.com"), "a replica that has not heard of it")
	require.NoError(t, replica.Refresh(t.Context()))
	require.NoError(t, verify(t, a.PEM(), other, "a.example.com"))
	restarted, err := ca.Load(t.Context(), s, nil)
	require.NoError(t, err)
	require.Equal(t, a.PEM(), restarted.PEM())
}
