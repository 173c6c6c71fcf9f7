// Package operator turns objects of the kind RegistryProfile into pull secrets.
package operator

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialsprom"
	"github.com/regcred/regcred/examples/operator/api/v1alpha1"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injectprom"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/acr"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/registry"
)

// An operator turns profiles into targets, and the results of passes into the status of profiles. A [kube.Controller]
// makes the passes.
type operator struct {
	client     client.Client
	events     record.EventRecorder
	logins     *logins
	pipeline   *regcred.Pipeline
	cluster    *kube.Cluster
	controller *kube.Controller
	// asked maps the first target of each pass in progress to a map[string]asked by the names of the profiles. Several
	// passes may be in progress.
	asked sync.Map
	// unreadable has the names of the profiles in the last list whose login or selector is invalid.
	unreadable sync.Map
	// expanded is true if a profile in the last list has a target for each namespace.
	expanded atomic.Bool
}

// asked holds the findings of a pass about a profile.
type asked struct {
	generation int64
	targets    []string          // The names of its targets.
	keys       []credentials.Key // Of the credentials of its targets in the cache.
	err        error             // Why the login or the selector is invalid, or nil.
}

const (
	// owner is the owner of the pull secrets.
	owner = "regcred"
	// tenantLabel is the label of a namespace that names its tenant. Only who may change namespaces can set it.
	tenantLabel = "regcred.github.io/tenant"
	// adoptionSecret is the secret with the key that signs published credentials. To rotate the key, delete it.
	adoptionSecret = "regcred-adoption"
)

// Scheme returns the types that an operator works with.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	// Neither fails, because both add types that are compiled in.
	if err := errors.Join(corev1.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		panic(err)
	}
	return s
}

// cacheOptions limit the manager's cache to the metadata of secrets in the operator's namespace, so that it holds no
// content of secrets, and no other secrets of the cluster. Of namespaces it holds the metadata.
func cacheOptions(namespace string) cache.Options {
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&corev1.Secret{}:    {Namespaces: map[string]cache.Config{namespace: {}}},
		&corev1.Namespace{}: {Transform: cache.TransformStripManagedFields()},
	}}
}

// A Config holds the settings of an operator.
type Config struct {
	// API is the connection to the cluster.
	API *rest.Config
	// Namespace is the namespace of the secrets with logins.
	Namespace string
	// Provider issues the credentials. If nil, the operator uses a provider for each kind of registry that a profile
	// may have.
	Provider providers.Provider
	// Evict permits the eviction of pods that were created before their pull secret.
	Evict bool
	// Metrics registers the operator's metrics.
	Metrics prometheus.Registerer
}

// NewManager returns a manager that runs the operator. The options configure the manager, except for Scheme and Cache,
// which the operator sets.
func NewManager(config Config, options ctrl.Options) (ctrl.Manager, error) {
	options.Scheme, options.Cache = Scheme(), cacheOptions(config.Namespace)
	mgr, err := ctrl.NewManager(config.API, options)
	if err != nil {
		return nil, err
	}
	return mgr, errors.Join(
		addOperator(mgr, config),
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("ping", healthz.Ping),
	)
}

// kinds returns a provider for each kind of registry that the CRD accepts. Logins without a password use the subjects.
func kinds(subjects providers.Subjects) providers.Set {
	return providers.Set{
		registry.DockerHub: dockerhub.Provider{},
		registry.Custom:    federated.Provider{Subjects: subjects, Fallback: custom.Provider{}},
		registry.ECR:       ecr.Provider{Subjects: subjects},
		registry.GCR:       gcr.Provider{Subjects: subjects},
		registry.ACR:       acr.Provider{Subjects: subjects},
		registry.System:    system.Provider{},
	}
}

// mayUse reports whether a profile of the tenant may use a service account. Profiles without a tenant are the
// platform's own, and may use all that config grants. A tenant may use the accounts of namespaces that are labeled as its
// own: the author of a profile cannot set this label.
func mayUse(namespaces client.Reader) func(tenant string, account credentials.ServiceAccount) bool {
	return func(tenant string, account credentials.ServiceAccount) bool {
		if tenant == "" {
			return true
		}
		ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
		defer cancel()
		meta := metadata("Namespace")
		err := namespaces.Get(ctx, client.ObjectKey{Name: account.Namespace}, meta) // From a cache.
		return err == nil && meta.Labels[tenantLabel] == tenant
	}
}

func addOperator(mgr ctrl.Manager, config Config) error {
	api, err := kube.NewClient(config.API)
	if err != nil {
		return err
	}
	pipeline := &regcred.Pipeline{Provider: config.Provider}
	if pipeline.Provider == nil {
		pipeline.Provider = kinds(&kube.Subjects{Client: api, Allow: mayUse(mgr.GetClient())})
	}
	ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	key, err := kube.AdoptionKey(ctx, api, config.Namespace, adoptionSecret)
	if err != nil {
		return err
	}
	o := &operator{
		client:   mgr.GetClient(),
		events:   mgr.GetEventRecorderFor("regcred"),
		logins:   &logins{watched: mgr.GetClient(), api: mgr.GetAPIReader(), namespace: config.Namespace},
		pipeline: pipeline,
		cluster:  &kube.Cluster{Client: api, Owner: owner},
	}
	o.controller = &kube.Controller{
		Cluster: o.cluster,
		Syncer: &inject.Syncer{
			Owner: owner, Credential: pipeline.Credential, Check: pipeline.Check, Lookup: pipeline.Lookup,
			Adopt: pipeline.Adopt, AdoptionKey: key, // A restart calls no issuer and writes nothing.
			CompleteLists: true, // The client reads from a cache that waits until it is synced.
		},
		Targets: o.targets,
	}
	pipeline.Cache.Hooks.Issued = o.controller.Renewed
	passes := injectprom.New(o.controller.Syncer)
	events := &kube.Events{Cluster: o.cluster, Record: o.events.Event, Object: o.object}
	o.controller.OnPass = func(p kube.Pass) {
		events.Report(p)
		o.report(p)
		if p.Err != nil {
			ctrl.Log.Error(p.Err, "a pass was not finished")
		}
	}
	for _, collector := range []prometheus.Collector{credentialsprom.New(&pipeline.Cache), passes} {
		if err := config.Metrics.Register(collector); err != nil {
			return err
		}
	}
	if config.Evict {
		if err := mgr.Add(&kube.Evictor{Cluster: o.cluster, OnEvict: evicted, OnWatch: watched}); err != nil {
			return err
		}
	}
	return errors.Join(
		mgr.Add(manager.RunnableFunc(pipeline.Cache.Run)),
		mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return o.watch(ctx, mgr.GetCache()) })),
		mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
			return o.lead(ctx, mgr.GetCache(), key, func(ctx context.Context) (credentials.Secret, error) {
				return kube.AdoptionKey(ctx, api, config.Namespace, adoptionSecret)
			})
		})),
	)
}

// evicted logs an eviction, because nothing else in the cluster records it.
func evicted(namespace, pod string, err error) {
	log := ctrl.Log.WithValues("namespace", namespace, "pod", pod)
	if err != nil {
		log.Error(err, "cannot evict a pod that came before its pull secret")
		return
	}
	log.Info("evicted a pod that came before its pull secret")
}

// watched logs that pods can no longer be watched for evictions, or can be again.
func watched(err error) {
	if err != nil {
		ctrl.Log.Error(err, "cannot see which pods came before their pull secret")
		return
	}
	ctrl.Log.Info("pods are watched again")
}

// watch requests a pass whenever a profile or a login changes, or a namespace that needs a target of its own.
func (o *operator) watch(ctx context.Context, objects cache.Cache) error {
	namespaces, err := objects.GetInformer(ctx, metadata("Namespace"))
	if err != nil {
		return err
	}
	wake := func() {
		if o.expanded.Load() {
			o.controller.Wake()
		}
	}
	_, err = namespaces.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { wake() },
		DeleteFunc: func(any) { wake() },
		UpdateFunc: func(before, after any) {
			if !maps.Equal(before.(metav1.Object).GetLabels(), after.(metav1.Object).GetLabels()) {
				wake()
			}
		},
	})
	if err != nil {
		return err
	}
	for _, object := range []client.Object{&v1alpha1.RegistryProfile{}, metadata("Secret")} {
		informer, err := objects.GetInformer(ctx, object)
		if err != nil {
			return err
		}
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { o.controller.Wake() },
			DeleteFunc: func(any) { o.controller.Wake() },
			UpdateFunc: func(before, after any) {
				if wanted(before) != wanted(after) {
					o.controller.Wake()
				}
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lead runs the controller and rotate until ctx ends. It begins when this replica becomes the leader, which may be long
// after the process read its key. With an outdated key, the first pass would adopt nothing, so lead reads it again.
func (o *operator) lead(ctx context.Context, objects cache.Cache, key credentials.Secret, read func(context.Context) (credentials.Secret, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first, stop := context.WithTimeout(ctx, reportTimeout)
	defer stop()
	key = o.useKey(first, key, read)
	rotated := make(chan error, 1)
	go func() {
		defer cancel()
		rotated <- o.rotate(ctx, objects, key, read)
	}()
	err := o.controller.Start(ctx)
	cancel()
	return errors.Join(err, <-rotated)
}

// useKey reads the adoption key and passes a new one to the controller. It returns the key in use. If read fails, that
// is the previous one.
func (o *operator) useKey(ctx context.Context, key credentials.Secret, read func(context.Context) (credentials.Secret, error)) credentials.Secret {
	now, err := read(ctx)
	if err == nil && now.Equal(key) {
		return key
	}
	if err == nil {
		err = o.controller.SetAdoptionKey(now)
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) { // Otherwise the process ends.
			ctrl.Log.Error(err, "cannot use the adoption key")
		}
		return key
	}
	return now
}

// keyCheck is the interval at which the adoption key is read again, in case a reading after an event failed.
const keyCheck = 5 * time.Minute

// rotate reads the adoption key again after its secret has changed or was deleted, until ctx ends.
func (o *operator) rotate(ctx context.Context, objects cache.Cache, key credentials.Secret, read func(context.Context) (credentials.Secret, error)) error {
	changed := make(chan struct{}, 1)
	notify := func(object any) {
		if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = unknown.Obj
		}
		if secret, ok := object.(metav1.Object); ok && secret.GetName() == adoptionSecret {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}
	informer, err := objects.GetInformer(ctx, metadata("Secret"))
	if err != nil {
		return err
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: notify, UpdateFunc: func(_, after any) { notify(after) }, DeleteFunc: notify,
	})
	if err != nil {
		return err
	}
	check := time.NewTicker(keyCheck)
	defer check.Stop()
	for {
		select {
		case <-changed:
		case <-check.C:
		case <-ctx.Done():
			return nil
		}
		key = o.useKey(ctx, key, read)
	}
}

// wanted returns a value that changes with the spec of an object, but not with its status, which the operator itself
// writes.
func wanted(object any) any {
	meta := object.(metav1.Object) // All watched objects have metadata.
	if meta.GetGeneration() != 0 {
		return meta.GetGeneration()
	}
	return meta.GetResourceVersion()
}
