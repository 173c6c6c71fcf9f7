package inject_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
)

// BenchmarkSync makes passes that find nothing to do, where each target has a namespace of its own.
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
