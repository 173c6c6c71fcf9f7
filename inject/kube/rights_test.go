package kube_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// withRights returns the config of a client that has only these roles of rbac.yaml.
func withRights(t *testing.T, roles ...string) *rest.Config {
	t.Helper()
	admin, err := kubernetes.NewForConfig(needAPI(t))
	require.NoError(t, err)
	manifest, err := os.ReadFile("rbac.yaml")
	require.NoError(t, err)
	user := strings.Join(roles, "+")
	var bound []rbacv1.ClusterRole
	for text := range strings.SplitSeq(string(manifest), "\n---\n") {
		var role rbacv1.ClusterRole
		require.NoError(t, yaml.UnmarshalStrict([]byte(text), &role))
		if !slices.Contains(roles, role.Name) {
			continue
		}
		bound = append(bound, role)
		if _, err := admin.RbacV1().ClusterRoles().Create(t.Context(), &role, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
			require.NoError(t, err)
		}
		_, err := admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	require.Len(t, bound, len(roles), "some of the roles are not in rbac.yaml")
	config := rest.CopyConfig(needAPI(t))
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	for _, role := range bound {
		granted(t, client, "", role.Rules)
	}
	return config
}

// granted waits until the API server permits all that is in these rules to the user of the client: the authorizer
// watches roles and their bindings, and denies for a moment after they are created. Another role may grant a part.
func granted(t *testing.T, client kubernetes.Interface, namespace string, rules []rbacv1.PolicyRule) {
	t.Helper()
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, name := range names {
						allowed(t, client, authorizationv1.ResourceAttributes{Namespace: namespace, Group: group, Resource: resource, Verb: verb, Name: name})
					}
				}
			}
		}
	}
}

// allowed waits until the API server permits that to the user of the client. The resource may have a subresource.
func allowed(t *testing.T, client kubernetes.Interface, what authorizationv1.ResourceAttributes) {
	t.Helper()
	what.Resource, what.Subresource, _ = strings.Cut(what.Resource, "/")
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
		require.NoError(t, err)
		if answer.Status.Allowed {
			return
		}
		require.True(t, time.Now().Before(deadline), "the API server did not grant %v within a minute", what)
	}
}
