package kube_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry"
)

// TestNamespacesGo has the controllers of Kubernetes create service accounts and delete namespaces, as in any cluster:
// the secret is created without further help, goes with its namespace, and is created again with it.
func TestNamespacesGo(t *testing.T) {
	r := newRunning(t, "going")
	r.OnPass = func(p kube.Pass) {
		if p.Err != nil {
			t.Error(p.Err)
		}
		for _, problem := range p.Result.Problems {
			// A namespace goes, or its account is created, while a pass writes.
			if !errors.Is(problem, registry.ErrConflict) {
				t.Error(problem)
			}
		}
	}
	background(t, r.Start)
	manageControllers(t)
	for range 3 {
		require.NoError(t, r.CreateNamespace(t.Context(), "going-1", nil))
		r.becomesReady(t, "going-1")
		require.NoError(t, r.DeleteNamespace(t.Context(), "going-1"))
		r.Wake() // A pass over all namespaces while one is being deleted.
		require.Eventually(t, func() bool {
			_, err := r.CoreV1().Namespaces().Get(t.Context(), "going-1", metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}, 3*time.Minute, 20*time.Millisecond, "something of ours keeps the namespace from going")
	}
}

// manageControllers runs a kube-controller-manager until the test ends.
func manageControllers(t *testing.T) {
	t.Helper()
	kubeconfig := writeKubeconfig(t, needAPI(t))
	folder, err := testtool.ControlPlane()
	require.NoError(t, err)
	program := filepath.Join(folder, "kube-controller-manager")
	if _, err := os.Stat(program); err != nil {
		testtool.Missing(t, "there is no kube-controller-manager, so no namespace ever goes; scripts/kubernetes builds one")
	}
	command := exec.Command(program, "--kubeconfig="+kubeconfig, "--controllers=namespace-controller,serviceaccount-controller",
		"--leader-elect=false", "--secure-port=0")
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	command.Stdout, command.Stderr = log, log
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		(&process{command}).kill()
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("kube-controller-manager:\n%s", text[max(0, len(text)-4000):])
		}
	})
}
