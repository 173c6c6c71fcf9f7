package node

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/helper"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// pullsWithThePlugin has a kubelet call examples/node as its credential provider plugin. No secret is in the cluster. The
// login of a profile opens one repository. The other one opens to the tokens of pods' accounts alone, which the registry
// verifies by the API server's keys, as a System registry does: nothing is stored on the node either.
func pullsWithThePlugin(t *testing.T, bin string) {
	trusted := &trust{}
	images := &registrytest.Registry{
		Dialect: registrytest.DistributionToken(),
		Public:  []string{"public/*"},
		Accounts: []registrytest.Account{
			{Username: "ci", Password: credentials.NewSecret("ci"), Push: []string{"*"}},
			{Username: "node", Password: credentials.NewSecret("secret-of-node"), Pull: []string{"stored/*"}},
		},
		Authenticate: trusted.account,
	}
	server, err := registrytest.Start(images)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	sleep := program(t)
	for _, repository := range []string{"stored/app", "shop/app", "blog/app", "acme/first"} {
		_, err := images.Add(repository, registrytest.Image{
			Platforms: []string{"linux/" + runtime.GOARCH}, Files: map[string]string{"sleep": sleep, "name": repository},
		})
		require.NoError(t, err)
	}
	pushPause(t, server, "acme/first", authn.Basic{Username: "ci", Password: "ci"})

	dir, audience := t.TempDir(), "https://"+server.Host
	pod := registry.Profile{Name: "pod", Kind: registry.Custom, Endpoint: server.Host, Login: credentials.Login{
		Federated: &credentials.FederatedLogin{
			Subject:  credentials.Subject{Source: helper.Pod, Audience: audience},
			Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}},
		},
	}}
	stored := registry.Profile{Name: "stored", Kind: registry.Custom, Endpoint: server.Host + "/stored", Login: credentials.Login{
		Username: "node", Password: credentials.NewSecret("secret-of-node"),
	}}
	profiles, err := json.Marshal([]any{
		map[string]any{"name": "pod", "kind": "custom", "endpoint": server.Host, "login": map[string]any{"federated": map[string]any{
			"subject": map[string]any{"source": "pod", "audience": audience}, "exchange": map[string]any{"password": map[string]any{}},
		}}},
		map[string]any{"name": "stored", "kind": "custom", "endpoint": server.Host + "/stored", "login": map[string]any{"username": "node", "password": "secret-of-node"}},
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "profiles.json"), profiles, 0o600))
	config := helper.KubeletConfig{
		Name: "regcred-credential-provider", Args: []string{"-profiles", filepath.Join(dir, "profiles.json"), "-cache", "off"},
		Profiles: []registry.Profile{pod, stored},
	}
	text, err := config.JSON()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "providers.json"), text, 0o600))
	plugins := filepath.Join(dir, "bin")
	require.NoError(t, os.Mkdir(plugins, 0o700))
	build := exec.Command("go", "build", "-o", filepath.Join(plugins, config.Name), "github.com/regcred/regcred/examples/node")
	build.Dir = "../.."
	output, err := build.CombinedOutput()
	require.NoError(t, err, string(output))
	require.NoError(t, os.Link(filepath.Join(plugins, config.Name), filepath.Join(plugins, config.Name+"-1")))

	admin := newCluster(t, bin, server,
		"--image-credential-provider-config="+filepath.Join(dir, "providers.json"), "--image-credential-provider-bin-dir="+plugins)
	w := &world{images: images, server: server, policy: corev1.PullAlways}
	w.Interface, err = kubernetes.NewForConfig(admin)
	require.NoError(t, err)
	trusted.trust(t, w.Interface, audience)
	w.namespace(t, "shop", nil)
	w.namespace(t, "blog", nil)

	// The profile's login opens what is under its path, without a pull secret and without a token.
	w.create(t, "shop", "stored/app")
	w.runs(t, "shop", "app")
	require.Contains(t, w.pulledBy("stored/app"), "node")

	// A node may not request tokens for the registry until the role that package helper writes is there.
	w.pod(t, "shop", "early", "shop/app")
	w.isStuck(t, "shop", "early")
	role, err := helper.AudienceRole("regcred-audiences", config.Audiences()...)
	require.NoError(t, err)
	apply(t, w.Interface, role)
	w.runs(t, "shop", "early")
	require.Contains(t, w.pulledBy("shop/app"), "system:serviceaccount:shop:default", "the node pulled as the pod's account")

	// Each account gets its own: that of another namespace does not open the repository.
	w.pod(t, "blog", "own", "blog/app")
	w.runs(t, "blog", "own")
	require.Contains(t, w.pulledBy("blog/app"), "system:serviceaccount:blog:default")
	w.pod(t, "blog", "foreign", "shop/app")
	w.isStuck(t, "blog", "foreign")

	// Nothing is stored: no secret in the cluster, and no token on the node.
	secrets, err := w.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, secrets.Items)
	files, err := os.ReadFile(filepath.Join(dir, "profiles.json"))
	require.NoError(t, err)
	require.NotContains(t, string(files), "eyJ")
}

// pod makes a pod of that name.
func (w *world) pod(t *testing.T, namespace, name, image string) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: w.spec(image)}
	_, err := w.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
}

// apply makes the role and the binding of a list.
func apply(t *testing.T, client kubernetes.Interface, list []byte) {
	t.Helper()
	var parts struct{ Items []json.RawMessage }
	require.NoError(t, json.Unmarshal(list, &parts))
	require.Len(t, parts.Items, 2)
	var role rbacv1.ClusterRole
	require.NoError(t, json.Unmarshal(parts.Items[0], &role))
	_, err := client.RbacV1().ClusterRoles().Create(t.Context(), &role, metav1.CreateOptions{})
	require.NoError(t, err)
	var binding rbacv1.ClusterRoleBinding
	require.NoError(t, json.Unmarshal(parts.Items[1], &binding))
	_, err = client.RbacV1().ClusterRoleBindings().Create(t.Context(), &binding, metav1.CreateOptions{})
	require.NoError(t, err)
}

// A trust accepts the tokens of a cluster's service accounts as passwords. It trusts no cluster at first.
type trust struct {
	mu sync.Mutex
	of *issuertest.Trust
}

func (tr *trust) trust(t *testing.T, client kubernetes.Interface, audience string) {
	t.Helper()
	get := func(ctx context.Context, path string) ([]byte, error) {
		return client.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	}
	text, err := get(t.Context(), "/.well-known/openid-configuration")
	require.NoError(t, err)
	var discovery struct{ Issuer string }
	require.NoError(t, json.Unmarshal(text, &discovery))
	keys, err := get(t.Context(), "/openid/v1/jwks")
	require.NoError(t, err)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.of = &issuertest.Trust{Issuer: discovery.Issuer, Keys: func() ([]byte, error) { return keys, nil }, Audiences: []string{audience}}
}

// account opens to an account the repositories under the name of its namespace.
func (tr *trust) account(_ string, password credentials.Secret) (registrytest.Account, bool) {
	tr.mu.Lock()
	of := tr.of
	tr.mu.Unlock()
	if of == nil {
		return registrytest.Account{}, false
	}
	token, err := of.Verify(password.Reveal())
	parts := strings.Split(token.Subject, ":")
	if err != nil || len(parts) != 4 {
		return registrytest.Account{}, false
	}
	return registrytest.Account{Username: token.Subject, ExpiresAt: token.ExpiresAt, Pull: []string{parts[2] + "/*"}}, true
}
