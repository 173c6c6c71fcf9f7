package kube_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/record"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

func TestEventsAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := record.NewFakeRecorder(10)
		events := &kube.Events{Record: recorder.Event}
		pass := func(problems ...inject.Problem) kube.Pass {
			return kube.Pass{Result: inject.Result{Problems: problems}}
		}
		tells := func(p kube.Pass, lines ...string) {
			t.Helper()
			events.Report(p)
			for _, line := range lines {
				require.NotEmpty(t, recorder.Events)
				require.Equal(t, line, <-recorder.Events)
			}
			require.Empty(t, recorder.Events)
		}
		foreign := inject.Problem{Target: "regcred", Namespace: "shop", Name: "regcred", Err: registry.ErrNameTaken}
		line := "Warning NameTaken name taken"
		tells(pass(foreign, inject.Problem{Target: "regcred", Err: errors.New("no object")}), line)
		tells(pass(foreign))
		tells(kube.Pass{Err: registry.ErrClusterUnavailable})
		tells(kube.Pass{Namespaces: []string{"other"}})
		tells(pass(foreign))
		time.Sleep(time.Hour)
		tells(pass(foreign), line)
		tells(kube.Pass{Namespaces: []string{"shop"}})
		tells(pass(foreign), line) // It came back.
	})
}

// Most passes of a large fleet are over what is due. They forget the problems of objects that are long gone.
func TestDuePassesForgetOldEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &kube.Events{Record: func(runtime.Object, string, string, string) {}}
		for i := range 1000 {
			job := inject.Problem{Namespace: "ci", Name: fmt.Sprint("job-", i), Err: registry.ErrContested}
			events.Report(kube.Pass{Due: true, Result: inject.Result{Problems: []inject.Problem{job}}})
			time.Sleep(time.Minute)
			require.LessOrEqual(t, events.Sent(), 60)
		}
	})
}

func TestEventsOfTargetsAreOnTheProgramsObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := record.NewFakeRecorder(10)
		recorder.IncludeObject = true
		events := &kube.Events{Record: recorder.Event, Object: func(target string) runtime.Object {
			if target != "shop" {
				return nil
			}
			return &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}}
		}}
		expiring := inject.Problem{Target: "shop", Profile: "harbor", Err: registry.ErrLoginExpires}
		failing := inject.Problem{Target: "shop", Profile: "harbor", Err: registry.ErrUnauthorized}
		pass := kube.Pass{Result: inject.Result{Warnings: []inject.Problem{expiring}, Problems: []inject.Problem{failing, {Target: "other", Err: registry.ErrUnauthorized}}}}
		events.Report(pass)
		require.Equal(t, "Warning Unauthorized unauthorized involvedObject{kind=ConfigMap,apiVersion=v1}", <-recorder.Events)
		require.Equal(t, "Warning LoginExpires login expires involvedObject{kind=ConfigMap,apiVersion=v1}", <-recorder.Events)
		events.Report(kube.Pass{Namespaces: []string{"a"}})
		events.Report(kube.Pass{Due: true})
		events.Report(pass)
		require.Empty(t, recorder.Events, "once an hour")
		events.Report(kube.Pass{})
		events.Report(pass)
		require.Len(t, recorder.Events, 2, "they came back")
	})
}

func TestEventsAreWritten(t *testing.T) {
	r := start(t, "events")
	require.NoError(t, r.CreateNamespace(t.Context(), "loud", nil))
	require.NoError(t, r.WriteAccount(t.Context(), "loud", injecttest.AccountObject{Name: "default"}))
	cluster := r.Controller.Cluster
	require.Eventually(t, func() bool { // Its watches have seen the account.
		state, err := cluster.State(t.Context(), inject.Scope{Owner: "events", Namespaces: []string{"loud"}})
		require.NoError(t, err)
		return len(state) == 1 && len(state[0].Accounts) == 1
	}, time.Minute, 20*time.Millisecond)
	account, err := r.CoreV1().ServiceAccounts("loud").Get(t.Context(), "default", metav1.GetOptions{})
	require.NoError(t, err)
	client, err := kube.NewClient(withRights(t, "regcred-events"))
	require.NoError(t, err)

	old := record.NewBroadcaster()
	defer old.Shutdown()
	old.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: client.CoreV1().Events("")})
	oldRecorder := old.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "regcred"})
	current := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})
	defer current.Shutdown()
	require.NoError(t, current.StartRecordingToSinkWithContext(t.Context()))
	recorder := current.NewRecorder(scheme.Scheme, "regcred")
	records := map[string]func(object runtime.Object, eventType, reason, message string){
		"Contested": oldRecorder.Event,
		"NameTaken": func(object runtime.Object, eventType, reason, message string) {
			recorder.Eventf(object, nil, eventType, reason, "Sync", "%s", message)
		},
	}
	long := errors.New(strings.Repeat("é", 1000))
	for reason, why := range map[string]error{"Contested": registry.ErrContested, "NameTaken": registry.ErrNameTaken} {
		events := &kube.Events{Cluster: cluster, Record: records[reason]}
		events.Report(kube.Pass{Result: inject.Result{Problems: []inject.Problem{
			{Namespace: "loud", Name: "default", Err: fmt.Errorf("%w: %w", why, long)},
		}}})
		describe := metav1.ListOptions{FieldSelector: "involvedObject.kind=ServiceAccount,involvedObject.name=default,reason=" + reason +
			",involvedObject.uid=" + string(account.UID)}
		require.Eventually(t, func() bool {
			list, err := r.CoreV1().Events("loud").List(t.Context(), describe)
			require.NoError(t, err)
			return len(list.Items) == 1
		}, time.Minute, 20*time.Millisecond, reason)
	}
}
