package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

// The objects of this example are Secrets with a label, in the namespace of the platform. Replace them with the
// objects of your own API: each holds a profile in JSON, and the namespaces that need it.
const (
	objectLabel          = "example.com/registry"
	objectNamespace      = "platform"
	profileKey           = "profile"
	namespacesAnnotation = "example.com/namespaces" // Names, separated by commas.
	statusAnnotation     = "example.com/status"
	owner                = "platform" // The owner of the pull secrets, who may change and delete them.
)

// objectsInCache are the options of a manager that reads these objects and no other Secrets.
func objectsInCache() cache.Options {
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&corev1.Secret{}: {
			Label:      labels.SelectorFromSet(labels.Set{objectLabel: "true"}),
			Namespaces: map[string]cache.Config{objectNamespace: {}},
		},
	}}
}

// An objectReconciler reconciles the pull secrets of one object at a time, and writes its status.
type objectReconciler struct {
	client     client.Client // Reads from the cache of the manager.
	pipeline   *regcred.Pipeline
	controller *kube.Controller
}

// keepPerObject adds to a manager a pull secret for each object. The manager must have objectsInCache as its Cache
// options: without them, it would reconcile every Secret of the cluster as an object, and write a status into it.
func keepPerObject(mgr ctrl.Manager, config *rest.Config) (*kube.Controller, error) {
	api, err := kube.NewClient(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	key, err := kube.AdoptionKey(ctx, api, objectNamespace, "regcred-adoption")
	if err != nil {
		return nil, err
	}
	pipeline := &regcred.Pipeline{} // Provider: a providers.Set, where there are clouds among the profiles.
	r := &objectReconciler{client: mgr.GetClient(), pipeline: pipeline}
	r.controller = &kube.Controller{
		Cluster: &kube.Cluster{Client: api, Owner: owner},
		Syncer: &inject.Syncer{
			Owner: owner, Credential: pipeline.Credential, Check: pipeline.Check, Lookup: pipeline.Lookup,
			Adopt: pipeline.Adopt, AdoptionKey: key, // A restart calls no issuer and writes nothing.
			CompleteLists: true, // The client reads from a cache that waits until it is synced.
		},
		Targets: r.targets,
		OnPass: func(p kube.Pass) {
			if err := errors.Join(p.Err, p.Result.Err()); err != nil {
				mgr.GetLogger().Error(err, "pull secrets are out of sync")
			}
		},
	}
	pipeline.Cache.Hooks = pipeline.Cache.Hooks.Join(credentials.Hooks{Issued: r.controller.Renewed})
	return r.controller, errors.Join(
		mgr.Add(manager.RunnableFunc(pipeline.Cache.Run)),
		mgr.Add(r.controller),
		ctrl.NewControllerManagedBy(mgr).Named("registries").For(&corev1.Secret{}).Complete(r),
	)
}

// targets returns the complete list, always: the secrets of a target that is missing from it are deleted. If the list
// cannot be read, it fails, and what is there stays. An object that cannot be read has a target that is invalid, which
// keeps its secrets as they are.
func (r *objectReconciler) targets(ctx context.Context) ([]inject.Target, error) {
	var list corev1.SecretList
	if err := r.client.List(ctx, &list, client.InNamespace(objectNamespace)); err != nil {
		return nil, err
	}
	targets := make([]inject.Target, 0, len(list.Items))
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil { // Otherwise it waits for a finalizer, and Reconcile has removed its target.
			target, _ := targetOf(&list.Items[i]) // Reconcile reports what is wrong.
			targets = append(targets, target)
		}
	}
	return targets, nil
}

// targetName never changes for an object: running pods reference the secret by this name.
func targetName(object string) string { return "pull-" + object }

func targetOf(object *corev1.Secret) (inject.Target, error) {
	target := inject.Target{
		Name:       targetName(object.Name),
		Namespaces: inject.Selection{Names: strings.Split(object.Annotations[namespacesAnnotation], ",")},
		Accounts:   inject.Selection{Names: []string{"default"}},
	}
	profiles, err := registry.DecodeProfiles(object.Data[profileKey])
	if err == nil && len(profiles) != 1 {
		err = fmt.Errorf("%d profiles: expected one", len(profiles))
	}
	if err != nil {
		target.Profiles = []registry.Profile{{Name: object.Name}} // Not valid.
		return target, err
	}
	target.Profiles = profiles
	return target, target.Validate()
}

// Reconcile passes the target of an object on at once, without waiting for the next full pass, checks its login, and
// writes what is wrong into its status.
func (r *objectReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var object corev1.Secret
	if err := r.client.Get(ctx, request.NamespacedName, &object); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	} else if err != nil || object.DeletionTimestamp != nil {
		r.controller.RemoveTarget(targetName(request.Name))
		return ctrl.Result{}, nil
	}
	target, err := targetOf(&object)
	if err == nil {
		r.controller.SetTarget(target)
		_, err = r.pipeline.CheckLogin(ctx, target.Profiles[0])
	}
	status, failed := statusOf(err)
	if failed != nil {
		return ctrl.Result{}, failed
	}
	if object.Annotations[statusAnnotation] != status {
		before := client.MergeFrom(object.DeepCopy())
		if object.Annotations == nil {
			object.Annotations = make(map[string]string)
		}
		object.Annotations[statusAnnotation] = status
		if err := r.client.Patch(ctx, &object, before); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, err
		}
	}
	if registry.Temporary(err) {
		return ctrl.Result{}, err // The manager tries again, ever more rarely.
	}
	return ctrl.Result{}, nil
}

// statusOf returns the issues in JSON. They hold no secret.
func statusOf(err error) (string, error) {
	if err == nil {
		return "ready", nil
	}
	data, failed := json.Marshal(registry.IssuesOf(err))
	return string(data), failed
}
