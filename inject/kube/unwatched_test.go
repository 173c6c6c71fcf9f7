package kube_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry"
)

// passesOf starts a Controller, and returns its passes over all namespaces.
func passesOf(t *testing.T, c *kube.Controller) <-chan kube.Pass {
	t.Helper()
	passes := make(chan kube.Pass)
	c.OnPass = func(p kube.Pass) {
		if len(p.Namespaces) > 0 {
			return
		}
		select {
		case passes <- p:
		case <-t.Context().Done():
		}
	}
	background(t, c.Start)
	return passes
}

func anyPassword() int64 { return 1 }

func TestClosedPortIsToldOf(t *testing.T) {
	port := testtool.FreePort(t)
	synctest.Test(t, func(t *testing.T) {
		client, err := kube.NewClient(&rest.Config{Host: "http://127.0.0.1:" + port})
		require.NoError(t, err)
		began := time.Now()
		p := <-passesOf(t, newController(client, "closed", "regcred", anyPassword))
		require.Equal(t, 30*time.Second, time.Since(began))
		require.ErrorIs(t, p.Err, registry.ErrClusterUnavailable)
		refused := ": dial tcp 127.0.0.1:" + port + ": connect: connection refused"
		require.EqualError(t, p.Err, "sync pull secrets: cluster cannot be watched: list namespaces"+refused+
			"; list secrets"+refused+"; list serviceaccounts"+refused)
		require.Equal(t, "ClusterUnavailable", p.Ready("regcred").Reason)
		require.Equal(t, metav1.ConditionUnknown, p.Ready("regcred").Status)
	})
}

func TestMissingRightIsToldOf(t *testing.T) {
	client, err := kube.NewClient(withRights(t, "regcred-events"))
	require.NoError(t, err)
	began := time.Now()
	p := <-passesOf(t, newController(client, "unright", "regcred", anyPassword))
	t.Logf("told of after %s", time.Since(began).Round(time.Millisecond))
	require.ErrorIs(t, p.Err, registry.ErrClusterUnavailable)
	require.True(t, apierrors.IsForbidden(p.Err))
	require.ErrorContains(t, p.Err, `: User "regcred-events" cannot list resource "`)
	require.Equal(t, "ClusterUnavailable", p.Ready("regcred").Reason)
}

// Only a person can fix a denial, so State does not wait.
func TestRefusalIsToldOfAtOnce(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusUnauthorized} {
		synctest.Test(t, func(t *testing.T) {
			config := &rest.Config{Host: "http://refusing"}
			config.Wrap(func(http.RoundTripper) http.RoundTripper { return refusing(status) })
			client, err := kubernetes.NewForConfig(config)
			require.NoError(t, err)
			cluster := &kube.Cluster{Client: client}
			background(t, cluster.Run)
			began := time.Now()
			_, err = cluster.State(t.Context(), inject.Scope{Owner: "regcred"})
			require.Less(t, time.Since(began), time.Second)
			require.ErrorIs(t, err, registry.ErrClusterUnavailable)
			require.Regexp(t, "list (namespaces|secrets|serviceaccounts): "+http.StatusText(status), err.Error(), "the first one says it")
		})
	}
}

// A refusing API rejects everything with that status.
type refusing int

func (status refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	text := http.StatusText(int(status))
	body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%[1]q,"reason":%[1]q,"code":%[2]d}`, text, status)
	header := http.Header{"Content-Type": {"application/json"}}
	return &http.Response{StatusCode: int(status), Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// A watch is denied, but lists are not.
func TestMissingRightToWatchIsToldOf(t *testing.T) {
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "unseen-1"}})
	var may atomic.Bool
	client.PrependWatchReactor("secrets", func(clienttesting.Action) (bool, watch.Interface, error) {
		return !may.Load(), nil, apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "", errors.New("no right"))
	})
	passes := passesOf(t, newController(client, "unseen", "regcred", anyPassword))
	var p kube.Pass
	for len(p.Result.Problems) == 0 {
		p = <-passes
		require.NoError(t, p.Err)
	}
	require.ErrorIs(t, p.Result.Err(), registry.ErrStale)
	require.ErrorIs(t, p.Result.Err(), registry.ErrClusterUnavailable)
	ready := p.Ready("regcred")
	require.Equal(t, metav1.ConditionUnknown, ready.Status)
	require.Equal(t, "ClusterUnavailable", ready.Reason)
	require.Regexp(t, `^cluster has not been watched since \S+Z: watch secrets: secrets is forbidden: no right$`, ready.Message)
	_, err := client.CoreV1().Secrets("unseen-1").Get(t.Context(), "regcred", metav1.GetOptions{})
	require.NoError(t, err, "what can be done is done")

	may.Store(true)
	for len(p.Result.Problems) > 0 {
		p = <-passes
	}
	require.Equal(t, metav1.ConditionTrue, p.Ready("regcred").Status)
}

// Without resource versions, a write between the first list and the watch after it is delivered by neither.
func TestStateWaitsForTheFirstWatches(t *testing.T) {
	for _, resource := range []string{"namespaces", "secrets", "serviceaccounts"} {
		t.Run(resource, func(t *testing.T) {
			client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "early-1"}})
			begun, begin := make(chan struct{}), make(chan struct{})
			client.PrependWatchReactor(resource, func(clienttesting.Action) (bool, watch.Interface, error) {
				close(begun)
				<-begin
				return false, nil, nil
			})
			cluster := &kube.Cluster{Client: client}
			background(t, cluster.Run)
			<-begun
			var err error
			require.Eventually(t, func() bool { // The list may not have been read yet.
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				_, err = cluster.State(ctx, inject.Scope{Owner: "regcred"})
				return err == nil || strings.Contains(err.Error(), "watch "+resource+": not begun yet")
			}, time.Minute, time.Millisecond)
			require.Error(t, err)
			close(begin) // Until now the fake clientset accepted no other request.
			state, err := cluster.State(t.Context(), inject.Scope{Owner: "regcred"})
			require.NoError(t, err)
			require.Len(t, state, 1)
		})
	}
}

// An API becomes unreachable for a long time.
func TestLostAPIIsToldOf(t *testing.T) {
	t.Parallel() // It waits most of the time.
	plane := newPlane(t)
	client, err := kube.NewClient(plane.config)
	require.NoError(t, err)
	passes := passesOf(t, newController(client, "lost", "regcred", anyPassword))
	p := <-passes
	require.NoError(t, p.Err)
	require.Empty(t, p.Result.Problems)
	plane.api.kill()
	for len(p.Result.Problems) == 0 {
		p = <-passes
		require.NoError(t, p.Err)
	}
	require.ErrorIs(t, p.Result.Err(), registry.ErrStale)
	require.ErrorContains(t, p.Result.Err(), ": dial tcp 127.0.0.1:"+plane.port+": connect: connection refused")
	require.Equal(t, "ClusterUnavailable", p.Ready("regcred").Reason)
	plane.startAPI()
	for len(p.Result.Problems) > 0 {
		p = <-passes
		require.NoError(t, p.Err)
	}
}

// An API accepts requests and does not respond.
func TestSilentAPIIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := &rest.Config{Host: "http://silent"}
		config.Wrap(func(http.RoundTripper) http.RoundTripper { return silent{} })
		client, err := kubernetes.NewForConfig(config)
		require.NoError(t, err)
		cluster := &kube.Cluster{Client: client}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- cluster.Run(ctx) }()
		_, err = cluster.State(t.Context(), inject.Scope{Owner: "regcred"})
		require.EqualError(t, err, "cluster cannot be watched: list namespaces: not complete yet; list secrets: not complete yet; "+
			"list serviceaccounts: not complete yet")
		require.ErrorIs(t, err, registry.ErrClusterUnavailable)
		began := time.Now()
		cancel()
		require.NoError(t, <-ended)
		require.Zero(t, time.Since(began), "its requests end with Run")
	})
}

type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

// client-go goes on sleeping, as it does from v0.35 on if connections are refused.
func TestRunEndsSoon(t *testing.T) {
	client := fake.NewClientset()
	asleep, awake := make(chan struct{}, 10), make(chan struct{})
	client.PrependWatchReactor("*", func(clienttesting.Action) (bool, watch.Interface, error) {
		asleep <- struct{}{}
		<-awake
		return true, nil, context.DeadlineExceeded
	})
	defer close(awake)
	c := newController(client, "slow", "regcred", anyPassword)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Start(ctx) }()
	<-asleep
	cancel()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		require.Fail(t, "it waits for what is asleep")
	}
}
