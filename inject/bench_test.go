//go:build unix

package inject_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/registry"
)

// BenchmarkSync makes passes without changes, where each target has a namespace of its own.
func BenchmarkSync(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("targets=%d", n), func(b *testing.B) {
			cluster := &injecttest.Cluster{}
			issuer := &issuer{password: "first"}
			s := &inject.Syncer{Cluster: cluster, Credential: issuer.Credential}
			var targets []inject.Target
			for i := range n {
				name := fmt.Sprintf("p%d", i)
				require.NoError(b, cluster.CreateNamespace(b.Context(), name, nil))
				t := target(name, profile(name))
				t.Namespaces.Names = []string{name}
				targets = append(targets, t)
			}
			_, err := s.Sync(b.Context(), targets)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				r, err := s.Sync(b.Context(), targets)
				require.NoError(b, err)
				require.Empty(b, r.Changed)
			}
		})
	}
}

// BenchmarkPart makes passes over one change: a renewal, an event or an edited target, among targets that each have a
// namespace and a credential of their own. The cost does not grow with the number of targets. It reports the processor
// time, garbage collection included, because other programs disturb the elapsed time more.
func BenchmarkPart(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000, 50_000} {
		cluster, start := &injecttest.Cluster{}, time.Now()
		generation := make(map[string]int, n)
		s := &inject.Syncer{
			Cluster: cluster,
			Credential: func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
				issued := start.Add(time.Duration(generation[p.Name]) * time.Second)
				return credentials.Credential{Username: "u", Password: credentials.NewSecret(fmt.Sprint(p.Name, generation[p.Name])), IssuedAt: issued, ExpiresAt: issued.Add(12 * time.Hour)}, nil
			},
			Lookup: func(p registry.Profile) credentials.Entry {
				return credentials.Entry{Key: credentials.Key{Issuer: p.Name}, NextCall: start.Add(10 * time.Hour)}
			},
		}
		targets := make([]inject.Target, n)
		for i := range targets {
			name := fmt.Sprintf("p%d", i)
			require.NoError(b, cluster.CreateNamespace(b.Context(), name, nil))
			targets[i] = target(name, profile(name))
			targets[i].Namespaces.Names = []string{name}
		}
		_, err := s.Sync(b.Context(), targets)
		require.NoError(b, err)
		run := func(what string, pass func(name string, t inject.Target) (inject.Result, error), changes int) {
			b.Run(fmt.Sprintf("%s/targets=%d", what, n), func(b *testing.B) {
				b.ReportAllocs()
				started := processorTime(b)
				for i := 0; b.Loop(); i++ {
					t := targets[i%n]
					result, err := pass(t.Name, t)
					if err != nil || len(result.Changed) != changes {
						b.Fatal(len(result.Changed), err)
					}
				}
				b.ReportMetric(float64(processorTime(b)-started)/float64(b.N), "cpu-ns/op")
			})
		}
		run("renewal", func(name string, _ inject.Target) (inject.Result, error) {
			generation[name]++
			s.Renewed(credentials.Event{Key: credentials.Key{Issuer: name}, IssuedAt: start.Add(time.Duration(generation[name]) * time.Second)})
			return s.SyncDue(b.Context())
		}, 1)
		run("event", func(name string, _ inject.Target) (inject.Result, error) { return s.SyncNamespaces(b.Context(), name) }, 0)
		edits := 0
		run("edit", func(_ string, t inject.Target) (inject.Result, error) {
			edits++
			t.Labels = map[string]string{"edit": fmt.Sprint(edits)}
			s.SetTarget(t)
			return s.SyncDue(b.Context())
		}, 1)
	}
}

func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
