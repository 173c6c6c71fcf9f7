package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry/registrytest"
)

// Objects are added, broken and deleted on a real API; the pull secrets of other objects stay.
func TestObjects(t *testing.T) {
	folder, why := testtool.ControlPlane()
	if why != nil {
		testtool.Missing(t, why.Error())
	}
	environment := &envtest.Environment{BinaryAssetsDirectory: folder}
	config, err := environment.Start()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, environment.Stop()) })
	hub, err := registrytest.StartPlainHTTP(&registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "robot", Password: credentials.NewSecret("s3cret"), Pull: []string{"*"}}},
	})
	require.NoError(t, err)
	t.Cleanup(hub.Close)

	api, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	for _, name := range []string{objectNamespace, "shop", "blog"} {
		_, err := api.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	profile := func(name, password string) string {
		return fmt.Sprintf(`{"name":%q,"kind":"custom","endpoint":%q,"transport":{"plainHTTP":true},"login":{"username":"robot","password":%q}}`, name, hub.Host+"/"+name, password)
	}
	object := func(name, content string) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{objectLabel: "true"}, Annotations: map[string]string{namespacesAnnotation: name}},
			Data:       map[string][]byte{profileKey: []byte(content)},
		}
	}
	objects := api.CoreV1().Secrets(objectNamespace)
	_, err = objects.Create(t.Context(), object("shop", profile("shop", "s3cret")), metav1.CreateOptions{})
	require.NoError(t, err)

	mgr, err := ctrl.NewManager(config, ctrl.Options{Logger: testr.New(t), Metrics: server.Options{BindAddress: "0"}, Cache: objectsInCache()})
	require.NoError(t, err)
	controller, err := keepPerObject(mgr, config)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})

	exists := func(namespace, name string) bool {
		_, err := api.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			require.True(t, apierrors.IsNotFound(err), "%v", err)
		}
		return err == nil
	}
	status := func(name string) string {
		o, err := objects.Get(ctx, name, metav1.GetOptions{})
		require.NoError(t, err)
		return o.Annotations[statusAnnotation]
	}
	eventually := func(what func() bool) {
		t.Helper()
		require.Eventually(t, what, 2*time.Minute, 50*time.Millisecond)
	}
	eventually(func() bool { return exists("shop", "pull-shop") && status("shop") == "ready" })
	require.True(t, exists(objectNamespace, "regcred-adoption"))

	_, err = objects.Create(ctx, object("blog", profile("blog", "s3cret")), metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(func() bool { return exists("blog", "pull-blog") })
	require.True(t, exists("shop", "pull-shop"))

	// A broken object keeps its pull secret, and its status has the error.
	broken := object("shop", strings.Replace(profile("shop", "s3cret"), "password", "passwrod", 1))
	_, err = objects.Update(ctx, broken, metav1.UpdateOptions{})
	require.NoError(t, err)
	eventually(func() bool { return strings.Contains(status("shop"), `"field":"login.passwrod"`) })
	require.NotContains(t, status("shop"), "s3cret")
	require.True(t, exists("shop", "pull-shop"))

	_, err = objects.Update(ctx, object("shop", profile("shop", "wrong")), metav1.UpdateOptions{})
	require.NoError(t, err)
	eventually(func() bool { return strings.Contains(status("shop"), `"code":"unauthorized"`) })
	require.True(t, exists("shop", "pull-shop"), "a good secret is not replaced by a worse one")

	// A deleted object that waits for a finalizer has no pull secret, also after a full pass.
	kept := object("shop", profile("shop", "s3cret"))
	kept.Finalizers = []string{"example.com/theirs"}
	_, err = objects.Update(ctx, kept, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.NoError(t, objects.Delete(ctx, "shop", metav1.DeleteOptions{}))
	eventually(func() bool { return !exists("shop", "pull-shop") })
	require.True(t, exists("blog", "pull-blog"))
	controller.Wake()
	_, err = objects.Create(ctx, object("new", profile("new", "s3cret")), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = api.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "new"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(func() bool { return exists("new", "pull-new") })
	require.False(t, exists("shop", "pull-shop"))
}

// The guide quotes this code exactly.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/controller.md")
	require.NoError(t, err)
	code, err := os.ReadFile("objects.go")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(guide), -1)
	require.NotEmpty(t, blocks)
	for _, b := range blocks {
		require.Contains(t, string(code), b[1])
	}
}
