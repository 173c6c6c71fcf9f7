package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// The program works on a real API, with a registry that requires a login.
func TestEmbed(t *testing.T) {
	folder, why := testtool.ControlPlane()
	if why != nil {
		testtool.Missing(t, why.Error())
	}
	environment := &envtest.Environment{BinaryAssetsDirectory: folder}
	config, err := environment.Start()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, environment.Stop()) })

	hub, err := registrytest.Start(&registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "robot", Password: credentials.NewSecret("s3cret"), Pull: []string{"shop/*"}}},
	})
	require.NoError(t, err)
	t.Cleanup(hub.Close)
	_, err = hub.Registry.Add("shop/web:1", registrytest.Image{})
	require.NoError(t, err)

	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	own := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	_, err = client.CoreV1().Namespaces().Create(t.Context(), own, metav1.CreateOptions{})
	require.NoError(t, err)
	mgr, err := ctrl.NewManager(config, ctrl.Options{Metrics: server.Options{BindAddress: "0"}})
	require.NoError(t, err)
	controller, err := keepPullSecrets(mgr, config, []registry.Profile{{
		Name: "shop", Kind: registry.Custom, Endpoint: hub.Host, Transport: hub.TransportConfig(),
		Login: credentials.Login{Username: "robot", Password: credentials.NewSecret("s3cret")},
	}}, "shop")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})

	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}} // No controller manager is running that would create it.
	_, err = client.CoreV1().ServiceAccounts("shop").Create(ctx, account, metav1.CreateOptions{})
	require.NoError(t, err)

	gate, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	require.NoError(t, controller.EnsureReady(gate, "shop", "default", hub.Host+"/shop/web:1"))
	secret, err := client.CoreV1().Secrets("shop").Get(ctx, "regcred", metav1.GetOptions{})
	require.NoError(t, err)
	parsed, err := pullsecret.Parse(secret.Data[pullsecret.SecretKey])
	require.NoError(t, err)
	require.Equal(t, []string{hub.Host}, parsed.Keys())
	require.ErrorIs(t, controller.EnsureReady(gate, "shop", "default", hub.Host+"/shop/web:2"), registry.ErrImageNotFound)
}
