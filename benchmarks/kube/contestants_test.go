package kube_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

func host(profile int) string { return fmt.Sprintf("registry-%d.example.com", profile) }

func image(profile int) registry.Image {
	i, err := registry.ParseImage(host(profile) + "/app")
	if err != nil {
		panic(err)
	}
	return i
}

// regcred is a Syncer over a kube.Cluster.
type regcred struct {
	start     func() // The watches, in the first pass.
	syncer    *inject.Syncer
	targets   []inject.Target
	passwords atomic.Pointer[[]string]
}

// newTargets returns a target for each profile.
func newTargets() (targets []inject.Target) {
	for p := range profiles {
		name := secretName(p)
		targets = append(targets, inject.Target{
			Name: name,
			Profiles: []registry.Profile{{
				Name: name, Kind: registry.Custom, Endpoint: host(p),
				Login: credentials.Login{Username: "u", Password: credentials.NewSecret("p")},
			}},
			Namespaces: inject.Selection{Names: []string{"team-*"}},
			Accounts:   inject.Selection{Names: []string{"default"}},
		})
	}
	return targets
}

func newRegcred(t *testing.T, config *rest.Config, _ int) contestant {
	client, err := kube.NewClient(config)
	require.NoError(t, err)
	cluster := &kube.Cluster{Client: client}
	r := &regcred{}
	byName := make(map[string]int)
	for p := range profiles {
		byName[secretName(p)] = p
	}
	r.targets = newTargets()
	r.syncer = &inject.Syncer{Cluster: cluster, Credential: func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
		return credentials.Credential{Username: "AWS", Password: credentials.NewSecret((*r.passwords.Load())[byName[p.Name]])}, nil
	}}
	r.start = sync.OnceFunc(func() {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- cluster.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			require.NoError(t, <-done)
		})
	})
	return r
}

func (r *regcred) pass(ctx context.Context, passwords []string) error {
	r.start()
	r.passwords.Store(&passwords)
	result, err := r.syncer.Sync(ctx, r.targets)
	if err != nil {
		return err
	}
	return result.Err()
}

// plain is the least code that does it with client-go, 32 namespaces at a time: it applies everything when the passwords
// are new, and else lists the secrets of each namespace, to see whether they are still so.
type plain struct {
	client    kubernetes.Interface
	n         int
	passwords []string // Of the last pass.
}

func newPlain(t *testing.T, config *rest.Config, n int) contestant {
	config = rest.CopyConfig(config)
	config.QPS, config.RateLimiter = -1, nil // No limit.
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return &plain{client: client, n: n}
}

func (p *plain) pass(ctx context.Context, passwords []string) error {
	contents := make(map[string][]byte)
	for i, password := range passwords {
		contents[secretName(i)] = dockerConfig(i, password)
	}
	known, first := slices.Equal(p.passwords, passwords), p.passwords == nil
	p.passwords = passwords
	return each(p.n, func(i int) error {
		if known {
			return p.compare(ctx, namespace(i), contents)
		}
		return p.apply(ctx, namespace(i), contents, first)
	})
}

func (p *plain) compare(ctx context.Context, ns string, contents map[string][]byte) error {
	list, err := p.client.CoreV1().Secrets(ns).List(ctx, metav1.ListOptions{LabelSelector: "app=plain"})
	if err != nil {
		return err
	}
	for _, s := range list.Items {
		if !bytes.Equal(s.Data[corev1.DockerConfigJsonKey], contents[s.Name]) {
			return fmt.Errorf("somebody has changed secret %s/%s", ns, s.Name)
		}
	}
	return nil
}

func (p *plain) apply(ctx context.Context, ns string, contents map[string][]byte, link bool) error {
	options := metav1.ApplyOptions{FieldManager: "plain", Force: true}
	account := applycorev1.ServiceAccount("default", ns)
	for name, content := range contents {
		account.WithImagePullSecrets(applycorev1.LocalObjectReference().WithName(name))
		secret := applycorev1.Secret(name, ns).
			WithLabels(map[string]string{"app": "plain"}).
			WithType(corev1.SecretTypeDockerConfigJson).
			WithData(map[string][]byte{corev1.DockerConfigJsonKey: content})
		if _, err := p.client.CoreV1().Secrets(ns).Apply(ctx, secret, options); err != nil {
			return err
		}
	}
	if !link {
		return nil
	}
	_, err := p.client.CoreV1().ServiceAccounts(ns).Apply(ctx, account, options)
	return err
}

func dockerConfig(profile int, password string) []byte {
	type entry struct {
		Auth string `json:"auth"`
	}
	text, err := json.Marshal(map[string]map[string]entry{
		"auths": {host(profile): {base64.StdEncoding.EncodeToString([]byte("AWS:" + password))}},
	})
	if err != nil {
		panic(err)
	}
	return text
}
