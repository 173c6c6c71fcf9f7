package kube_test

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

// A controller of an operator. The client is a fake of client-go here; use kube.NewClient for a real cluster. With
// controller-runtime, call mgr.Add(controller) instead of Start.
func ExampleController() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := fake.NewClientset(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default"}},
	)
	profile := registry.Profile{
		Name: "shop", Kind: registry.Custom, Endpoint: "registry.example.com/shop",
		Login: credentials.Login{Username: "robot", Password: credentials.NewSecret("s3cret")},
	}
	passed := make(chan kube.Pass, 100)
	controller := &kube.Controller{
		Cluster: &kube.Cluster{Client: client},
		Syncer: &inject.Syncer{
			// A program uses a regcred.Pipeline here: Credential, Check and Lookup.
			Credential: func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
				return credentials.Credential{Username: p.Login.Username, Password: p.Login.Password}, nil
			},
		},
		Targets: func(context.Context) ([]inject.Target, error) {
			return []inject.Target{{
				Name:       "registry",
				Profiles:   []registry.Profile{profile},
				Namespaces: inject.Selection{Names: []string{"*"}, Except: []string{"kube-*"}},
				Accounts:   inject.Selection{Names: []string{"default"}},
			}}, nil
		},
		OnPass: func(p kube.Pass) { passed <- p },
	}
	ended := make(chan error, 1)
	go func() { ended <- controller.Start(ctx) }()

	pass := <-passed
	condition := pass.Ready("registry") // For the status of the operator's object.
	fmt.Println(condition.Type, condition.Status, condition.Reason, pass.Err)

	secret, err := client.CoreV1().Secrets("shop").Get(ctx, "registry", metav1.GetOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(secret.Type)
	account, err := client.CoreV1().ServiceAccounts("shop").Get(ctx, "default", metav1.GetOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(account.ImagePullSecrets[0].Name)
	cancel()
	fmt.Println(<-ended)
	// Output:
	// Ready True Published <nil>
	// kubernetes.io/dockerconfigjson
	// registry
	// <nil>
}

// A program that writes pod templates itself names the pull secret in them.
func ExampleAddPullSecrets() {
	pod := corev1.PodSpec{ImagePullSecrets: []corev1.LocalObjectReference{{Name: "own"}}}
	fmt.Println(kube.AddPullSecrets(&pod, "registry"), pod.ImagePullSecrets)
	fmt.Println(kube.AddPullSecrets(&pod, "registry"))
	// Output:
	// true [{own} {registry}]
	// false
}
