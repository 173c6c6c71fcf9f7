package kube_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

// Metrics and traces of a Syncer include a pass for which Targets fails.
func TestTargetsThatFailAreToldOf(t *testing.T) {
	errNone := errors.New("no targets")
	told := make(chan error, 100)
	passed := make(chan kube.Pass, 100)
	controller := &kube.Controller{
		Cluster: &kube.Cluster{Client: fake.NewClientset()},
		Syncer: &inject.Syncer{
			Credential: func(context.Context, registry.Profile) (credentials.Credential, error) {
				return credentials.Credential{}, registry.ErrUnauthorized
			},
			OnSync: func(ctx context.Context, namespaces []string) (context.Context, func(inject.Result, error)) {
				return ctx, func(_ inject.Result, err error) {
					if len(namespaces) == 0 {
						told <- err
					}
				}
			},
		},
		Targets: func(context.Context) ([]inject.Target, error) { return nil, errNone },
		OnPass:  func(p kube.Pass) { passed <- p },
	}
	background(t, controller.Start)
	p := <-passed
	require.ErrorIs(t, p.Err, errNone)
	require.Empty(t, p.Namespaces)
	select {
	case err := <-told:
		require.ErrorIs(t, err, errNone)
	default:
		t.Error("OnSync was not called")
	}
}

// While Targets fails, passes over what is due go on with the last list.
func TestDuePassesWhileTargetsFail(t *testing.T) {
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop-1"}})
	c := newController(client, "shop", "regcred", anyPassword)
	list, err := c.Targets(t.Context())
	require.NoError(t, err)
	var broken atomic.Bool
	c.Targets = func(context.Context) ([]inject.Target, error) {
		if broken.Load() {
			return nil, errors.New("the database is down")
		}
		return list, nil
	}
	passes := passesOf(t, c)
	require.NoError(t, (<-passes).Err)
	broken.Store(true)
	c.Wake()
	for p := <-passes; p.Err == nil; p = <-passes { // What was due before.
	}
	added := list[0]
	added.Name = "added"
	c.SetTarget(added)
	p := <-passes
	for failed := 1; !p.Due; failed++ { // On a slow machine, the next call of Targets may come first.
		require.Less(t, failed, 3, "Targets is called again and again, and nothing else happens")
		p = <-passes
	}
	require.NoError(t, p.Err)
	_, err = client.CoreV1().Secrets("shop-1").Get(t.Context(), "added", metav1.GetOptions{})
	require.NoError(t, err)
}

// A secret that another client has just deleted is not shown any longer, even before the watch delivers the deletion.
// Otherwise the Syncer would delete it again and report it as contested.
func TestDeletedByOthers(t *testing.T) {
	client := fake.NewClientset(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "old", Labels: map[string]string{inject.LabelOwner: "regcred"}}},
	)
	client.PrependReactor("delete", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "old")
	})
	cluster := &kube.Cluster{Client: client, Owner: "regcred"}
	background(t, cluster.Run)
	secrets := func() []inject.PublishedSecret {
		state, err := cluster.State(t.Context(), inject.Scope{Owner: "regcred"})
		require.NoError(t, err)
		require.Len(t, state, 1)
		return state[0].Secrets
	}
	require.Len(t, secrets(), 1)
	change := inject.Change{Action: inject.DeleteSecret, Owner: "regcred", Namespace: "shop", Name: "old"}
	require.NoError(t, cluster.Apply(t.Context(), change))
	require.Empty(t, secrets())
	change.Action = inject.ReplaceSecret
	require.ErrorIs(t, cluster.Apply(t.Context(), change), registry.ErrConflict)
}

// A target is set while a pass over all namespaces reads the list of targets.
func TestSetTargetDuringTargets(t *testing.T) {
	client := fake.NewClientset()
	for _, name := range []string{"edited-1", "edited-2"} {
		require.NoError(t, client.Tracker().Add(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	c := newController(client, "edited", "regcred", anyPassword)
	c.Syncer.CompleteLists = true
	old, err := c.Targets(t.Context())
	require.NoError(t, err)
	reading, read := make(chan struct{}), make(chan struct{})
	c.Targets = func(context.Context) ([]inject.Target, error) {
		reading <- struct{}{}
		<-read
		return old, nil
	}
	passes := passesOf(t, c)
	edited := old[0]
	edited.Namespaces = inject.Selection{Names: []string{"edited-1"}}
	added := edited
	added.Name = "added"
	<-reading
	c.SetTarget(edited)
	c.SetTarget(added)
	close(read)
	p := <-passes
	require.NoError(t, errors.Join(p.Err, p.Result.Err()))
	require.Len(t, p.Targets, 1)
	secrets, err := client.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var names []string
	for _, s := range secrets.Items {
		names = append(names, s.Namespace+"/"+s.Name)
	}
	require.ElementsMatch(t, []string{"edited-1/regcred", "edited-1/added"}, names)
}
