package operator

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regcred/regcred/examples/operator/api/v1alpha1"
)

// The operator uses exactly the rights that config grants.
func TestRights(t *testing.T) {
	var used rights
	w := newWorld(t, func(c *Config) { c.API = used.record(c.API) })
	w.namespace("shop-1", nil)
	w.stuckPod("shop-1")
	require.NoError(t, w.Create(t.Context(), w.profile(func(*v1alpha1.RegistryProfileSpec) {})))
	w.becomes(metav1.ConditionTrue, "Published", 1)
	w.eventually("the pod is evicted", func() bool {
		return apierrors.IsNotFound(w.Get(t.Context(), client.ObjectKey{Namespace: "shop-1", Name: "stuck"}, &corev1.Pod{}))
	})
	w.login("wrong")
	w.becomes(metav1.ConditionFalse, "Unauthorized", 1)
	w.password("second")
	w.becomes(metav1.ConditionTrue, "Published", 1)
	w.change(func(s *v1alpha1.RegistryProfileSpec) { s.Login = serviceAccount("shop-1", "puller") })
	w.eventually("a token is requested", func() bool { return used.all()[right("create", "", "serviceaccounts/token")] })
	require.NoError(t, w.Delete(t.Context(), w.profile(func(*v1alpha1.RegistryProfileSpec) {})))
	w.eventually("all is gone", func() bool { return w.published("shop-1") == "" })

	given := make(map[string]bool)
	for _, file := range []string{"rbac.yaml", "evict/rbac.yaml", "keyless/rbac.yaml"} {
		for _, object := range w.objects(file) {
			var rules []rbacv1.PolicyRule
			switch role := object.(type) {
			case *rbacv1.ClusterRole:
				rules = role.Rules
			case *rbacv1.Role:
				rules = role.Rules
			}
			for _, rule := range rules {
				require.Len(t, rule.APIGroups, 1)
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						given[right(verb, rule.APIGroups[0], resource)] = true
					}
				}
			}
		}
	}
	// The last requests, such as the event for the last condition, may be in progress.
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.Equal(c, given, used.all()) }, time.Minute, 20*time.Millisecond)
}

// stuckPod creates a pod that is older than its pull secret.
func (w *world) stuckPod(namespace string) {
	w.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "stuck",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "app", UID: "app", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: "default",
			Containers:         []corev1.Container{{Name: "app", Image: w.hub.Host + "/app"}},
		},
	}
	require.NoError(w.t, w.Create(w.t.Context(), pod))
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}},
	}}}
	require.NoError(w.t, w.Status().Update(w.t.Context(), pod))
}

// Rights are the rights that a client has used.
type rights struct {
	mu   sync.Mutex
	used map[string]bool
}

func right(verb, group, resource string) string { return verb + " " + group + "/" + resource }

func (r *rights) all() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]bool)
	for right := range r.used {
		all[right] = true
	}
	return all
}

// record returns a config for the API that records the used rights.
func (r *rights) record(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if right := rightFor(request); right != "" {
				r.mu.Lock()
				if r.used == nil {
					r.used = make(map[string]bool)
				}
				r.used[right] = true
				r.mu.Unlock()
			}
			return next.RoundTrip(request)
		})
	})
	return config
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// rightFor returns the right that a request needs; "" for a discovery request, which every client may send. See
// https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb.
func rightFor(request *http.Request) string {
	path := strings.Split(strings.Trim(request.URL.Path, "/"), "/")
	group := ""
	if path[0] == "apis" && len(path) > 1 {
		group, path = path[1], path[1:]
	}
	path = path[min(2, len(path)):] // Without the parts before the version, and the version.
	if len(path) > 2 && path[0] == "namespaces" {
		path = path[2:]
	}
	if len(path) == 0 {
		return ""
	}
	resource := path[0]
	if len(path) > 2 {
		resource += "/" + path[2]
	}
	verb := map[string]string{
		http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete", http.MethodGet: "get",
	}[request.Method]
	if verb == "get" && len(path) == 1 {
		verb = "list"
		if request.URL.Query().Get("watch") == "true" {
			verb = "watch"
		}
	}
	return right(verb, group, resource)
}
