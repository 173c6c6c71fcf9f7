package fakenet

import (
	"crypto/tls"
	"sync"

	"github.com/regcred/regcred/internal/testcert"
)

// An authority issues one certificate for each requested host.
type authority struct {
	*testcert.Authority

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

func newAuthority() (*authority, error) {
	a, err := testcert.New("fakenet test authority")
	if err != nil {
		return nil, err
	}
	return &authority{Authority: a, leaves: make(map[string]*tls.Certificate)}, nil
}

// leaf returns the certificate for a host.
func (a *authority) leaf(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if leaf := a.leaves[host]; leaf != nil {
		return leaf, nil
	}
	leaf, err := a.Issue(host)
	if err != nil {
		return nil, err
	}
	a.leaves[host] = &leaf
	return &leaf, nil
}
