package kube_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// withRights returns the way to the API of somebody who has just the rights that docs/kubernetes.md asks for.
func withRights(t *testing.T) *rest.Config {
	t.Helper()
	admin, err := kubernetes.NewForConfig(needAPI(t))
	require.NoError(t, err)
	guide, err := os.ReadFile("../../docs/kubernetes.md")
	require.NoError(t, err)
	_, text, found := strings.Cut(string(guide), "```yaml\n")
	require.True(t, found)
	text, _, _ = strings.Cut(text, "```")
	var role rbacv1.ClusterRole
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &role))
	_, err = admin.RbacV1().ClusterRoles().Create(t.Context(), &role, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "regcred"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	config := rest.CopyConfig(needAPI(t))
	config.Impersonate = rest.ImpersonationConfig{UserName: "regcred"}
	return config
}
