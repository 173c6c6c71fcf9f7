package kube_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
	bound := 0
	for text := range strings.SplitSeq(string(manifest), "\n---\n") {
		var role rbacv1.ClusterRole
		require.NoError(t, yaml.UnmarshalStrict([]byte(text), &role))
		if !slices.Contains(roles, role.Name) {
			continue
		}
		bound++
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
	require.Len(t, roles, bound, "some of the roles are not in rbac.yaml")
	config := rest.CopyConfig(needAPI(t))
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	return config
}
