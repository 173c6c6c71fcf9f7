// Package ca issues certificates for registries that have none.
//
// [Load] returns the [Authority] of a registry, which signs the certificate that [Authority.TLS] serves and renews.
// Clients must trust [Authority.PEM]. An authority may sign only for the names and addresses that it was created for.
// It is replaced in two steps: [Authority.Add] creates a second authority, which clients trust beside the first, and
// [Authority.Retire] makes the second one sign.
//
// An authority signs for the registry only. It has no method that signs anything else.
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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/systemregistry/store"
)

const (
	// An authority's certificate is copied into profiles and onto nodes, so it has a long lifetime. Its private key
	// never leaves the store.
	authorityLife = 10 * 365 * 24 * time.Hour
	// A certificate is renewed automatically, without a restart, in the last third of its lifetime.
	certificateLife = 90 * 24 * time.Hour
	// backdate tolerates clients whose clocks are behind.
	backdate = time.Hour

	storeKey = "keys/authority"
)

// An Authority signs certificates for one registry. It is safe for concurrent use.
type Authority struct {
	store store.Store

	mu   sync.RWMutex
	keys []pair // The first one signs. Never empty; not changed in place.
}

type pair struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// stored is a pair as it is stored, both parts in DER.
type stored struct {
	Certificate []byte `json:"certificate"`
	Key         []byte `json:"key"`
}

// Load returns the authority in the store. If there is none, it creates one that may sign for the hosts, which are
// names and addresses, and for subdomains of the names. Without hosts, it may sign for all. Replicas that share a store
// share the authority.
func Load(ctx context.Context, s store.Store, hosts []string) (*Authority, error) {
	a := &Authority{store: s}
	err := a.Refresh(ctx)
	if errors.Is(err, store.ErrNoKey) {
		if err = a.change(ctx, func(keys []pair) ([]pair, error) {
			if len(keys) > 0 {
				return keys, nil // Another replica created it first.
			}
			made, err := generate(time.Now(), hosts)
			return []pair{made}, err
		}); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Add creates a second authority, which does not sign yet. From then on, PEM returns both certificates for clients to
// trust. Add does nothing if there are two authorities already.
func (a *Authority) Add(ctx context.Context, hosts []string) error {
	return a.change(ctx, func(keys []pair) ([]pair, error) {
		if len(keys) > 1 {
			return keys, nil
		}
		made, err := generate(time.Now(), hosts)
		return append(slices.Clone(keys), made), err
	})
}

// Retire makes the newest authority sign, and deletes the others. Clients that do not trust the newest one fail from
// then on. Retire does nothing if there is only one.
func (a *Authority) Retire(ctx context.Context) error {
	return a.change(ctx, func(keys []pair) ([]pair, error) { return keys[len(keys)-1:], nil })
}

// Refresh reads changes that other replicas have made. Call it periodically.
func (a *Authority) Refresh(ctx context.Context) error {
	keys, _, err := a.read(ctx)
	if err == nil {
		a.set(keys)
	}
	return err
}

func (a *Authority) set(keys []pair) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = keys
}

func (a *Authority) current() []pair {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.keys
}

func (a *Authority) read(ctx context.Context) ([]pair, uint64, error) {
	e, err := a.store.Get(ctx, storeKey)
	if err != nil {
		return nil, 0, fmt.Errorf("read certificate authority: %w", err)
	}
	keys, err := parse(e.Value)
	return keys, e.Version, err
}

func (a *Authority) change(ctx context.Context, change func([]pair) ([]pair, error)) error {
	for {
		keys, version, err := a.read(ctx)
		if err != nil && !errors.Is(err, store.ErrNoKey) {
			return err
		}
		if keys, err = change(keys); err != nil {
			return fmt.Errorf("make certificate authority: %w", err)
		}
		value, err := format(keys)
		if err == nil {
			_, err = a.store.Put(ctx, storeKey, value, version)
		}
		if errors.Is(err, store.ErrKeyChanged) {
			continue // Another replica changed it.
		}
		if err != nil {
			return fmt.Errorf("keep certificate authority: %w", err)
		}
		a.set(keys)
		return nil
	}
}

func generate(now time.Time, hosts []string) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "regcred system registry"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // It signs servers only, no further authorities.
		// Nodes trust the authority, so it must not be able to impersonate other servers (RFC 5280, section 4.2.1.10).
		PermittedDNSDomainsCritical: len(hosts) > 0,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			if short := ip.To4(); short != nil {
				ip = short
			}
			template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(8*len(ip), 8*len(ip))})
		} else {
			template.PermittedDNSDomains = append(template.PermittedDNSDomains, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return pair{}, err
	}
	certificate, err := x509.ParseCertificate(der)
	return pair{certificate, key}, err
}

func format(keys []pair) ([]byte, error) {
	list := make([]stored, len(keys))
	for i, k := range keys {
		key, err := x509.MarshalECPrivateKey(k.key)
		if err != nil {
			return nil, err
		}
		list[i] = stored{k.certificate.Raw, key}
	}
	return json.Marshal(list)
}

func parse(value []byte) ([]pair, error) {
	var list []stored
	if json.Unmarshal(value, &list) != nil || len(list) == 0 {
		var one stored // The format of earlier versions, which had one authority only.
		if err := json.Unmarshal(value, &one); err != nil {
			return nil, errors.New("read certificate authority: it is not JSON")
		}
		list = []stored{one}
	}
	keys := make([]pair, len(list))
	for i, s := range list {
		certificate, err := x509.ParseCertificate(s.Certificate)
		if err != nil {
			return nil, fmt.Errorf("read certificate authority: %w", err)
		}
		key, err := x509.ParseECPrivateKey(s.Key)
		if err != nil {
			return nil, errors.New("read certificate authority: its key cannot be read")
		}
		keys[i] = pair{certificate, key}
	}
	return keys, nil
}

// PEM returns the certificates that clients must trust: one, or two while the authority is being replaced.
func (a *Authority) PEM() string {
	var text strings.Builder
	for _, k := range a.current() {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.certificate.Raw}))
	}
	return text.String()
}

// Permits reports whether the authority that signs may sign for the host, a name or address.
func (a *Authority) Permits(host string) bool { return a.current()[0].permits(host) }

func (k pair) permits(host string) bool {
	c := k.certificate
	if ip := net.ParseIP(host); ip != nil {
		return len(c.PermittedIPRanges) == 0 || slices.ContainsFunc(c.PermittedIPRanges, func(n *net.IPNet) bool { return n.Contains(ip) })
	}
	return len(c.PermittedDNSDomains) == 0 || slices.ContainsFunc(c.PermittedDNSDomains, func(domain string) bool {
		return host == domain || strings.HasSuffix(host, "."+domain)
	})
}

// TLS returns a server configuration with a certificate for those hosts, names and addresses, that the authority may
// sign for. The certificate is renewed automatically.
func (a *Authority) TLS(hosts []string) *tls.Config {
	var mu sync.Mutex
	var current *tls.Certificate
	var by *x509.Certificate // The authority that signed it.
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			signer := a.current()[0]
			if current != nil && by.Equal(signer.certificate) && time.Until(current.Leaf.NotAfter) > certificateLife/3 {
				return current, nil
			}
			next, err := signer.issue(hosts, time.Now())
			if err != nil {
				return nil, fmt.Errorf("make certificate: %w", err)
			}
			current, by = next, signer.certificate
			return current, nil
		},
	}
}

func (k pair) issue(hosts []string, now time.Time) (*tls.Certificate, error) {
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
		if !k.permits(host) {
			continue // Clients would reject the whole certificate because of this host.
		}
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, k.certificate, key.Public(), k.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, k.certificate.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// serial returns a random number, as the Baseline Requirements of the CA/Browser Forum require: at least 64 bits.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // Never fails: crypto/rand ends the program instead.
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}
