package kube_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

var (
	profileDir     = flag.String("profiles", "", "the `folder` for CPU profiles of each pass: of this process, the API server and etcd")
	profileSeconds = flag.Int("seconds", 5, "the length of the profiles of the servers in `seconds`, from the start of a pass")
)

// A profiler records CPU profiles of the passes in one cluster.
type profiler struct {
	dir    string
	client kubernetes.Interface
	etcd   string
}

// newEnvironment returns an environment with an etcd that can be profiled.
func newEnvironment(bin string) *envtest.Environment {
	environment := &envtest.Environment{BinaryAssetsDirectory: bin}
	if *profileDir != "" {
		environment.ControlPlane.Etcd = &envtest.Etcd{}
		environment.ControlPlane.Etcd.Configure().Append("enable-pprof", "true")
	}
	return environment
}

// newProfiler returns a profiler; nil if no profiles are requested.
func newProfiler(client kubernetes.Interface, environment *envtest.Environment) *profiler {
	if *profileDir == "" {
		return nil
	}
	return &profiler{*profileDir, client, environment.ControlPlane.Etcd.URL.String()}
}

// start begins the profiles of a pass. The function that it returns waits for their end.
func (p *profiler) start(t *testing.T, pass string) (stop func()) {
	t.Helper()
	if p == nil {
		return func() {}
	}
	require.NoError(t, os.MkdirAll(p.dir, 0o700))
	name := func(of string) string {
		return filepath.Join(p.dir, strings.ReplaceAll(pass, " ", "-")+"."+of+".pprof")
	}
	own, err := os.Create(name("own"))
	require.NoError(t, err)
	require.NoError(t, pprof.StartCPUProfile(own))
	var sampling sync.WaitGroup
	for of, read := range map[string]func(context.Context) ([]byte, error){"apiserver": p.server, "etcd": p.store} {
		sampling.Go(func() {
			data, err := read(t.Context())
			if err == nil {
				err = os.WriteFile(name(of), data, 0o600)
			}
			if err != nil {
				t.Errorf("profile of %s: %v", of, err)
			}
		})
	}
	return func() {
		pprof.StopCPUProfile()
		require.NoError(t, own.Close())
		sampling.Wait()
	}
}

func (p *profiler) server(ctx context.Context) ([]byte, error) {
	return p.client.CoreV1().RESTClient().Get().AbsPath("/debug/pprof/profile").Param("seconds", fmt.Sprint(*profileSeconds)).DoRaw(ctx)
}

func (p *profiler) store(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", p.etcd, *profileSeconds), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("etcd responded with %s", response.Status)
	}
	return io.ReadAll(response.Body)
}
