package credentialstest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialstest"
)

func TestCache(t *testing.T) {
	credentialstest.TestCache(t, func() credentialstest.Cache { return new(credentials.Cache) })
}

// bound is a cache that is used through bound sources.
type bound struct {
	credentials.Cache
	mu      sync.Mutex
	sources map[credentials.Key]*credentials.CachedSource
}

func (b *bound) source(key credentials.Key, src credentials.Source) *credentials.CachedSource {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sources[key] == nil {
		b.sources[key] = b.Source(key, src)
	}
	return b.sources[key]
}

func (b *bound) Credential(ctx context.Context, key credentials.Key, src credentials.Source) (credentials.Credential, error) {
	return b.source(key, src).Credential(ctx)
}

func (b *bound) Invalidate(key credentials.Key, refused credentials.Credential) {
	b.source(key, nil).Invalidate(refused)
}

func TestCacheWithBoundSources(t *testing.T) {
	credentialstest.TestCache(t, func() credentialstest.Cache {
		return &bound{sources: map[credentials.Key]*credentials.CachedSource{}}
	})
}

// An issuer fails once, and then issues.
func ExampleIssuer() {
	issuer := &credentialstest.Issuer{Steps: []credentialstest.Step{
		{Err: errors.New("throttled"), RetryAfter: time.Minute},
		{Life: 12 * time.Hour},
	}}
	for range 2 {
		c, err := issuer.Credential(context.Background())
		fmt.Println(c.Username, err)
	}
	fmt.Println("calls:", issuer.Calls())
	// Output:
	//  throttled
	// user <nil>
	// calls: 2
}
