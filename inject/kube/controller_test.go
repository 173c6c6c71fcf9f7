package kube_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// The interfaces that a manager of controller-runtime looks for.
var (
	_ manager.Runnable               = (*kube.Controller)(nil)
	_ manager.LeaderElectionRunnable = (*kube.Controller)(nil)
)

// A counter counts requests that are not watches.
type counter struct {
	next  http.RoundTripper
	count *atomic.Int64
}

func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.Contains(r.URL.RawQuery, "watch=") {
		c.count.Add(1)
	}
	return c.next.RoundTrip(r)
}

// A running has a started Controller for the namespaces whose names begin with its name.
type running struct {
	world
	*kube.Controller
	requests atomic.Int64
	password atomic.Pointer[string]
	passes   atomic.Int64
}

// start starts a running that has the rights of "regcred" and of these roles.
func start(t *testing.T, name string, roles ...string) *running {
	r := newRunning(t, name, roles...)
	background(t, r.Start)
	return r
}

// newRunning returns a running that is not started yet. A problem in a pass fails the test.
func newRunning(t *testing.T, name string, roles ...string) *running {
	r := &running{}
	first := "first"
	r.password.Store(&first)
	client, err := kube.NewClient(needAPI(t))
	require.NoError(t, err)
	r.world = world{client}
	config := withRights(t, append(roles, "regcred")...)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{next, &r.requests} })
	client, err = kube.NewClient(config)
	require.NoError(t, err)

	cluster := &kube.Cluster{Client: client, Owner: name}
	target := inject.Target{
		Name:       "regcred",
		Profiles:   []registry.Profile{{Name: "team", Kind: registry.Custom, Endpoint: "registry.example.com", Login: credentials.Login{Username: "u", Password: credentials.NewSecret("p")}}},
		Namespaces: inject.Selection{Names: []string{name + "-*"}},
		Accounts:   inject.Selection{Names: []string{"default"}},
	}
	r.Controller = &kube.Controller{
		Cluster: cluster,
		Syncer: &inject.Syncer{Owner: name, Credential: func(context.Context, registry.Profile) (credentials.Credential, error) {
			return credentials.Credential{Username: "robot", Password: credentials.NewSecret(*r.password.Load())}, nil
		}},
		Targets: func(context.Context) ([]inject.Target, error) { return []inject.Target{target}, nil },
		OnPass: func(p kube.Pass) {
			r.passes.Add(1)
			if err := errors.Join(p.Err, p.Result.Err()); err != nil {
				t.Error(err)
			}
		},
	}
	return r
}

// ready reports whether the secret exists with the password, and is linked.
func (r *running) ready(t *testing.T, namespace string) bool {
	t.Helper()
	s, err := r.Secret(t.Context(), namespace, "regcred")
	require.NoError(t, err)
	a, err := r.Account(t.Context(), namespace, "default")
	require.NoError(t, err)
	if s == nil || a == nil || !slices.Contains(a.PullSecrets, "regcred") {
		return false
	}
	config, err := pullsecret.Parse(s.Data[pullsecret.SecretKey])
	require.NoError(t, err)
	image, err := registry.ParseImage("registry.example.com/app")
	require.NoError(t, err)
	matches := config.Match(image)
	return len(matches) == 1 && matches[0].Credential.Password.Reveal() == *r.password.Load()
}

func (r *running) becomesReady(t *testing.T, namespace string) {
	t.Helper()
	require.Eventually(t, func() bool { return r.ready(t, namespace) }, time.Minute, 20*time.Millisecond)
}

// shows reports whether the Cluster shows the owner's secrets and the accounts in the namespaces as they are now.
func (w world) shows(t *testing.T, c *kube.Cluster, owner string, namespaces []string) bool {
	t.Helper()
	state, err := c.State(t.Context(), inject.Scope{Owner: owner, Namespaces: namespaces})
	require.NoError(t, err)
	shown, there := make(map[string]string), make(map[string]string) // Versions.
	for _, ns := range state {
		for _, s := range ns.Secrets {
			shown["secret "+ns.Name+"/"+s.Name] = s.Version
		}
		for _, a := range ns.Accounts {
			shown["account "+ns.Name+"/"+a.Name] = a.Version
		}
		secrets, err := w.CoreV1().Secrets(ns.Name).List(t.Context(), metav1.ListOptions{LabelSelector: inject.LabelOwner + "=" + owner})
		require.NoError(t, err)
		for _, s := range secrets.Items {
			there["secret "+ns.Name+"/"+s.Name] = s.ResourceVersion
		}
		accounts, err := w.CoreV1().ServiceAccounts(ns.Name).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		for _, a := range accounts.Items {
			there["account "+ns.Name+"/"+a.Name] = a.ResourceVersion
		}
	}
	return len(state) == len(namespaces) && maps.Equal(shown, there)
}

// settled waits until the last events have arrived, and have caused their passes. It returns the number of passes.
func (r *running) settled(t *testing.T, namespaces ...string) int64 {
	t.Helper()
	require.Eventually(t, func() bool { return r.shows(t, r.Cluster, r.Cluster.Owner, namespaces) }, time.Minute, 20*time.Millisecond)
	for range 30 {
		passes := r.passes.Load()
		time.Sleep(2 * time.Second)
		if r.passes.Load() == passes {
			return passes
		}
	}
	require.Fail(t, "passes do not end")
	return 0
}

func (r *running) namespace(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, r.CreateNamespace(t.Context(), name, nil))
	// No controller manager is running that would create it.
	require.NoError(t, r.WriteAccount(t.Context(), name, injecttest.AccountObject{Name: "default"}))
}

func TestControllerServesNewNamespaces(t *testing.T) {
	r := start(t, "fast")
	r.namespace(t, "fast-0")
	r.becomesReady(t, "fast-0") // Its watches have begun.
	began := time.Now()
	r.namespace(t, "fast-1")
	r.becomesReady(t, "fast-1")
	t.Logf("served %s after it was made", time.Since(began).Round(time.Millisecond)) // Not asserted, because the machine may be busy.
}

func TestEnsureReady(t *testing.T) {
	r := start(t, "gate")
	ready := make(chan error, 1)
	go func() { ready <- r.EnsureReady(t.Context(), "gate-1", "default") }()
	r.namespace(t, "gate-1")
	require.NoError(t, <-ready)
	require.True(t, r.ready(t, "gate-1"))
	require.ErrorIs(t, r.EnsureReady(t.Context(), "default", "default"), registry.ErrNotSelected)
}

func TestControllerMendsWhatOthersBreak(t *testing.T) {
	r := start(t, "fix")
	r.namespace(t, "fix-1")
	r.becomesReady(t, "fix-1")
	before, err := r.Secret(t.Context(), "fix-1", "regcred")
	require.NoError(t, err)

	forged := *before
	forged.Data = map[string][]byte{pullsecret.SecretKey: []byte(`{"auths":{}}`)}
	require.NoError(t, r.WriteSecret(t.Context(), "fix-1", forged))
	r.becomesReady(t, "fix-1")
	require.NoError(t, r.WriteAccount(t.Context(), "fix-1", injecttest.AccountObject{Name: "default", PullSecrets: []string{"theirs"}}))
	r.becomesReady(t, "fix-1")
	a, err := r.Account(t.Context(), "fix-1", "default")
	require.NoError(t, err)
	require.Equal(t, []string{"theirs", "regcred"}, a.PullSecrets)

	second := "second"
	r.password.Store(&second)
	r.Wake()
	r.becomesReady(t, "fix-1")
	after, err := r.Secret(t.Context(), "fix-1", "regcred")
	require.NoError(t, err)
	require.Equal(t, before.UID, after.UID, "it is the same secret to a kubelet")
}

func TestPassWithNothingToDoSendsNoRequest(t *testing.T) {
	r := start(t, "quiet")
	names := []string{"quiet-1", "quiet-2", "quiet-3"}
	for _, name := range names {
		r.namespace(t, name)
		r.becomesReady(t, name)
	}
	passes := r.settled(t, names...)
	requests := r.requests.Load()
	for range 10 {
		r.Wake()
		require.Eventually(t, func() bool { return r.passes.Load() > passes }, time.Minute, time.Millisecond)
		passes = r.passes.Load()
	}
	require.Equal(t, requests, r.requests.Load())
}

// A rotation is one pass: the events of its own writes cause no passes over the namespaces.
func TestOwnWritesCauseNoPass(t *testing.T) {
	r := start(t, "own")
	names := []string{"own-1", "own-2", "own-3"}
	for _, name := range names {
		r.namespace(t, name)
		r.becomesReady(t, name)
	}
	passes := r.settled(t, names...)
	second := "second"
	r.password.Store(&second)
	r.Wake()
	for _, name := range names {
		r.becomesReady(t, name)
	}
	require.Equal(t, passes+1, r.settled(t, names...))
}

func TestAddPullSecrets(t *testing.T) {
	pod := &corev1.PodSpec{ImagePullSecrets: []corev1.LocalObjectReference{{Name: "theirs"}}}
	require.True(t, kube.AddPullSecrets(pod, "regcred", "theirs"))
	require.Equal(t, []corev1.LocalObjectReference{{Name: "theirs"}, {Name: "regcred"}}, pod.ImagePullSecrets)
	require.False(t, kube.AddPullSecrets(pod, "regcred"))
}

// A pass with a list that is no longer current writes an old password. No event reports it, because the Cluster itself
// wrote it, but the Controller repairs it.
func TestControllerRepairsWhatAnOldListWrote(t *testing.T) {
	client, err := kube.NewClient(needAPI(t))
	require.NoError(t, err)
	targets := func(password string) []inject.Target {
		return []inject.Target{{
			Name:       "regcred",
			Profiles:   []registry.Profile{{Name: "team", Kind: registry.Custom, Endpoint: "registry.example.com", Login: credentials.Login{Username: "u", Password: credentials.NewSecret(password)}}},
			Namespaces: inject.Selection{Names: []string{"outdated-*"}},
			Accounts:   inject.Selection{Names: []string{"default"}},
		}}
	}
	type outdated struct{}
	second := "second"
	r := &running{world: world{client}}
	r.password.Store(&second)
	r.Controller = &kube.Controller{
		Cluster: &kube.Cluster{Client: client, Owner: "outdated"},
		Syncer: &inject.Syncer{Owner: "outdated", Credential: func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
			return credentials.Credential{Username: "robot", Password: p.Login.Password}, nil
		}},
		Targets: func(ctx context.Context) ([]inject.Target, error) {
			if ctx.Value(outdated{}) != nil {
				return targets("first"), nil
			}
			return targets("second"), nil
		},
	}
	background(t, r.Start)
	r.namespace(t, "outdated-1")
	r.becomesReady(t, "outdated-1")
	time.Sleep(500 * time.Millisecond) // The last events arrive and cause passes of their own.
	require.NoError(t, r.EnsureReady(context.WithValue(t.Context(), outdated{}, true), "outdated-1", "default"))
	r.becomesReady(t, "outdated-1")
}
