package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/helper"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/accounts"
)

// pullsWithThePlugin has a kubelet call examples/node as its credential provider plugin. No secret is in the cluster. One
// registry opens to the login of a profile. The other one is a System registry, which opens to the tokens of the pods'
// accounts, whose keys it has from the API server: nothing is stored on the node either.
func pullsWithThePlugin(t *testing.T, bin string) {
	images := &registrytest.Registry{
		Dialect: registrytest.DistributionToken(),
		Public:  []string{"public/*"},
		Accounts: []registrytest.Account{
			{Username: "ci", Password: credentials.NewSecret("ci"), Push: []string{"*"}},
			{Username: "node", Password: credentials.NewSecret("secret-of-node"), Pull: []string{"stored/*"}},
		},
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
	keys := &cluster{}
	system := startSystem(t, keys)
	for _, repository := range []string{"shop/app", "blog/app"} {
		system.copy(t, server, repository)
	}

	dir, audience := t.TempDir(), "https://"+system.host
	pod := registry.Profile{Name: "pod", Kind: registry.System, Endpoint: system.host, Login: credentials.Login{
		Federated: &credentials.FederatedLogin{
			Subject:  credentials.Subject{Source: helper.Pod, Audience: audience},
			Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}},
		},
	}}
	stored := registry.Profile{Name: "stored", Kind: registry.Custom, Endpoint: server.Host + "/stored", Login: credentials.Login{
		Username: "node", Password: credentials.NewSecret("secret-of-node"),
	}}
	profiles, err := json.Marshal([]any{
		map[string]any{"name": "pod", "kind": "system", "endpoint": system.host, "login": map[string]any{"federated": map[string]any{
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

	admin, node := newCluster(t, bin, "", []trusted{{server.Host, server.CA}, {system.host, system.ca}},
		"--image-credential-provider-config="+filepath.Join(dir, "providers.json"), "--image-credential-provider-bin-dir="+plugins)
	w := &world{images: images, server: server, policy: corev1.PullAlways}
	w.Interface, err = kubernetes.NewForConfig(admin)
	require.NoError(t, err)
	keys.set(w.Interface)
	w.namespace(t, "shop", nil)
	w.namespace(t, "blog", nil)

	// The profile's login opens what is under its path, without a pull secret and without a token.
	w.create(t, "shop", "stored/app")
	w.runs(t, "shop", "app")
	require.Contains(t, w.pulledBy("stored/app"), "node")

	// A node may not request tokens for the registry until the role that package helper writes is there.
	w.pod(t, "shop", "early", system.host+"/shop/app")
	w.isStuck(t, "shop", "early")
	role, err := helper.AudienceRole("regcred-audiences", config.Audiences()...)
	require.NoError(t, err)
	apply(t, w.Interface, role)
	w.runs(t, "shop", "early")

	// Each account gets its own: that of another namespace does not open the repository, although the node has the image.
	w.policy = corev1.PullIfNotPresent
	w.pod(t, "blog", "own", system.host+"/blog/app")
	w.runs(t, "blog", "own")
	w.pod(t, "blog", "foreign", system.host+"/shop/app")
	w.isStuck(t, "blog", "foreign")

	// The kubelet binds what was pulled to the account (KEP-2535), but opens what the profile's login pulled to all pods.
	records := readRecords(t, node)
	shop := records[system.host+"/shop/app"]
	require.False(t, shop.NodePodsAccessible)
	require.Len(t, shop.KubernetesServiceAccounts, 1)
	require.Equal(t, "shop", shop.KubernetesServiceAccounts[0].Namespace)
	require.True(t, records[server.Host+"/stored/app"].NodePodsAccessible)

	// Nothing is stored: no secret in the cluster, and no token on the node.
	secrets, err := w.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, secrets.Items)
	files, err := os.ReadFile(filepath.Join(dir, "profiles.json"))
	require.NoError(t, err)
	require.NotContains(t, string(files), "eyJ")
}

// pod makes a pod of that name from an image of any registry.
func (w *world) pod(t *testing.T, namespace, name, image string, pullSecrets ...string) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: w.spec("", pullSecrets...)}
	pod.Spec.Containers[0].Image = image
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

// A cluster is the way to the API server's keys for a registry that starts before it.
type cluster struct {
	mu     sync.Mutex
	client kubernetes.Interface
}

func (c *cluster) set(client kubernetes.Interface) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client = client
}

// RoundTrip returns what the API server has at the path.
func (c *cluster) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	client := c.client
	c.mu.Unlock()
	if client == nil {
		return nil, errors.New("there is no cluster yet")
	}
	text, err := client.CoreV1().RESTClient().Get().AbsPath(r.URL.Path).DoRaw(r.Context())
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(text)), Request: r,
	}, nil
}

// A system is a System registry that runs until the test ends.
type system struct{ host, ca string }

const systemPassword = "password of root"

// startSystem has each namespace pull what is below its name, by the token of its default account.
func startSystem(t *testing.T, keys *cluster) system {
	t.Helper()
	logrus.SetLevel(logrus.PanicLevel) // Distribution logs each request there.
	host := "127.0.0.1:" + testtool.FreePort(t)
	ready := make(chan systemregistry.Ready, 1)
	server := systemregistry.Server{
		Dir: t.TempDir(), Addr: host, Admin: "root", AdminPassword: credentials.NewSecret(systemPassword),
		OnReady: func(r systemregistry.Ready) { ready <- r },
		Issuers: []accounts.Issuer{{
			URL: clusterIssuer, KeysURL: clusterIssuer + "/openid/v1/jwks", Client: &http.Client{Transport: keys}, Audience: "https://" + host,
			Subjects: []accounts.Subject{{
				Pattern: "system:serviceaccount:{tenant}:default",
				Rules:   []accounts.Rule{{Repositories: "**", Actions: []accounts.Action{accounts.Pull}}},
			}},
		}},
	}
	background(t, server.Run)
	select {
	case r := <-ready:
		return system{host, r.CA}
	case <-time.After(patience):
		require.FailNow(t, "the System registry did not start")
		return system{}
	}
}

// copy pushes an image of another registry.
func (s system) copy(t *testing.T, from *registrytest.Server, repository string) {
	t.Helper()
	source, err := name.ParseReference(from.Host + "/" + repository)
	require.NoError(t, err)
	image, err := remote.Image(source, remote.WithAuth(&authn.Basic{Username: "ci", Password: "ci"}), remote.WithTransport(from.Client().Transport),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	require.NoError(t, err)
	target, err := name.ParseReference(s.host + "/" + repository)
	require.NoError(t, err)
	transport, err := registry.TransportConfig{CABundle: s.ca}.HTTP()
	require.NoError(t, err)
	defer transport.CloseIdleConnections()
	require.NoError(t, remote.Write(target, image, remote.WithAuth(&authn.Basic{Username: "root", Password: systemPassword}), remote.WithTransport(transport)))
}
