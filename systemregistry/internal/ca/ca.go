// Package ca makes the registry's own certificates, for those who have none.
//
// [Load] returns the [Authority] of a registry, which signs the certificate that [Authority.TLS] serves and renews.
// What clients must trust is [Authority.PEM].
//
// It signs for the registry only: there is no way to have it sign anything else.
package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/regcred/regcred/systemregistry/store"
)

const (
	// An authority is copied into profiles and onto nodes, so it lives long. Its private key never leaves the store.
	authorityLife = 10 * 365 * 24 * time.Hour
	// A certificate is renewed by itself, without a restart, in the last third of its life.
	certificateLife = 90 * 24 * time.Hour
	// backdate is for clients whose clocks are behind.
	backdate = time.Hour

	storeKey = "keys/authority"
)

// An Authority signs certificates for one registry. It is safe for concurrent use.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// stored is an authority in the store, both in DER.
type stored struct {
	Certificate []byte `json:"certificate"`
	Key         []byte `json:"key"`
}

// Load returns the authority in the store, and makes one where there is none. Replicas that share a store share it.
func Load(ctx context.Context, s store.Store) (*Authority, error) {
	e, err := s.Get(ctx, storeKey)
	if errors.Is(err, store.ErrNoKey) {
		made, err := generate(time.Now())
		if err != nil {
			return nil, fmt.Errorf("make certificate authority: %w", err)
		}
		if _, err = s.Put(ctx, storeKey, made, 0); err != nil && !errors.Is(err, store.ErrKeyChanged) {
			return nil, fmt.Errorf("keep certificate authority: %w", err)
		}
		e, err = s.Get(ctx, storeKey) // Ours, or that of a replica that was faster.
		if err != nil {
			return nil, fmt.Errorf("read certificate authority: %w", err)
		}
		return parse(e.Value)
	}
	if err != nil {
		return nil, fmt.Errorf("read certificate authority: %w", err)
	}
	return parse(e.Value)
}

func generate(now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "regcred system registry"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // It signs servers, not further authorities.
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(stored{der, keyDER})
}

func parse(value []byte) (*Authority, error) {
	var s stored
	if err := json.Unmarshal(value, &s); err != nil {
		return nil, errors.New("read certificate authority: it is not JSON")
	}
	certificate, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return nil, fmt.Errorf("read certificate authority: %w", err)
	}
	key, err := x509.ParseECPrivateKey(s.Key)
	if err != nil {
		return nil, errors.New("read certificate authority: its key cannot be read")
	}
	return &Authority{certificate, key}, nil
}

// PEM returns the certificate that clients must trust.
func (a *Authority) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
}

// TLS returns the configuration of a server that has a certificate for the hosts, names and addresses. It renews it.
func (a *Authority) TLS(hosts []string) *tls.Config {
	var mu sync.Mutex
	var current *tls.Certificate
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			if current != nil && time.Until(current.Leaf.NotAfter) > certificateLife/3 {
				return current, nil
			}
			next, err := a.issue(hosts, time.Now())
			if err != nil {
				return nil, fmt.Errorf("make certificate: %w", err)
			}
			current = next
			return current, nil
		},
	}
}

func (a *Authority) issue(hosts []string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "regcred system registry server"},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.certificate.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// serial is random, as the baseline requirements of the CA/Browser Forum ask: at least 64 bits.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // Never fails: crypto/rand ends the program instead.
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}
