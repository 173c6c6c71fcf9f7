package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/examples/operator/api/v1alpha1"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry/registrytest"
)

const home = "regcred-system"

// A world is a real API with a running operator that has only the rights in config, and a registry that requires a
// login.
type world struct {
	client.Client // An administrator's.
	t             *testing.T
	hub           *registrytest.Server
	tokens        issuertest.Trust // Verifies the tokens of the API's service accounts.
	metrics       *prometheus.Registry
}

func newWorld(t *testing.T, changes ...func(*Config)) *world {
	t.Helper()
	folder, why := testtool.ControlPlane()
	if why != nil {
		testtool.Missing(t, why.Error())
	}
	environment := &envtest.Environment{BinaryAssetsDirectory: folder, CRDDirectoryPaths: []string{"../../config/crd"}, ErrorIfCRDPathMissing: true}
	config, err := environment.Start()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, environment.Stop()) })

	s := Scheme()
	require.NoError(t, rbacv1.AddToScheme(s))
	w := &world{t: t, metrics: prometheus.NewRegistry()}
	w.Client, err = client.New(config, client.Options{Scheme: s})
	require.NoError(t, err)
	for _, file := range []string{"namespace.yaml", "rbac.yaml", "evict/rbac.yaml", "keyless/rbac.yaml"} {
		for _, object := range w.objects(file) {
			require.NoError(t, w.Create(t.Context(), object))
		}
	}
	hub := &registrytest.Registry{Dialect: registrytest.Harbor()}
	hub.Authenticate = func(username string, password credentials.Secret) (registrytest.Account, bool) {
		_, err := w.tokens.Verify(password.Reveal())
		return registrytest.Account{Username: username, Pull: []string{"*"}}, err == nil
	}
	w.hub, err = registrytest.Start(hub)
	require.NoError(t, err)
	t.Cleanup(w.hub.Close)
	w.trust(config)
	w.password("first")

	restricted := rest.CopyConfig(config)
	restricted.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + home + ":regcred-operator"}
	operatorConfig := Config{API: restricted, Namespace: home, Evict: true, Metrics: w.metrics}
	for _, change := range changes {
		change(&operatorConfig)
	}
	mgr, err := NewManager(operatorConfig, ctrl.Options{
		LeaderElection: true, LeaderElectionID: "regcred", LeaderElectionNamespace: home, LeaderElectionReleaseOnCancel: true,
		// The defaults are 15 and 10 seconds. If the machine pauses for longer, Start returns an error.
		LeaseDuration: new(2 * time.Minute), RenewDeadline: new(100 * time.Second),
		Metrics: server.Options{BindAddress: "0"},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
	return w
}

// trust lets the registry accept the tokens of all service accounts that are for it.
func (w *world) trust(config *rest.Config) {
	w.t.Helper()
	api, err := kubernetes.NewForConfig(config)
	require.NoError(w.t, err)
	keys := func() ([]byte, error) {
		return api.RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(context.Background())
	}
	text, err := api.RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(w.t.Context())
	require.NoError(w.t, err)
	var discovery struct {
		Issuer string `json:"issuer"`
	}
	require.NoError(w.t, json.Unmarshal(text, &discovery))
	w.tokens = issuertest.Trust{
		Issuer: discovery.Issuer, Keys: keys, Audiences: []string{"https://" + w.hub.Host}, Subject: "system:serviceaccount:*",
	}
}

// objects returns the objects in a file of config.
func (w *world) objects(file string) []client.Object {
	w.t.Helper()
	data, err := os.ReadFile("../../config/" + file)
	require.NoError(w.t, err)
	var list []client.Object
	for text := range strings.SplitSeq(string(data), "\n---\n") {
		var kind metav1.TypeMeta
		require.NoError(w.t, yaml.Unmarshal([]byte(text), &kind))
		object, err := w.Scheme().New(kind.GroupVersionKind())
		require.NoError(w.t, err)
		require.NoError(w.t, yaml.UnmarshalStrict([]byte(text), object))
		list = append(list, object.(client.Object))
	}
	return list
}

// password sets the only password that the registry accepts from now on, and the password of the profiles' login.
func (w *world) password(text string) {
	w.t.Helper()
	w.hub.Registry.SetAccounts(registrytest.Account{Username: "robot", Password: credentials.NewSecret(text), Pull: []string{"*"}})
	w.login(text)
}

func (w *world) login(password string) {
	w.t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "shop-login"},
		StringData: map[string]string{"username": "robot", "password": password},
	}
	if err := w.Create(w.t.Context(), secret); err != nil {
		require.NoError(w.t, w.Update(w.t.Context(), secret))
	}
}

func (w *world) profile(change func(*v1alpha1.RegistryProfileSpec)) *v1alpha1.RegistryProfile {
	p := &v1alpha1.RegistryProfile{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: v1alpha1.RegistryProfileSpec{
			Kind: "custom", Endpoint: w.hub.Host, CABundle: w.hub.CA,
			Login:      v1alpha1.Login{SecretName: "shop-login"},
			Namespaces: v1alpha1.Namespaces{Names: []string{"shop-*"}},
		},
	}
	change(&p.Spec)
	return p
}

// change changes the spec of the profile, and returns its new generation. The operator writes the status meanwhile.
func (w *world) change(f func(*v1alpha1.RegistryProfileSpec)) (generation int64) {
	w.t.Helper()
	require.NoError(w.t, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		var p v1alpha1.RegistryProfile
		if err := w.Get(w.t.Context(), client.ObjectKey{Name: "shop"}, &p); err != nil {
			return err
		}
		f(&p.Spec)
		err := w.Update(w.t.Context(), &p)
		generation = p.Generation
		return err
	}))
	return generation
}

func (w *world) namespace(name string, labels map[string]string) {
	w.t.Helper()
	require.NoError(w.t, w.Create(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}))
	for _, account := range []string{"default", "puller"} { // No controller manager is running that would create the first.
		require.NoError(w.t, w.Create(w.t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: account}}))
	}
}

// published returns the content of the secret "shop" in a namespace; "" if there is no secret, or it is not linked.
func (w *world) published(namespace string) string {
	w.t.Helper()
	config := w.secret(namespace, "shop")
	if len(config.Keys()) == 0 {
		return ""
	}
	return string(config.Reveal())
}

// secret returns the content of a secret; none if there is no secret, or it is not linked.
func (w *world) secret(namespace, name string) (config pullsecret.Config) {
	w.t.Helper()
	linked := func() bool {
		var account corev1.ServiceAccount
		require.NoError(w.t, w.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: "default"}, &account))
		return slices.Contains(account.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	before := linked()
	var secret corev1.Secret
	err := w.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &secret)
	require.NoError(w.t, client.IgnoreNotFound(err))
	// The operator may have removed both between the two requests.
	require.False(w.t, before && err != nil && linked(), "a link without a secret")
	if err != nil || !before {
		return config
	}
	config, err = pullsecret.Parse(secret.Data[pullsecret.SecretKey])
	require.NoError(w.t, err)
	return config
}

func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	require.Eventually(w.t, f, 3*time.Minute, 20*time.Millisecond, what)
}

func (w *world) status() v1alpha1.RegistryProfileStatus {
	var p v1alpha1.RegistryProfile
	require.NoError(w.t, w.Get(w.t.Context(), client.ObjectKey{Name: "shop"}, &p))
	return p.Status
}

func (w *world) becomes(status metav1.ConditionStatus, reason string, secrets int) {
	w.t.Helper()
	var last v1alpha1.RegistryProfileStatus
	require.Eventually(w.t, func() bool {
		last = w.status()
		c := meta.FindStatusCondition(last.Conditions, "Ready")
		return c != nil && c.Status == status && c.Reason == reason && last.Secrets == secrets
	}, 3*time.Minute, 20*time.Millisecond, "%s, not %s with %d secrets", fmt.Sprint(last), reason, secrets)
}
