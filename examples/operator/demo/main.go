// Demo runs the operator and prints each step. It starts a real Kubernetes API server, and a registry in memory that
// requires a login.
//
//	../../scripts/kubernetes && go run ./demo
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/examples/operator/api/v1alpha1"
	"github.com/regcred/regcred/examples/operator/internal/operator"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry/registrytest"
)

const system = "regcred-system"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func say(format string, a ...any) { fmt.Printf(format+"\n", a...) }

func run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	folder, err := testtool.ControlPlane()
	if err != nil {
		return err
	}
	say("Starting a Kubernetes API server, without nodes.")
	environment := &envtest.Environment{
		BinaryAssetsDirectory: folder, CRDDirectoryPaths: []string{"config/crd"}, ErrorIfCRDPathMissing: true,
	}
	config, err := environment.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, environment.Stop()) }()

	hub, err := registrytest.Start(&registrytest.Registry{Dialect: registrytest.Harbor()})
	if err != nil {
		return err
	}
	defer hub.Close()
	say("A registry that wants a login listens on %s.", hub.Host)

	api, err := client.New(config, client.Options{Scheme: operator.Scheme()})
	if err != nil {
		return err
	}
	d := &demo{Client: api, hub: hub}
	if err := d.namespace(ctx, system); err != nil {
		return err
	}
	mgr, err := operator.NewManager(
		operator.Config{API: config, Namespace: system, Metrics: prometheus.NewRegistry()},
		ctrl.Options{Metrics: server.Options{BindAddress: "0"}},
	)
	if err != nil {
		return err
	}
	managed, stopManager := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- mgr.Start(managed) }()
	defer func() {
		stopManager()
		err = errors.Join(err, <-stopped)
	}()
	return d.walk(ctx)
}

// A demo acts as an administrator of the cluster.
type demo struct {
	client.Client
	hub *registrytest.Server
}

func (d *demo) walk(ctx context.Context) error {
	profile := &v1alpha1.RegistryProfile{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: v1alpha1.RegistryProfileSpec{
			Kind: "custom", Endpoint: d.hub.Host, CABundle: d.hub.CA,
			Login:      v1alpha1.Login{SecretName: "shop-login"},
			Namespaces: v1alpha1.Namespaces{Names: []string{"shop-*"}},
		},
	}
	for _, step := range []struct {
		say string
		do  func() error
	}{
		{"\n1. Namespaces shop-1 and shop-2, and a profile of the registry for shop-*. The password is right.", func() error {
			return errors.Join(d.namespace(ctx, "shop-1"), d.namespace(ctx, "shop-2"),
				d.password(ctx, "first", "first"), d.Create(ctx, profile), d.becomes(ctx, "Published", 2))
		}},
		{"\n2. A new namespace shop-3.", func() error {
			return errors.Join(d.namespace(ctx, "shop-3"), d.becomes(ctx, "Published", 3))
		}},
		{"\n3. The registry has a new password, and the login has a typing mistake.", func() error {
			return errors.Join(d.password(ctx, "second", "secnod"), d.becomes(ctx, "Unauthorized", 3))
		}},
		{"\n4. The login is right.", func() error {
			return errors.Join(d.password(ctx, "second", "second"), d.becomes(ctx, "Published", 3))
		}},
		{"\n5. The login expires in ten days.", func() error { return d.expires(ctx) }},
		{"\n6. The profile is deleted.", func() error {
			return errors.Join(d.Delete(ctx, profile), d.gone(ctx))
		}},
	} {
		say(step.say)
		if err := step.do(); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) namespace(ctx context.Context, name string) error {
	return errors.Join(
		d.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}),
		// No controller manager is running that would create it.
		d.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "default"}}),
	)
}

// password sets the password that the registry accepts, and the one that the operator uses.
func (d *demo) password(ctx context.Context, right, typed string) error {
	d.hub.Registry.SetAccounts(registrytest.Account{Username: "robot", Password: credentials.NewSecret(right), Pull: []string{"*"}})
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "shop-login"},
		StringData: map[string]string{"username": "robot", "password": typed},
	}
	if err := d.Create(ctx, secret); err == nil {
		return nil
	}
	return d.Update(ctx, secret)
}

// becomes waits until the profile has that status, and prints it.
func (d *demo) becomes(ctx context.Context, reason string, secrets int) error {
	for {
		var p v1alpha1.RegistryProfile
		if err := d.Get(ctx, client.ObjectKey{Name: "shop"}, &p); err != nil {
			return err
		}
		c := meta.FindStatusCondition(p.Status.Conditions, "Ready")
		if c != nil && c.Reason == reason && p.Status.Secrets == secrets {
			say("   Ready: %s, %s; pull secrets in %d namespaces. %s", c.Status, c.Reason, p.Status.Secrets, c.Message)
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("the profile did not become %s: %w", reason, err)
		}
	}
}

// expires sets an expiry of the login, and waits for the warnings.
func (d *demo) expires(ctx context.Context) error {
	var p v1alpha1.RegistryProfile
	if err := d.Get(ctx, client.ObjectKey{Name: "shop"}, &p); err != nil {
		return err
	}
	p.Spec.Login.ExpiresAt = &metav1.Time{Time: time.Now().Add(10 * 24 * time.Hour)}
	if err := d.Update(ctx, &p); err != nil {
		return err
	}
	for {
		var events corev1.EventList
		if err := errors.Join(d.Get(ctx, client.ObjectKey{Name: "shop"}, &p), d.List(ctx, &events)); err != nil {
			return err
		}
		warned := slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return e.Reason == "LoginExpires" && e.InvolvedObject.Name == "shop" })
		if c := meta.FindStatusCondition(p.Status.Conditions, "LoginExpiring"); warned && c != nil && c.Status == metav1.ConditionTrue {
			say("   LoginExpiring: %s, %s, and an event. %s", c.Status, c.Reason, c.Message)
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("nothing warns of the expiry: %w", err)
		}
	}
}

func (d *demo) gone(ctx context.Context) error {
	for {
		var secrets corev1.SecretList
		var accounts corev1.ServiceAccountList
		err := errors.Join(d.List(ctx, &secrets, client.HasLabels{inject.LabelOwner}), d.List(ctx, &accounts))
		if err != nil {
			return err
		}
		linked := slices.ContainsFunc(accounts.Items, func(a corev1.ServiceAccount) bool { return len(a.ImagePullSecrets) > 0 })
		if len(secrets.Items) == 0 && !linked {
			say("   There is no pull secret anymore, and no service account names one.")
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(50 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
