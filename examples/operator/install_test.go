package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/regcred/regcred/internal/testtool"
)

// A kubectl runs the program for a cluster.
type kubectl struct {
	t       *testing.T
	program string
	config  string // A kubeconfig; empty for no cluster.
}

func newKubectl(t *testing.T) kubectl {
	t.Helper()
	folder, err := testtool.ControlPlane()
	if err != nil {
		testtool.Missing(t, err.Error())
	}
	program := filepath.Join(folder, "kubectl")
	if _, err := os.Stat(program); err != nil {
		testtool.Missing(t, "there is no kubectl, so nothing was tried with it; scripts/kubernetes kubectl builds it")
	}
	return kubectl{t: t, program: program}
}

func (k kubectl) try(args ...string) (string, error) {
	command := exec.CommandContext(k.t.Context(), k.program, args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+k.config, "KUBECACHEDIR="+k.t.TempDir())
	output, err := command.CombinedOutput()
	return string(output), err
}

func (k kubectl) run(args ...string) string {
	k.t.Helper()
	output, err := k.try(args...)
	require.NoError(k.t, err, output)
	return output
}

func (k kubectl) eventually(what string, f func() bool) {
	k.t.Helper()
	require.Eventually(k.t, f, 3*time.Minute, 50*time.Millisecond, what)
}

const image = "registry.test:5000/platform/operator@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// platform writes an overlay with all options, as the owner of a platform would.
func platform(t *testing.T) string {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	here, err := os.Getwd()
	require.NoError(t, err)
	here, err = filepath.EvalSymlinks(here)
	require.NoError(t, err)
	config, err := filepath.Rel(folder, filepath.Join(here, "config"))
	require.NoError(t, err)
	name, digest, _ := strings.Cut(image, "@")
	text := fmt.Sprintf(`
namespace: platform
resources: [%[1]s]
components: [%[1]s/evict, %[1]s/keyless]
images:
- {name: regcred-operator, newName: %[2]q, digest: %[3]q}
`, config, name, digest)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o600))
	return folder
}

// deployment returns the deployment among these manifests.
func deployment(t *testing.T, manifests string) appsv1.Deployment {
	t.Helper()
	for text := range strings.SplitSeq(manifests, "\n---\n") {
		var d appsv1.Deployment
		require.NoError(t, yaml.Unmarshal([]byte(text), &d))
		if d.Kind == "Deployment" {
			return d
		}
	}
	t.Fatal("there is no deployment")
	return appsv1.Deployment{}
}

func names(t *testing.T, manifests string) []string {
	t.Helper()
	var list []string
	for text := range strings.SplitSeq(manifests, "\n---\n") {
		var object metav1.PartialObjectMetadata
		require.NoError(t, yaml.Unmarshal([]byte(text), &object))
		list = append(list, object.Kind+" "+object.Name)
	}
	return list
}

// An overlay sets the image, and its result has everything in config.
func TestKustomization(t *testing.T) {
	k := newKubectl(t)
	d := deployment(t, k.run("kustomize", "overlay"))
	require.Equal(t, "registry.example.com/regcred-operator:v1.2.3", d.Spec.Template.Spec.Containers[0].Image)
	require.NotContains(t, d.Spec.Template.Spec.Containers[0].Args, "-evict")

	all := k.run("kustomize", platform(t))
	d = deployment(t, all)
	require.Equal(t, image, d.Spec.Template.Spec.Containers[0].Image)
	require.Contains(t, d.Spec.Template.Spec.Containers[0].Args, "-evict")
	installed := names(t, strings.ReplaceAll(all, "name: platform", "name: regcred-system"))
	require.NoError(t, filepath.WalkDir("config", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "kustomization.yaml" || filepath.Dir(path) == "config/samples" {
			return err
		}
		data, err := os.ReadFile(path)
		require.Subset(t, installed, names(t, string(data)), path)
		return err
	}))
}

// The steps of the README work on a real API server. The program from the image works with the token, the rights and
// the arguments of the deployment.
func TestInstall(t *testing.T) {
	k := newKubectl(t)
	ctrl.SetLogger(logr.Discard())
	program := build(t)
	environment := &envtest.Environment{BinaryAssetsDirectory: filepath.Dir(k.program)}
	config, err := environment.Start()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, environment.Stop()) })
	admin, err := environment.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	require.NoError(t, err)
	k.config = kubeconfig(t, admin.Config())

	folder := platform(t)
	k.run("apply", "-k", folder)
	for line := range strings.Lines(k.run("apply", "-k", folder)) {
		require.Contains(t, line, " unchanged")
	}
	k.run("wait", "--for=condition=Established", "crd/registryprofiles.regcred.github.io")
	k.run("-n", "platform", "create", "secret", "generic", "shop-login", "--from-literal=username=robot", "--from-literal=password=x")
	k.eventually("the sample is taken", func() bool { _, err := k.try("apply", "-f", "config/samples/profile.yaml"); return err == nil })

	// An expiry in the future is readable.
	k.run("patch", "registryprofile/shop", "--subresource=status", "--type=merge", "-p",
		`{"status": {"expiresAt": "2126-01-01T12:00:00Z", "renewAt": "2126-01-01T09:36:00Z"}}`)
	table := k.run("get", "registryprofiles", "-o", "wide")
	require.Equal(t, strings.Fields("NAME KIND ENDPOINT READY REASON SECRETS EXPIRES RENEWS AGE"), strings.Fields(table)[:9])
	require.Contains(t, table, "2126-01-01T12:00:00Z   2126-01-01T09:36:00Z")

	// The namespace permits restricted pods only, and the deployment's pods are restricted.
	d := deployment(t, k.run("-n", "platform", "get", "deployment/regcred-operator", "-o", "yaml"))
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "operator"}, Spec: d.Spec.Template.Spec}
	_, err = client.CoreV1().Pods("platform").Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	require.NoError(t, err)

	metrics, probes := "127.0.0.1:"+testtool.FreePort(t), "127.0.0.1:"+testtool.FreePort(t)
	args := []string{"-metrics", metrics, "-probes", probes}
	for _, arg := range d.Spec.Template.Spec.Containers[0].Args {
		args = append(args, strings.ReplaceAll(arg, "$(NAMESPACE)", "platform"))
	}
	pods := rest.AnonymousClientConfig(config)
	pods.BearerToken = strings.TrimSpace(k.run("-n", "platform", "create", "token", d.Spec.Template.Spec.ServiceAccountName))
	operator := exec.CommandContext(t.Context(), program, args...)
	operator.Env = []string{"KUBECONFIG=" + kubeconfig(t, pods)}
	var log bytes.Buffer
	operator.Stdout, operator.Stderr = &log, &log
	require.NoError(t, operator.Start())
	k.run("wait", "--for=condition=Ready", "registryprofile/shop", "--timeout=3m")
	for url, says := range map[string]string{
		"http://" + probes + "/healthz":  "ok",
		"http://" + probes + "/readyz":   "ok",
		"http://" + metrics + "/metrics": "regcred_pullsecret_",
	} {
		require.Contains(t, get(t, url), says)
	}
	require.NoError(t, operator.Process.Signal(syscall.SIGTERM))
	require.NoError(t, operator.Wait())
	require.Empty(t, k.run("-n", "platform", "get", "lease/regcred", "-o", "jsonpath={.spec.holderIdentity}"), "the lease is given back")
	for line := range strings.Lines(log.String()) {
		var entry struct{ Level string }
		require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
		if !late(line) {
			require.Equal(t, "info", entry.Level, line)
		}
	}
}

// late reports whether client-go logs this line if an API server responds too late or ends a watch. It tries again then.
func late(line string) bool {
	return slices.ContainsFunc([]string{
		"Failed to update lock", "error retrieving resource lock", "error initially creating leader election record", "Failed to watch",
	}, func(message string) bool { return strings.Contains(line, message) })
}

// kubeconfig writes a kubeconfig, and returns its name.
func kubeconfig(t *testing.T, config *rest.Config) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"it": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"it": {
			Token: config.BearerToken, ClientCertificateData: config.CertData, ClientKeyData: config.KeyData,
		}},
		Contexts:       map[string]*clientcmdapi.Context{"it": {Cluster: "it", AuthInfo: "it"}},
		CurrentContext: "it",
	}, name))
	return name
}

func get(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}
