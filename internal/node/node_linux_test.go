package node

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// A world is the cluster, the registry, and the product between them. Namespaces with the label team are served.
type world struct {
	kubernetes.Interface
	images     *registrytest.Registry
	server     *registrytest.Server
	issuer     *issuer
	controller *kube.Controller
	policy     corev1.PullPolicy // Of the pods.
}

func newWorld(t *testing.T, bin string, issuer *issuer) *world {
	t.Helper()
	images := &registrytest.Registry{
		Dialect:      registrytest.DistributionToken(),
		Public:       []string{"public/*"},
		Accounts:     []registrytest.Account{{Username: "ci", Password: credentials.NewSecret("ci"), Push: []string{"*"}}},
		Authenticate: issuer.account,
	}
	server, err := registrytest.Start(images)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	sleep := program(t)
	for _, repository := range []string{"first", "second", "named", "linked", "unknown"} {
		_, err := images.Add("acme/"+repository, registrytest.Image{
			Platforms: []string{"linux/" + runtime.GOARCH},
			Files:     map[string]string{"sleep": sleep, "name": repository},
		})
		require.NoError(t, err)
	}
	pushPause(t, server, "acme/first", authn.Basic{Username: "ci", Password: "ci"})
	w := &world{images: images, server: server, issuer: issuer, policy: corev1.PullIfNotPresent}

	config, _ := newCluster(t, bin, "", []trusted{{server.Host, server.CA}})
	w.Interface, err = kube.NewClient(config)
	require.NoError(t, err)
	cluster := &kube.Cluster{Client: w.Interface}
	pipeline := &regcred.Pipeline{Provider: providers.Set{registry.Custom: providers.Func(w.issuer.Credential)}}
	target := inject.Target{
		Name: "regcred",
		Profiles: []registry.Profile{{
			Name: "acme", Kind: registry.Custom, Endpoint: server.Host + "/acme", Transport: server.TransportConfig(),
			// It opens the issuer, not the registry.
			Login: credentials.Login{Username: "team", Password: credentials.NewSecret("key")},
		}},
		Namespaces: inject.Selection{Names: []string{"*"}, Labels: func(labels map[string]string) bool {
			_, ok := labels["team"]
			return ok
		}},
		Accounts: inject.Selection{Names: []string{"default"}},
	}
	w.controller = &kube.Controller{
		Cluster: cluster,
		Syncer:  &inject.Syncer{Cluster: cluster, Credential: pipeline.Credential, Check: pipeline.Check},
		Targets: func(context.Context) ([]inject.Target, error) { return []inject.Target{target}, nil },
		OnPass: func(p kube.Pass) {
			if err := errors.Join(p.Err, p.Result.Err()); err != nil {
				t.Log("pass:", err)
			}
		},
	}
	pipeline.Cache.Hooks.Issued = func(credentials.Event) { w.controller.Wake() }
	evictor := &kube.Evictor{Cluster: cluster, OnEvict: func(namespace, pod string, err error) {
		t.Logf("evict %s/%s: %v", namespace, pod, err)
	}}
	background(t, pipeline.Cache.Run)
	background(t, w.controller.Start)
	background(t, evictor.Start)
	return w
}

// background runs f until the test ends.
func background(t *testing.T, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			require.NoError(t, err)
		}
	})
}

// namespace makes one, and waits for its account.
func (w *world) namespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	_, err := w.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "a service account in "+name, func(ctx context.Context) bool {
		_, err := w.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
}

// spec is that of a pod on the node which needs nothing but its image.
func (w *world) spec(image string, pullSecrets ...string) corev1.PodSpec {
	no, now := false, int64(0)
	spec := corev1.PodSpec{
		NodeName: "node", HostNetwork: true, AutomountServiceAccountToken: &no, EnableServiceLinks: &no, TerminationGracePeriodSeconds: &now,
		Containers: []corev1.Container{{Name: "sleep", Image: w.server.Host + "/" + image, Command: []string{"/sleep"}, ImagePullPolicy: w.policy}},
	}
	kube.AddPullSecrets(&spec, pullSecrets...)
	return spec
}

// create makes a pod of the name of its image's last part.
func (w *world) create(t *testing.T, namespace, image string, pullSecrets ...string) (name string) {
	t.Helper()
	name = image[strings.LastIndex(image, "/")+1:]
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: w.spec(image, pullSecrets...)}
	_, err := w.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	return name
}

// pods returns those of the namespace whose names begin so.
func (w *world) pods(ctx context.Context, namespace, prefix string) []corev1.Pod {
	list, err := w.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil // It is asked again.
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return !strings.HasPrefix(p.Name, prefix) })
}

// runs waits until one of the pods whose names begin so runs.
func (w *world) runs(t *testing.T, namespace, prefix string) {
	t.Helper()
	w.comes(t, namespace, prefix, "runs", func(s corev1.ContainerStatus) bool { return s.State.Running != nil })
}

// isStuck waits until one of them has tried to pull, and waits before it tries again.
func (w *world) isStuck(t *testing.T, namespace, prefix string) {
	t.Helper()
	w.comes(t, namespace, prefix, "is stuck", stuck)
}

// runsOrIsStuck waits until one of them runs or is stuck, and reports whether it runs.
func (w *world) runsOrIsStuck(t *testing.T, namespace, prefix string) (runs bool) {
	t.Helper()
	w.comes(t, namespace, prefix, "runs or is stuck", func(s corev1.ContainerStatus) bool {
		runs = s.State.Running != nil
		return runs || stuck(s)
	})
	return runs
}

func stuck(s corev1.ContainerStatus) bool {
	return s.State.Waiting != nil && s.State.Waiting.Reason == "ImagePullBackOff"
}

func (w *world) comes(t *testing.T, namespace, prefix, what string, so func(corev1.ContainerStatus) bool) {
	t.Helper()
	began, last := time.Now(), ""
	defer func() {
		t.Logf("pod %s/%s: %s after %v", namespace, prefix, last, time.Since(began).Round(100*time.Millisecond))
	}()
	eventually(t, fmt.Sprintf("a pod %s/%s that %s", namespace, prefix, what), func(ctx context.Context) bool {
		for _, pod := range w.pods(ctx, namespace, prefix) {
			last = string(pod.Status.Phase) + " " + pod.Status.Message
			for _, status := range pod.Status.ContainerStatuses {
				if status.State.Waiting != nil {
					last = status.State.Waiting.Reason + " " + status.State.Waiting.Message
				}
				if so(status) {
					last = what
					return true
				}
			}
		}
		return false
	})
}

func (w *world) ready(t *testing.T, namespace string, images ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := range images {
		images[i] = w.server.Host + "/" + images[i]
	}
	require.NoError(t, w.controller.EnsureReady(ctx, namespace, "default", images...))
}

// published returns the secret of a namespace, and the credential in it.
func (w *world) published(t *testing.T, namespace string) (*corev1.Secret, credentials.Credential) {
	t.Helper()
	secret, err := w.CoreV1().Secrets(namespace).Get(t.Context(), "regcred", metav1.GetOptions{})
	require.NoError(t, err)
	config, err := pullsecret.Parse(secret.Data[pullsecret.SecretKey])
	require.NoError(t, err)
	image, err := registry.ParseImage(w.server.Host + "/acme/second")
	require.NoError(t, err)
	matches := config.Match(image)
	require.Len(t, matches, 1)
	c := matches[0].Credential
	c.ExpiresAt, err = time.Parse(time.RFC3339, secret.Annotations[inject.AnnotationExpiresAt])
	require.NoError(t, err)
	return secret, c
}

// TestNode starts a node for each test. They wait for the most part, so they go on at the same time.
func TestNode(t *testing.T) {
	bin := needNode(t)
	for name, test := range map[string]func(t *testing.T, bin string){
		"pulls with what the controller published": pullsWithWhatTheControllerPublished,
		"pulls after the token expired":            pullsAfterTheTokenExpired,
		"pulls with the plugin":                    pullsWithThePlugin,
		"keeps what the plugin returned":           keepsWhatThePluginReturned,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, bin)
		})
	}
}

func pullsWithWhatTheControllerPublished(t *testing.T, bin string) {
	w := newWorld(t, bin, &issuer{life: time.Hour})
	w.namespace(t, "shop", map[string]string{"team": "shop"})
	w.namespace(t, "late", nil)
	w.namespace(t, "foreign", nil)

	// The pod names no secret; its account does.
	w.ready(t, "shop", "acme/first")
	w.create(t, "shop", "acme/first")
	w.runs(t, "shop", "first")

	// These are too early. One names the secret that is to come; the other relies on an account that is not linked yet.
	w.create(t, "late", "acme/named", "regcred")
	labels := map[string]string{"app": "linked"}
	_, err := w.AppsV1().ReplicaSets("late").Create(t.Context(), &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: "linked"},
		Spec: appsv1.ReplicaSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: w.spec("acme/linked")},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	// And these get nothing, not even the image that is on the node already.
	w.create(t, "foreign", "acme/first")
	w.create(t, "foreign", "acme/unknown")
	w.isStuck(t, "late", "named")
	w.isStuck(t, "late", "linked")
	w.isStuck(t, "foreign", "first")
	w.isStuck(t, "foreign", "unknown")

	// The old token ends early. Nobody tells but the registry.
	w.revoke()
	w.ready(t, "shop", "acme/second")
	_, second := w.published(t, "shop")
	require.Equal(t, "robot-2", second.Username)
	w.create(t, "shop", "acme/second")
	w.runs(t, "shop", "second")

	// The secret comes, and those that were stuck recover.
	late, err := w.CoreV1().Namespaces().Get(t.Context(), "late", metav1.GetOptions{})
	require.NoError(t, err)
	late.Labels["team"] = "late"
	_, err = w.CoreV1().Namespaces().Update(t.Context(), late, metav1.UpdateOptions{})
	require.NoError(t, err)
	w.runs(t, "late", "named")
	w.runs(t, "late", "linked")

	for _, pod := range w.pods(t.Context(), "foreign", "") {
		require.Equal(t, corev1.PodPending, pod.Status.Phase, pod.Name)
	}
}
