package kube_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
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
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/pullsecret/kube"
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
	syncer    *pullsecret.Syncer
	targets   []pullsecret.Target
	passwords atomic.Pointer[[]string]
}

func newRegcred(t *testing.T, config *rest.Config, _ int) contestant {
	client, err := kube.NewClient(config)
	require.NoError(t, err)
	cluster := &kube.Cluster{Client: client}
	r := &regcred{}
	byName := make(map[string]int)
	for p := range profiles {
		name := secretName(p)
		byName[name] = p
		r.targets = append(r.targets, pullsecret.Target{
			Name: name,
			Profiles: []registry.Profile{{
				Name: name, Kind: registry.Custom, Endpoint: host(p),
				Login: credentials.Login{Username: "u", Password: credentials.NewSecret("p")},
			}},
			Namespaces: pullsecret.Selection{Names: []string{"team-*"}},
			Accounts:   pullsecret.Selection{Names: []string{"default"}},
		})
	}
	r.syncer = &pullsecret.Syncer{Cluster: cluster, Credential: func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
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

// plain is the least code that does it with client-go: it applies all, 32 namespaces at a time. When it has applied
// that once, it lists the secrets of each namespace, and applies what differs.
type plain struct {
	client  kubernetes.Interface
	n       int
	applied bool
}

func newPlain(t *testing.T, config *rest.Config, n int) contestant {
	client, err := kubernetes.NewForConfig(noLimit(config))
	require.NoError(t, err)
	return &plain{client: client, n: n}
}

func (p *plain) pass(ctx context.Context, passwords []string) error {
	options := metav1.ApplyOptions{FieldManager: "plain", Force: true}
	contents := make([][]byte, len(passwords))
	for i, password := range passwords {
		contents[i] = dockerConfig(i, password)
	}
	err := each(p.n, func(i int) error {
		have := make(map[string][]byte)
		if p.applied {
			list, err := p.client.CoreV1().Secrets(namespace(i)).List(ctx, metav1.ListOptions{LabelSelector: "app=plain"})
			if err != nil {
				return err
			}
			for _, s := range list.Items {
				have[s.Name] = s.Data[corev1.DockerConfigJsonKey]
			}
		}
		account := applycorev1.ServiceAccount("default", namespace(i))
		for profile, content := range contents {
			name := secretName(profile)
			account.WithImagePullSecrets(applycorev1.LocalObjectReference().WithName(name))
			if bytes.Equal(content, have[name]) {
				continue
			}
			secret := applycorev1.Secret(name, namespace(i)).WithLabels(map[string]string{"app": "plain"}).
				WithType(corev1.SecretTypeDockerConfigJson).WithData(map[string][]byte{corev1.DockerConfigJsonKey: content})
			if _, err := p.client.CoreV1().Secrets(namespace(i)).Apply(ctx, secret, options); err != nil {
				return err
			}
		}
		if p.applied {
			return nil
		}
		_, err := p.client.CoreV1().ServiceAccounts(namespace(i)).Apply(ctx, account, options)
		return err
	})
	p.applied = true
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
