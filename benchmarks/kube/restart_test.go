package kube_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// An issuer issues tokens as long as those of AWS ECR, for 12 hours.
type issuer struct{ issued atomic.Int64 }

// A process keeps the secrets of one cluster, with a cache that is empty when it starts.
type process struct {
	cache  *credentials.Cache
	syncer *inject.Syncer
	stop   func()
}

func cacheKey(p registry.Profile) credentials.Key { return credentials.Key{Issuer: p.Name} }

// process starts one.
func (i *issuer) process(t *testing.T, config *rest.Config) *process {
	client, err := kube.NewClient(config)
	require.NoError(t, err)
	cluster := &kube.Cluster{Client: client}
	p := &process{cache: &credentials.Cache{}}
	source := credentials.Func(func(context.Context) (credentials.Credential, error) {
		now := time.Now()
		token := bytes.Repeat([]byte(fmt.Sprintf("%05d.", i.issued.Add(1))), 2048/6)
		return credentials.Credential{Username: "AWS", Password: credentials.NewSecret(string(token)), IssuedAt: now, ExpiresAt: now.Add(12 * time.Hour)}, nil
	})
	p.syncer = &inject.Syncer{
		Cluster: cluster, AdoptionKey: credentials.NewSecret("0123456789abcdef"),
		Credential: func(ctx context.Context, profile registry.Profile) (credentials.Credential, error) {
			return p.cache.Credential(ctx, cacheKey(profile), source)
		},
		Lookup: func(profile registry.Profile) credentials.Entry {
			entry, _ := p.cache.Lookup(cacheKey(profile))
			entry.Key = cacheKey(profile)
			return entry
		},
		Adopt: func(profile registry.Profile, c credentials.Credential) bool {
			return p.cache.Adopt(cacheKey(profile), source, c)
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cluster.Run(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(p.stop)
	return p
}

// TestRestart has a program make the secrets of a cluster, and others take over from it: one that finds all in order, one
// that is ended in the middle of a rotation, and one that finishes that.
func TestRestart(t *testing.T) {
	bin, err := testtool.ControlPlane()
	if err != nil {
		testtool.Missing(t, err.Error())
	}
	log.SetLogger(logr.Discard())
	n := *namespaces
	environment := newEnvironment(bin)
	config, err := environment.Start()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, environment.Stop()) })
	admin, err := kube.NewClient(config)
	require.NoError(t, err)
	require.NoError(t, furnish(t.Context(), admin, n))
	targets := newTargets()

	m, o, profiler := &meter{}, &issuer{}, newProfiler(admin, environment)
	measured := m.through(withToken(t, admin, config))
	t.Logf("%d namespaces x %d profiles", n, profiles)
	t.Logf("%20s %8s %14s %11s %7s %6s %7s %8s %8s", "pass", "seconds", "server CPU, s", "own CPU, s", "writes", "reads", "MB up", "MB down", "heap, MB")
	measure := func(pass string, f func() error) cost {
		stop := func() {}
		c := m.measure(t, func() error {
			if pass != "restart" { // It is shorter than a profile.
				stop = profiler.start(t, "restart "+pass)
			}
			return f()
		})
		stop()
		t.Logf("%20s %8.1f %14.1f %11.1f %7d %6d %7.1f %8.1f %8.1f", pass,
			c.wall.Seconds(), c.server.Seconds(), c.own.Seconds(), c.writes, c.reads, c.up, c.down, c.heap)
		return c
	}
	var p *process
	run := func() error {
		p = o.process(t, measured)
		result, err := p.syncer.Sync(t.Context(), targets)
		if err != nil {
			return err
		}
		return result.Err()
	}
	first := measure("first", run)
	require.EqualValues(t, n*(profiles+1), first.writes)
	require.EqualValues(t, profiles, o.issued.Load())
	p.stop()

	restart := measure("restart", run)
	require.Zero(t, restart.writes)
	require.EqualValues(t, 3+profiles, restart.reads, "three lists, and one secret for each credential")
	require.EqualValues(t, profiles, o.issued.Load(), "no call to an issuer")
	if n >= 1000 { // Below, the start of the watches is most of it.
		require.Less(t, restart.wall, first.wall/3)
	}

	// All credentials are renewed, and the leader ends in the middle of the rotation.
	for _, target := range targets {
		c, err := p.syncer.Credential(t.Context(), target.Profiles[0])
		require.NoError(t, err)
		p.cache.Invalidate(cacheKey(target.Profiles[0]), c)
	}
	ctx, kill := context.WithCancel(t.Context())
	var made atomic.Int64
	p.syncer.OnChange = func(inject.Change, error) {
		if made.Add(1) == int64(n*profiles/2) {
			kill()
		}
	}
	measure("half a rotation", func() error {
		_, err := p.syncer.Sync(ctx, targets)
		require.ErrorIs(t, err, context.Canceled)
		return nil
	})
	p.stop()
	require.EqualValues(t, 2*profiles, o.issued.Load())
	missing := old(t, admin, n)
	t.Logf("%d secrets are missing", missing)
	finished := measure("the other half", run)
	require.EqualValues(t, missing, finished.writes, "just the missing writes")
	require.EqualValues(t, 2*profiles, o.issued.Load(), "with the credentials of the leader before")
	require.Zero(t, old(t, admin, n))
}

// old returns how many secrets hold one of the first tokens, of those profiles that have a newer one published anywhere. A
// token that was issued and published nowhere ended with the leader, and the one before it is as good as ever.
func old(t *testing.T, client kubernetes.Interface, n int) (sum int) {
	t.Helper()
	var count [profiles]atomic.Int64
	require.NoError(t, each(n, func(i int) error {
		for p := range profiles {
			s, err := client.CoreV1().Secrets(namespace(i)).Get(t.Context(), secretName(p), metav1.GetOptions{})
			if err != nil {
				return err
			}
			config, err := pullsecret.Parse(s.Data[pullsecret.SecretKey])
			if err != nil {
				return err
			}
			c, _ := config.Credential(host(p))
			var number int
			if _, err := fmt.Sscanf(c.Password.Reveal(), "%05d.", &number); err != nil {
				return err
			}
			if number <= profiles {
				count[p].Add(1)
			}
		}
		return nil
	}))
	for p := range count {
		if have := int(count[p].Load()); have < n {
			sum += have
		}
	}
	return sum
}
