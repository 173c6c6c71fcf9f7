package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry"
)

// puller creates an account in a namespace of its own, and a client that may request tokens of that account only.
func puller(t *testing.T, namespace string) (program kubernetes.Interface, trust issuertest.Trust) {
	t.Helper()
	admin, err := kubernetes.NewForConfig(needAPI(t))
	require.NoError(t, err)
	_, err = admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	require.NoError(t, err)
	for _, name := range []string{"puller", "other"} {
		_, err = admin.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	role := kube.SubjectRole(namespace, "tokens", "puller", "missing")
	_, err = admin.RbacV1().Roles(namespace).Create(t.Context(), role, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = admin.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "tokens"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "program-" + namespace}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	config := rest.CopyConfig(needAPI(t))
	config.Impersonate = rest.ImpersonationConfig{UserName: "program-" + namespace}
	program, err = kubernetes.NewForConfig(config)
	require.NoError(t, err)
	granted(t, program, namespace, role.Rules)

	// A server that trusts the cluster knows its issuer and keys.
	var discovery struct {
		Issuer string `json:"issuer"`
	}
	text, err := admin.RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(t.Context())
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &discovery))
	return program, issuertest.Trust{
		Issuer: discovery.Issuer, Subject: "system:serviceaccount:" + namespace + ":puller",
		Keys: func() ([]byte, error) { return admin.RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(t.Context()) },
	}
}

func account(namespace, name string) credentials.Subject {
	return credentials.Subject{Kubernetes: &credentials.ServiceAccount{Namespace: namespace, Name: name}}
}

func TestSubjects(t *testing.T) {
	const namespace = "subjects"
	program, trust := puller(t, namespace)
	subjects := &kube.Subjects{Client: program}
	request := func(tenant string, s credentials.Subject) providers.SubjectRequest {
		return providers.SubjectRequest{Profile: registry.Profile{Tenant: tenant}, Subject: s, Audience: "https://quay.example.com", Lifetime: 20 * time.Minute}
	}
	token, err := subjects.SubjectToken(t.Context(), request("", account(namespace, "puller")))
	require.NoError(t, err)
	trust.Audiences = []string{"https://quay.example.com"}
	read, err := trust.Verify(token.Reveal())
	require.NoError(t, err, "the API server's own key signed it")
	require.Equal(t, trust.Audiences, read.Audience)
	require.WithinDuration(t, time.Now().Add(20*time.Minute), read.ExpiresAt, 10*time.Second)

	elsewhere := account(namespace, "puller")
	elsewhere.Kubernetes.Cluster = "elsewhere"
	for name, test := range map[string]struct {
		request providers.SubjectRequest
		code    registry.Code
	}{
		"an account that the role does not name": {request("", account(namespace, "other")), registry.ErrDenied},
		"another namespace":                      {request("", account("default", "default")), registry.ErrDenied},
		"no such account":                        {request("", account(namespace, "missing")), registry.ErrNoIdentity},
		"no namespace":                           {request("", account("", "puller")), registry.ErrInvalid},
		"an unknown cluster":                     {request("", elsewhere), registry.ErrNoIdentity},
		"a file":                                 {request("", credentials.Subject{File: "/token"}), registry.ErrNoIdentity},
		"a tenant":                               {request("acme", account(namespace, "puller")), registry.ErrDenied},
		"no audience":                            {providers.SubjectRequest{Subject: account(namespace, "puller")}, registry.ErrInvalid},
	} {
		_, err := subjects.SubjectToken(t.Context(), test.request)
		require.ErrorIs(t, err, test.code, name)
		require.NotEmpty(t, registry.CodeOf(err), name)
	}

	subjects.Allow = func(tenant string, a credentials.ServiceAccount) bool {
		return tenant == "acme" && a.Namespace == namespace
	}
	_, err = subjects.SubjectToken(t.Context(), request("acme", account(namespace, "puller")))
	require.NoError(t, err)
	_, err = subjects.SubjectToken(t.Context(), request("evil", account(namespace, "puller")))
	require.ErrorIs(t, err, registry.ErrDenied)
	require.ErrorContains(t, err, `tenant "evil" may not use this account`)
}

// If ctx has ended, the error says so, and does not blame the rate.
func TestSubjectsWithoutTime(t *testing.T) {
	why := errors.New("the caller has no more time")
	late, cancel := context.WithDeadlineCause(t.Context(), time.Now().Add(-time.Second), why)
	defer cancel()
	s := &kube.Subjects{Client: fake.NewClientset()}
	_, err := s.SubjectToken(late, providers.SubjectRequest{Subject: account("shop", "puller"), Audience: "https://quay.example.com"})
	require.ErrorIs(t, err, registry.ErrCanceled)
	require.ErrorIs(t, err, why)
	require.NotContains(t, err.Error(), "more requests")
	require.Equal(t, registry.ErrCanceled, registry.CodeOf(err))

	synctest.Test(t, func(t *testing.T) { // It ends while the request waits for its turn.
		s := &kube.Subjects{Client: fake.NewClientset(), Rate: 0.5, Burst: 1}
		ctx, cancel := context.WithCancelCause(t.Context())
		request := providers.SubjectRequest{Subject: account("shop", "puller"), Audience: "https://quay.example.com"}
		_, err := s.SubjectToken(ctx, request)
		require.NotErrorIs(t, err, registry.ErrCanceled)
		time.AfterFunc(time.Second, func() { cancel(why) })
		_, err = s.SubjectToken(ctx, request)
		require.ErrorIs(t, err, why)
		require.Equal(t, registry.ErrCanceled, registry.CodeOf(err))
	})
}
