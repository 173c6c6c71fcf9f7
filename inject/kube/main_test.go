package kube_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/regcred/regcred/internal/testtool"
)

var api struct {
	config *rest.Config
	why    string // Why there is none.
}

// TestMain starts etcd and an API server, once for all tests, if scripts/kubernetes has built them.
func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		fmt.Fprintln(os.Stderr, child(text))
		os.Exit(1)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	folder, err := testtool.ControlPlane()
	if err != nil {
		api.why = err.Error()
		return m.Run()
	}
	environment := &envtest.Environment{BinaryAssetsDirectory: folder}
	api.config, err = environment.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start API server:", err)
		return 1
	}
	defer func() {
		if err := environment.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop API server:", err)
		}
	}()
	return m.Run()
}

// needAPI returns the config for the API server; without a server, it skips the test.
func needAPI(t testing.TB) *rest.Config {
	t.Helper()
	if api.config == nil {
		testtool.Missing(t, api.why)
	}
	return api.config
}

// background runs f until the test ends.
func background(t testing.TB, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}
