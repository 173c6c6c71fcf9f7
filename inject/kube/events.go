package kube

import (
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/regcred/regcred/inject"
)

// Events tells of problems by events of Kubernetes, on the secrets and the service accounts that they are about. The
// same problem is told once an hour, which is how long a cluster keeps an event. Problems of a target in all places, and
// warnings, are on the object of the program that describes the target; see Object.
//
// Set the fields before the first use; it is safe for concurrent use and must not be copied.
type Events struct {
	// Record writes an event, without waiting for it. It is required. A recorder of either API does it; of the older one,
	// which package record of client-go has, and the GetEventRecorderFor of a manager:
	//
	//	Record: recorder.Event
	//
	// Of events.k8s.io, which package events has, and the GetEventRecorder of a manager of controller-runtime v0.23:
	//
	//	Record: func(object runtime.Object, eventType, reason, message string) {
	//		recorder.Eventf(object, nil, eventType, reason, "Sync", "%s", message)
	//	}
	Record func(object runtime.Object, eventType, reason, message string)
	// Object returns the object of the program that describes a target, such as a custom resource, for what concerns the
	// target in all places: a credential that cannot be had, a login that expires soon. If nil, or where it returns nil,
	// there is no event of it.
	Object func(target string) runtime.Object
	// Cluster is where the objects are: by it, an event says which service account of that name it is about, and kubectl
	// describe shows only such events. Nil means that it does not say.
	Cluster *Cluster

	mu   sync.Mutex
	sent map[eventKey]time.Time
}

// An eventKey identifies the event of a problem. Its kind is empty where the name is that of a target.
type eventKey struct{ kind, namespace, name, reason string }

const repeatAfter = time.Hour

// maxNote is what an event takes, in bytes. The API refuses one that is longer:
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
	if p.Err != nil || p.Due {
		return // What was not looked at may still be wrong.
	}
	for key := range e.sent {
		if key.kind == "" && len(p.Namespaces) > 0 {
			continue // A pass over some namespaces does not look at all targets.
		}
		if !there[key] && (len(p.Namespaces) == 0 || slices.Contains(p.Namespaces, key.namespace)) {
			delete(e.sent, key)
		}
	}
}

// object returns what the event is about; nil if there is no such object.
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
