package node

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry/registrytest"
)

// needNode skips the test where there cannot be a node, and says why. It returns the folder with Kubernetes' programs.
func needNode(t *testing.T) (bin string) {
	t.Helper()
	if os.Getuid() != 0 {
		testtool.Missing(t, "only root can run a kubelet, so nothing was tried on a node")
	}
	for _, program := range []string{"containerd", "ctr", "runc"} {
		testtool.Need(t, program)
	}
	bin, err := testtool.ControlPlane()
	if err != nil {
		testtool.Missing(t, err.Error())
	}
	for _, program := range []string{"kube-controller-manager", "kubelet"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			testtool.Missing(t, "there is no "+program+", so nothing was tried on a node; scripts/kubernetes "+program+" builds one")
		}
	}
	needNamespaces(t)
	needCgroups(t)
	return bin
}

// A trusted is a registry that a node trusts.
type trusted struct{ host, ca string }

// clusterIssuer is the issuer of the tokens of service accounts. Nobody reaches it by that name.
const clusterIssuer = "https://cluster.example.com"

// newCluster starts a Kubernetes cluster of one node, which trusts registries and has no login at them. The first one has
// the image that holds the namespaces of a pod. The kubelet, which is bin's if the program is empty, gets the arguments.
// It returns the config of an administrator, and the folder of the node.
func newCluster(t *testing.T, bin, kubelet string, registries []trusted, args ...string) (admin *rest.Config, node string) {
	t.Helper()
	log.SetLogger(logr.Discard()) // Without one, it complains after a while.
	environment := &envtest.Environment{BinaryAssetsDirectory: bin}
	// As in real clusters, and not in tests: pods get the pull secrets of their account, and a kubelet may read the secrets
	// of its own pods only.
	environment.ControlPlane.GetAPIServer().Configure().
		Disable("disable-admission-plugins").
		Set("enable-admission-plugins", "NodeRestriction").
		Set("authorization-mode", "Node,RBAC").
		Set("service-account-issuer", clusterIssuer)
	config, err := environment.Start()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, environment.Stop()) })
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)

	kubeconfig := func(dir string, user envtest.User) {
		t.Helper()
		u, err := environment.AddUser(user, nil)
		require.NoError(t, err)
		text, err := u.KubeConfig()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "kubeconfig"), text, 0o600))
	}
	// It makes service accounts, and pods for replica sets.
	manager := t.TempDir()
	kubeconfig(manager, envtest.User{Name: "manager", Groups: []string{"system:masters"}})
	run(t, manager, exec.Command(filepath.Join(bin, "kube-controller-manager"), "--kubeconfig", "kubeconfig", "--leader-elect=false",
		"--controllers=serviceaccount-controller,replicaset-controller", "--bind-address=127.0.0.1", "--secure-port="+testtool.FreePort(t),
		"--cert-dir=pki"))

	node = t.TempDir()
	kubeconfig(node, envtest.User{Name: "system:node:node", Groups: []string{"system:nodes"}})
	expand := func(file, path, registry string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("testdata", file))
		require.NoError(t, err)
		values := map[string]string{"DIR": node, "REGISTRY": registry, "PORT": testtool.FreePort(t)}
		path = filepath.Join(node, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(os.Expand(string(text), func(key string) string { return values[key] })), 0o600))
	}
	expand("containerd.toml", "containerd.toml", registries[0].host)
	expand("kubelet.yaml", "kubelet.yaml", registries[0].host)
	expand("loopback.conflist", "cni/loopback.conflist", registries[0].host)
	for _, r := range registries {
		expand("hosts.toml", "certs.d/"+r.host+"/hosts.toml", r.host)
		require.NoError(t, os.WriteFile(filepath.Join(node, "certs.d", r.host, "ca.pem"), []byte(r.ca), 0o600))
	}
	script, err := filepath.Abs("testdata/node.sh")
	require.NoError(t, err)
	command := exec.Command("sh", append([]string{script, node, cmp.Or(kubelet, filepath.Join(bin, "kubelet"))}, args...)...)
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	run(t, node, command)
	eventually(t, "the node registers", func(ctx context.Context) bool {
		_, err := client.CoreV1().Nodes().Get(ctx, "node", metav1.GetOptions{})
		return err == nil
	})
	return config, node
}

// run starts a program that is killed when the test ends, and when the test is. If the test failed, the ends of the logs
// in its folder are printed.
func run(t *testing.T, dir string, command *exec.Cmd) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "output.log"))
	require.NoError(t, err)
	defer log.Close()
	command.Dir, command.Stdout, command.Stderr = dir, log, log
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait() // Its error is that it was killed. The first process of a namespace ends after all others in it.
		if !t.Failed() {
			return
		}
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, path := range logs {
			text, _ := os.ReadFile(path)
			t.Logf("%s:\n%s", filepath.Base(path), text[max(0, len(text)-8000):])
		}
	})
}

// needNamespaces skips the test where this process, though it is root, may not make namespaces and mount in them.
func needNamespaces(t *testing.T) {
	t.Helper()
	command := exec.Command("sh", "-c", "mount --make-rprivate / && mount -t tmpfs tmpfs /run")
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if output, err := command.CombinedOutput(); err != nil {
		t.Skipf("this machine lets nobody mount in a namespace, so nothing was tried on a node: %v: %s", err, output)
	}
}

// needCgroups skips the test where this process may not make cgroups. What containerd leaves of those that it makes is
// removed when the test ends; where there is no process in them, they are nobody's.
func needCgroups(t *testing.T) {
	t.Helper()
	const root = "/sys/fs/cgroup"
	hierarchies := []string{root}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
		hierarchies, _ = filepath.Glob(filepath.Join(root, "*")) // Version 1: one for each controller.
	}
	for _, hierarchy := range hierarchies {
		parent := filepath.Join(hierarchy, "k8s.io")
		err := os.Mkdir(parent, 0o755)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			t.Skipf("this machine lets nobody make cgroups, so nothing was tried on a node: %v", err)
		}
		made := err == nil
		before, err := filepath.Glob(filepath.Join(parent, "*"))
		require.NoError(t, err)
		t.Cleanup(func() {
			after, _ := filepath.Glob(filepath.Join(parent, "*"))
			for _, path := range after {
				if !slices.Contains(before, path) {
					_ = syscall.Rmdir(path) // Fails for the files, which go with their directory.
				}
			}
			if !made {
				return
			}
			// The kernel removes a process from its cgroup a moment after its end.
			require.Eventually(t, func() bool { return syscall.Rmdir(parent) == nil }, 30*time.Second, 100*time.Millisecond,
				"%s cannot be removed", parent)
		})
	}
	if len(hierarchies) == 1 {
		// In a container, the upper cgroup may have processes of its own, and then cannot divide what it has.
		err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+cpu +memory +pids"), 0)
		if err != nil {
			t.Skipf("this machine lets nobody limit cgroups, so nothing was tried on a node: %v", err)
		}
	}
}

// program returns a static program that waits.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sleep")
	command := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./testdata/sleep")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := command.CombinedOutput()
	require.NoError(t, err, string(output))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// pushPause makes the image that holds the namespaces of a pod from another one. It differs in that it says what it runs.
func pushPause(t *testing.T, server *registrytest.Server, from string, login authn.Basic) {
	t.Helper()
	options := []remote.Option{remote.WithAuth(&login), remote.WithTransport(server.Client().Transport)}
	source, err := name.ParseReference(server.Host + "/" + from)
	require.NoError(t, err)
	image, err := remote.Image(source, options...)
	require.NoError(t, err)
	file, err := image.ConfigFile()
	require.NoError(t, err)
	file.Config.Entrypoint = []string{"/sleep"}
	image, err = mutate.Config(image, file.Config)
	require.NoError(t, err)
	pause, err := name.ParseReference(server.Host + "/public/pause")
	require.NoError(t, err)
	require.NoError(t, remote.Write(pause, image, options...))
}

// patience is the limit of every wait. After failed pulls, a kubelet waits up to five minutes before the next one.
const patience = 8 * time.Minute

// eventually waits until something is so, for as long as patience at most.
func eventually(t *testing.T, what string, so func(ctx context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !so(ctx) {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			require.FailNow(t, "this did not come: "+what)
		}
	}
}
