package kube

import (
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/regcred/regcred/inject"
)

// Events reports problems as Kubernetes events on the secrets and service accounts concerned. It reports the same
// problem once an hour, because a cluster keeps an event for an hour. Problems of a target in all namespaces, and
// warnings, are reported on the program's object that describes the target; see Object.
//
// Set the fields before the first use. Events is safe for concurrent use and must not be copied.
type Events struct {
	// Record writes an event, without waiting for it. It is required. A recorder of either events API fits. For the
	// older one, in package record of client-go and from GetEventRecorderFor of a manager:
	//
	//	Record: recorder.Event
	//
	// For events.k8s.io, in package events and from GetEventRecorder of a manager of controller-runtime v0.23:
	//
	//	Record: func(object runtime.Object, eventType, reason, message string) {
	//		recorder.Eventf(object, nil, eventType, reason, "Sync", "%s", message)
	//	}
	Record func(object runtime.Object, eventType, reason, message string)
	// Object returns the program's object that describes a target, such as a custom resource. Events on it report what
	// concerns the target in all namespaces: an unavailable credential, a login that expires soon. If nil, or if it
	// returns nil, such problems are not reported.
	Object func(target string) runtime.Object
	// Cluster is the cluster of the objects. It provides the UID of a service account for an event on it, without
	// which kubectl describe does not show the event. If nil, events on service accounts have no UID.
	Cluster *Cluster

	mu   sync.Mutex
	sent map[eventKey]time.Time
}

// An eventKey identifies the event of a problem. Its kind is empty if the name is the name of a target.
type eventKey struct{ kind, namespace, name, reason string }

const repeatAfter = time.Hour

// maxNote is the maximum length of an event's note, in bytes. The API rejects a longer one:
// https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
const maxNote = 1024

// Report records an event for each problem of a pass. It sends no request itself. Call it in Controller.OnPass.
func (e *Events) Report(p Pass) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	there := make(map[eventKey]bool, len(p.Result.Problems))
	for _, problem := range slices.Concat(p.Result.Problems, p.Result.Warnings) {
		key := eventKeyOf(problem)
		object := e.object(key)
		if object == nil {
			continue
		}
		there[key] = true
		if at, ok := e.sent[key]; ok && now.Sub(at) < repeatAfter {
			continue
		}
		if e.sent == nil {
			e.sent = make(map[eventKey]time.Time)
		}
		e.sent[key] = now
		e.Record(object, corev1.EventTypeWarning, key.reason, shorten(problem.Err.Error(), maxNote))
	}
	covered := func(key eventKey) bool { // Problems that the pass did not look at may persist.
		switch {
		case p.Err != nil, p.Due:
			return false
		case len(p.Namespaces) == 0:
			return true
		default: // A pass over some namespaces does not cover all targets.
			return key.kind != "" && slices.Contains(p.Namespaces, key.namespace)
		}
	}
	maps.DeleteFunc(e.sent, func(key eventKey, at time.Time) bool {
		return now.Sub(at) >= repeatAfter || covered(key) && !there[key]
	})
}

// object returns the object of the event; nil if there is none.
func (e *Events) object(key eventKey) runtime.Object {
	if key.kind == "" {
		if key.name == "" || e.Object == nil {
			return nil
		}
		return e.Object(key.name)
	}
	object := &corev1.ObjectReference{APIVersion: "v1", Kind: key.kind, Namespace: key.namespace, Name: key.name}
	if e.Cluster == nil || key.kind != serviceAccount {
		return object
	}
	e.Cluster.start()
	if a := e.Cluster.accounts.in(key.namespace)[key.name]; a != nil {
		object.UID = a.UID
	}
	return object
}

const serviceAccount = "ServiceAccount"

func eventKeyOf(p inject.Problem) eventKey {
	if p.Namespace == "" {
		return eventKey{name: p.Target, reason: p.Reason()}
	}
	kind := "Secret"
	if p.Target == "" { // A service account may name the secrets of several targets.
		kind = serviceAccount
	}
	return eventKey{kind, p.Namespace, p.Name, p.Reason()}
}
