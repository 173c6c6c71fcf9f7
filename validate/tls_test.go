package validate_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func TestTLS(t *testing.T) {
	good := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "corp-root"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	expired, other := good, good
	expired.NotAfter = time.Now().Add(-time.Hour)
	other.IPAddresses, other.DNSNames = nil, []string{"registry.example.com"}
	for name, tc := range map[string]struct {
		cert    x509.Certificate
		trusted bool
		client  bool // The server requires a client certificate.
		want    registry.Code
		says    string
	}{
		"good":               {cert: good, trusted: true},
		"expired":            {cert: expired, trusted: true, want: registry.ErrTLSExpired, says: "clock"},
		"wrong name":         {cert: other, trusted: true, want: registry.ErrTLSWrongName},
		"unknown issuer":     {cert: good, want: registry.ErrTLSUnknownIssuer, says: "corp-root"},
		"client certificate": {cert: good, trusted: true, client: true, want: registry.ErrTLS, says: "clientCertificate"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(t, err)
			der, err := x509.CreateCertificate(rand.Reader, &tc.cert, &tc.cert, key.Public(), key)
			require.NoError(t, err)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
			if tc.client {
				server.TLS.ClientAuth = tls.RequireAnyClientCert
			}
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			defer server.Close()
			way := registry.TransportConfig{Proxy: registry.Direct}
			if tc.trusted {
				cert, err := x509.ParseCertificate(der)
				require.NoError(t, err)
				way.CABundle = pemOf(cert)
			}
			var c validate.Checker
			defer c.CloseIdleConnections()
			_, err = c.Login(t.Context(), endpoint(t, server.Listener.Addr().String()), validate.Candidate{Transport: way})
			require.Equal(t, tc.want, registry.CodeOf(err), "%v", err)
			require.Contains(t, registry.HintOf(err), tc.says, "%v", err)
		})
	}
}
