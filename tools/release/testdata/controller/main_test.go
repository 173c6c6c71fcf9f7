package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// The manager publishes a pull secret on the API server that KUBEBUILDER_ASSETS has the programs of.
func TestController(t *testing.T) {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// An interrupted test fails, so that it stops the API server, which is in another process group.
	interruptible, restore := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(restore)
	environment := &envtest.Environment{}
	config, err := environment.Start()
	check(err)
	t.Cleanup(func() { check(environment.Stop()) })
	check(interruptible.Err())
	hub, err := registrytest.Start(&registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "robot", Password: credentials.NewSecret("s3cret"), Pull: []string{"shop/*"}}},
	})
	check(err)
	t.Cleanup(hub.Close)
	_, err = hub.Registry.Add("shop/web:1", registrytest.Image{})
	check(err)

	client, err := kubernetes.NewForConfig(config)
	check(err)
	own := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	_, err = client.CoreV1().Namespaces().Create(t.Context(), own, metav1.CreateOptions{})
	check(err)
	mgr, err := ctrl.NewManager(config, ctrl.Options{Metrics: server.Options{BindAddress: "0"}})
	check(err)
	controller, err := keepPullSecrets(mgr, config, []registry.Profile{{
		Name: "shop", Kind: registry.Custom, Endpoint: hub.Host, Transport: hub.TransportConfig(),
		Login: credentials.Login{Username: "robot", Password: credentials.NewSecret("s3cret")},
	}}, "shop")
	check(err)
	ctx, stop := context.WithTimeout(interruptible, time.Minute)
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		check(<-done)
	})

	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{})
	check(err)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}} // No controller manager creates it.
	_, err = client.CoreV1().ServiceAccounts("shop").Create(ctx, account, metav1.CreateOptions{})
	check(err)
	check(controller.EnsureReady(ctx, "shop", "default", hub.Host+"/shop/web:1"))
	secret, err := client.CoreV1().Secrets("shop").Get(ctx, "regcred", metav1.GetOptions{})
	check(err)
	parsed, err := pullsecret.Parse(secret.Data[pullsecret.SecretKey])
	check(err)
	if keys := parsed.Keys(); len(keys) != 1 || keys[0] != hub.Host {
		t.Fatalf("the secret has the keys %q: expected %q", keys, hub.Host)
	}
}
