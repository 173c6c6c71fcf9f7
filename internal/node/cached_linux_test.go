package node

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/helper"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// A plugin's credential lives so long, and the kubelet keeps it for half of that. On a busy machine, that is enough for
// the pods that need it.
const pluginLife = 6*time.Minute + 4*time.Second

// keepsWhatThePluginReturned has a kubelet use, keep and lose the credentials of a plugin: at a registry where a new one
// follows an old one ("steady"), at one that revokes the old one early ("revoking"), and at one for which the plugin
// fails ("broken"). Pull secrets are beside them.
func keepsWhatThePluginReturned(t *testing.T, bin string) {
	account := func(name string) registrytest.Account {
		return registrytest.Account{Username: name, Password: credentials.NewSecret("password-of-" + name), Pull: []string{"acme/*"}}
	}
	sleep := program(t)
	var trust []trusted
	start := func(images ...string) *registrytest.Server {
		ci := registrytest.Account{Username: "ci", Password: credentials.NewSecret("ci"), Push: []string{"*"}}
		r := &registrytest.Registry{
			Dialect: registrytest.DistributionToken(), Public: []string{"public/*"},
			Accounts: []registrytest.Account{ci, account("robot-1"), account("robot-2"), account("secret")},
		}
		for _, image := range images {
			_, err := r.Add(image, registrytest.Image{
				Platforms: []string{"linux/" + runtime.GOARCH}, Files: map[string]string{"sleep": sleep, "name": image},
			})
			require.NoError(t, err)
		}
		server, err := registrytest.Start(r)
		require.NoError(t, err)
		t.Cleanup(server.Close)
		trust = append(trust, trusted{server.Host, server.CA})
		return server
	}
	steady := start("acme/one", "acme/two", "acme/three", "acme/four")
	revoking := start("acme/one", "acme/two", "acme/three", "acme/four")
	broken := start("acme/one", "public/one")
	pushPause(t, steady, "acme/one", authn.Basic{Username: "ci", Password: "ci"})
	steady.Registry.ResetRequests()

	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	profiles := func(robot string) (list []registry.Profile) {
		var written []any
		for name, server := range map[string]*registrytest.Server{"steady": steady, "revoking": revoking, "broken": broken} {
			list = append(list, registry.Profile{Name: name, Kind: registry.Custom, Endpoint: server.Host, Login: credentials.Login{
				Username: robot, Password: credentials.NewSecret("password-of-" + robot),
			}})
			written = append(written, map[string]any{"name": name, "kind": "custom", "endpoint": server.Host, "login": map[string]string{
				"username": robot, "password": "password-of-" + robot,
			}})
		}
		text, err := json.Marshal(written)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file("next"), text, 0o600))
		require.NoError(t, os.Rename(file("next"), file("profiles.json")))
		return list
	}
	config, err := helper.KubeletConfig{
		Name: "plugin", Args: []string{"-profiles", file("profiles.json"), "-calls", file("calls"), "-life", pluginLife.String()},
		Profiles: profiles("robot-1"),
	}.JSON()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file("providers.json"), config, 0o600))
	build := exec.Command("go", "build", "-o", file("bin/plugin"), "./testdata/plugin")
	output, err := build.CombinedOutput()
	require.NoError(t, err, string(output))
	// calls returns how often the plugin was called for a registry.
	calls := func(server *registrytest.Server) int {
		text, err := os.ReadFile(file("calls"))
		require.NoError(t, err)
		return strings.Count(string(text), server.Host+"\n")
	}

	// A kubelet that misses the program does not start. The one that follows finds it.
	require.NoError(t, os.Mkdir(file("empty"), 0o700))
	kubelet := file("kubelet")
	require.NoError(t, os.WriteFile(kubelet, []byte(`#!/bin/sh
timeout 300 `+filepath.Join(bin, "kubelet")+` "$@" --image-credential-provider-bin-dir=`+file("empty")+` >`+file("missing.log")+` 2>&1
echo $? >`+file("missing.code")+`
exec `+filepath.Join(bin, "kubelet")+` "$@"
`), 0o700))
	began := time.Now()
	admin, node := newCluster(t, bin, kubelet, trust, "--image-credential-provider-config="+file("providers.json"), "--image-credential-provider-bin-dir="+file("bin"))
	code, err := os.ReadFile(file("missing.code"))
	require.NoError(t, err)
	require.Equal(t, "1\n", string(code))
	missing, err := os.ReadFile(file("missing.log"))
	require.NoError(t, err)
	require.Regexp(t, `Failed to register CRI auth plugins.*did not exist`, string(missing)) // It does not name the program.
	t.Log("the node registered after", time.Since(began).Round(time.Second))

	w := &world{images: steady.Registry, server: steady, policy: corev1.PullIfNotPresent}
	w.Interface, err = kubernetes.NewForConfig(admin)
	require.NoError(t, err)
	for _, namespace := range []string{"shop", "blog"} {
		w.namespace(t, namespace, nil)
		for server, host := range map[*registrytest.Server]string{steady: "steady", revoking: "revoking"} {
			w.pullSecret(t, namespace, host+"-right", server.Host, "secret", "password-of-secret")
		}
		w.pullSecret(t, namespace, "steady-wrong", steady.Host, "secret", "wrong")
	}

	// The plugin is called once for a registry. What it returns then, the kubelet keeps from a later instant on.
	kept := time.Now().Add(pluginLife / 2)
	// slow reports whether the kubelet may have lost that, and prints what is not known then.
	slow := func(what string) bool {
		if time.Now().Before(kept) {
			return false
		}
		t.Logf("%s: not checked, because the pods started too slowly", what)
		return true
	}
	w.pod(t, "shop", "steady-one", steady.Host+"/acme/one")
	w.runs(t, "shop", "steady-one")
	w.pod(t, "shop", "revoking-one", revoking.Host+"/acme/one")
	w.runs(t, "shop", "revoking-one")
	lost := time.Now().Add(pluginLife / 2) // Until then, the kubelet loses it.
	require.Equal(t, map[string]bool{"robot-1": true}, pulledBy(steady, "acme/one"))
	require.Equal(t, map[string]bool{"robot-1": true}, pulledBy(revoking, "acme/one"))

	// A pull secret goes first, and the plugin's credential is used where the registry rejects it.
	w.pod(t, "shop", "right-secret", steady.Host+"/acme/two", "steady-right")
	w.runs(t, "shop", "right-secret")
	require.Equal(t, map[string]bool{"secret": true}, pulledBy(steady, "acme/two"))
	w.pod(t, "shop", "wrong-secret", steady.Host+"/acme/three", "steady-wrong")
	w.runs(t, "shop", "wrong-secret")
	require.Equal(t, map[string]bool{"robot-1": true}, pulledBy(steady, "acme/three"))
	if n := calls(steady); !slow("one call of the plugin for three pods") {
		require.Equal(t, 1, n)
	}

	// KEP-2535. What the plugin's credential pulled is open to each pod of the node, without a request.
	records := readRecords(t, node)
	require.True(t, records[steady.Host+"/acme/one"].NodePodsAccessible)
	require.True(t, records[steady.Host+"/acme/three"].NodePodsAccessible, "the rejected secret is not recorded")
	steady.Registry.ResetRequests()
	w.pod(t, "blog", "open", steady.Host+"/acme/one")
	w.runs(t, "blog", "open")
	require.Empty(t, pulledBy(steady, "acme/one"))
	// What a secret pulled is bound to it. Another pod logs in by the plugin, and that opens the image as well.
	bound := records[steady.Host+"/acme/two"]
	require.False(t, bound.NodePodsAccessible)
	require.Len(t, bound.KubernetesSecrets, 1)
	require.Equal(t, "steady-right", bound.KubernetesSecrets[0].Name)
	w.pod(t, "blog", "bound", steady.Host+"/acme/two")
	w.runs(t, "blog", "bound")
	require.Equal(t, map[string]bool{"robot-1": true}, pulledBy(steady, "acme/two"))
	require.True(t, readRecords(t, node)[steady.Host+"/acme/two"].NodePodsAccessible)

	// The registry rejects the first credential, and the plugin has another one. The kubelet keeps the first.
	profiles("robot-2")
	if slow("the time of the first credentials") {
		lost = time.Now().Add(pluginLife / 2) // They may have been returned again.
	}
	revoking.Registry.SetAccounts(account("robot-2"), account("secret"))
	revoking.Registry.ExpireTokens()
	w.pod(t, "shop", "rejected", revoking.Host+"/acme/two")
	if w.runsOrIsStuck(t, "shop", "rejected") && !slow("a rejected credential") {
		require.Fail(t, "the kubelet called the plugin again after the registry rejected its credential")
	}
	w.pod(t, "shop", "secret-beside", revoking.Host+"/acme/three", "revoking-right")
	w.runs(t, "shop", "secret-beside")
	require.Equal(t, map[string]bool{"secret": true}, pulledBy(revoking, "acme/three"))

	// A plugin that fails keeps no pod from public images. Why it fails is in the kubelet's log.
	w.pod(t, "shop", "public", broken.Host+"/public/one")
	w.runs(t, "shop", "public")
	w.pod(t, "shop", "private", broken.Host+"/acme/one")
	w.isStuck(t, "shop", "private")
	require.GreaterOrEqual(t, calls(broken), 2, "a failure is not kept")
	log, err := os.ReadFile(filepath.Join(node, "kubelet.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "start the issuer")

	if n := calls(revoking); !slow("one call of the plugin for a rejected credential") {
		require.Equal(t, 1, n)
	}
	eventually(t, "the time of the first credentials is over", func(context.Context) bool { return time.Now().After(lost) })
	kept = kept.Add(pluginLife / 2) // None of the next ones was returned before the first ones were lost.
	w.pod(t, "shop", "revoking-four", revoking.Host+"/acme/four")
	w.runs(t, "shop", "revoking-four")
	w.pod(t, "shop", "steady-four", steady.Host+"/acme/four")
	w.runs(t, "shop", "steady-four")
	require.Equal(t, map[string]bool{"robot-2": true}, pulledBy(revoking, "acme/four"))
	require.Equal(t, map[string]bool{"robot-2": true}, pulledBy(steady, "acme/four"))
	require.GreaterOrEqual(t, calls(revoking), 2) // Two pulls at the same instant both call it.
	require.GreaterOrEqual(t, calls(steady), 2)

	// Without the program, a running kubelet goes on with what it kept.
	require.NoError(t, os.Remove(file("bin/plugin")))
	w.policy = corev1.PullAlways
	w.pod(t, "blog", "removed", revoking.Host+"/acme/four")
	if !w.runsOrIsStuck(t, "blog", "removed") && !slow("a removed program") {
		require.Fail(t, "the kubelet does not use what it kept")
	}
}

// pullSecret makes a pull secret with one login.
func (w *world) pullSecret(t *testing.T, namespace, name, host, username, password string) {
	t.Helper()
	config, err := pullsecret.Build(pullsecret.Entry{
		Profile:    registry.Profile{Name: name, Kind: registry.Custom, Endpoint: host, Login: credentials.Login{Username: username, Password: credentials.NewSecret(password)}},
		Credential: credentials.Credential{Username: username, Password: credentials.NewSecret(password)},
	})
	require.NoError(t, err)
	_, err = w.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(config.Reveal())},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// A pulled is how an image came to the node, by the kubelet's record (KEP-2535).
type pulled struct {
	NodePodsAccessible        bool
	KubernetesSecrets         []struct{ Namespace, Name string }
	KubernetesServiceAccounts []struct{ Namespace, Name string }
}

// readRecords returns the kubelet's records of pulled images, by their names.
func readRecords(t *testing.T, node string) map[string]pulled {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(node, "kubelet/image_manager/pulled/*"))
	require.NoError(t, err)
	records := make(map[string]pulled)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var record struct{ CredentialMapping map[string]pulled }
		require.NoError(t, json.Unmarshal(text, &record), string(text))
		for image, by := range record.CredentialMapping {
			records[image] = by
		}
	}
	require.NotEmpty(t, records)
	return records
}
