package injectotel_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injectotel"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

// A world is a cluster whose Syncer is traced, down to the issuer.
type world struct {
	t        *testing.T
	cluster  injecttest.Cluster
	issuer   providerstest.Fake
	syncer   *inject.Syncer
	exporter *tracetest.InMemoryExporter
}

func newWorld(t *testing.T, namespaces ...string) *world {
	w := &world{t: t, exporter: tracetest.NewInMemoryExporter()}
	w.issuer.Lifetime = 10 * time.Hour
	for _, name := range namespaces {
		require.NoError(t, w.cluster.CreateNamespace(t.Context(), name, nil))
		require.NoError(t, w.cluster.WriteAccount(t.Context(), name, injecttest.AccountObject{Name: "default"}))
	}
	provider := injectotel.Provider(&w.issuer, w.tracer())
	var cache credentials.Cache
	w.syncer = &inject.Syncer{
		Cluster:     &w.cluster,
		Concurrency: 1,
		Credential: func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
			return cache.Credential(ctx, providers.Key(provider, p), providers.Source(provider, p))
		},
		Check: func(_ context.Context, _ []registry.Profile, images []string) error {
			if images[0] == "quay.io/team/gone" {
				return registry.ErrImageNotFound
			}
			return nil
		},
	}
	injectotel.Trace(w.syncer, w.tracer(), attribute.String("k8s.cluster.name", "eu"))
	return w
}

func (w *world) tracer() trace.Tracer {
	return sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.exporter)).Tracer("test")
}

func (w *world) sync(targets []inject.Target, namespaces ...string) error {
	_, err := w.syncer.Sync(w.t.Context(), targets, namespaces...)
	return err
}

func target() []inject.Target {
	return []inject.Target{{
		Name: "regcred",
		Profiles: []registry.Profile{{
			Name: "quay", Tenant: "acme", Kind: registry.Custom, Endpoint: "quay.io/team",
			Login: credentials.Login{Username: "robot", Password: credentials.NewSecret("hunter2")},
		}},
		Namespaces: inject.Selection{Names: []string{"*"}},
		Accounts:   inject.Selection{Names: []string{"default"}},
	}}
}

// trees returns the spans since its last call, and checks that they hold no secret.
func (w *world) trees() string {
	text := tree(w.exporter.GetSpans())
	w.exporter.Reset()
	for _, secret := range []string{"hunter2", "fake-secret", "auths"} {
		require.NotContains(w.t, text, secret)
	}
	return "\n" + text
}

// tree returns a line for each span and each event, indented below its parent.
func tree(spans tracetest.SpanStubs) string {
	var b strings.Builder
	var write func(parent trace.SpanID, indent string)
	write = func(parent trace.SpanID, indent string) {
		var lines []string
		ids := make(map[string][]trace.SpanID)
		for _, s := range spans {
			if s.Parent.SpanID() == parent {
				line := line(s)
				lines = append(lines, line)
				ids[line] = append(ids[line], s.SpanContext.SpanID())
			}
		}
		slices.SortStableFunc(lines, cmp.Compare)
		for _, line := range lines {
			b.WriteString(indent + strings.ReplaceAll(line, "\n", "\n"+indent) + "\n")
			write(ids[line][0], indent+"  ")
			ids[line] = ids[line][1:]
		}
	}
	write(trace.SpanID{}, "")
	return b.String()
}

func line(s tracetest.SpanStub) string {
	text := s.Name + list(s.Attributes)
	if s.Status.Code == codes.Error {
		text += " ! " + s.Status.Description
	}
	if took := s.EndTime.Sub(s.StartTime); took > 0 {
		text += fmt.Sprintf(" (%s)", took)
	}
	for _, e := range s.Events {
		text += "\n  * " + e.Name + list(e.Attributes)
	}
	return text
}

func list(attributes []attribute.KeyValue) string {
	texts := make([]string, len(attributes))
	for i, a := range attributes {
		texts[i] = fmt.Sprintf(" %s=%s", a.Key, a.Value.String())
	}
	slices.Sort(texts)
	return strings.Join(texts, "")
}

func TestFirstPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		w.issuer.Delay = time.Second
		require.NoError(t, w.sync(target()))
		require.Equal(t, `
sync pull secrets k8s.cluster.name=eu regcred.expires_at=2000-01-01T10:00:01Z regcred.pass.changes=4 regcred.pass.problems=0 (1s)
  create secret k8s.namespace.name=a regcred.expires_at=2000-01-01T10:00:01Z regcred.owner=regcred regcred.profiles=["quay"] regcred.reason=new; profiles quay; expires 2000-01-01T10:00:01Z regcred.secret=regcred
  create secret k8s.namespace.name=b regcred.expires_at=2000-01-01T10:00:01Z regcred.owner=regcred regcred.profiles=["quay"] regcred.reason=new; profiles quay; expires 2000-01-01T10:00:01Z regcred.secret=regcred
  get credential regcred.kind=custom regcred.profile=quay regcred.tenant=acme (1s)
  issue credential regcred.expires_at=2000-01-01T10:00:01Z regcred.kind=custom regcred.profile=quay regcred.tenant=acme (1s)
  link account k8s.namespace.name=a regcred.link=["regcred"] regcred.owner=regcred regcred.service_account=default
  link account k8s.namespace.name=b regcred.link=["regcred"] regcred.owner=regcred regcred.service_account=default
`, w.trees())
	})
}

func TestNothingToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		require.NoError(t, w.sync(target()))
		w.trees()
		require.NoError(t, w.sync(target()))
		require.NoError(t, w.sync(target(), "a"))
		require.NoError(t, w.sync(target(), "a", "b"))
		require.Equal(t, `
sync pull secrets k8s.cluster.name=eu k8s.namespace.name=a regcred.expires_at=2000-01-01T10:00:00Z regcred.pass.changes=0 regcred.pass.problems=0
sync pull secrets k8s.cluster.name=eu regcred.expires_at=2000-01-01T10:00:00Z regcred.pass.changes=0 regcred.pass.namespaces=2 regcred.pass.problems=0
sync pull secrets k8s.cluster.name=eu regcred.expires_at=2000-01-01T10:00:00Z regcred.pass.changes=0 regcred.pass.problems=0
`, w.trees())
	})
}

func TestConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		tries := 0
		w.cluster.Before = func(ctx context.Context, c inject.Change) error {
			if tries++; tries != 2 {
				return nil
			}
			return w.cluster.WriteAccount(ctx, "a", injecttest.AccountObject{Name: "default", PullSecrets: []string{"theirs"}})
		}
		require.NoError(t, w.sync(target()))
		require.Equal(t, `
sync pull secrets k8s.cluster.name=eu regcred.expires_at=2000-01-01T10:00:00Z regcred.pass.changes=2 regcred.pass.problems=0 (20ms)
  create secret k8s.namespace.name=a regcred.expires_at=2000-01-01T10:00:00Z regcred.owner=regcred regcred.profiles=["quay"] regcred.reason=new; profiles quay; expires 2000-01-01T10:00:00Z regcred.secret=regcred
  issue credential regcred.expires_at=2000-01-01T10:00:00Z regcred.kind=custom regcred.profile=quay regcred.tenant=acme
  link account error.type=Conflict k8s.namespace.name=a regcred.link=["regcred"] regcred.owner=regcred regcred.service_account=default ! link account a/default: conflict
  link account k8s.namespace.name=a regcred.link=["regcred"] regcred.owner=regcred regcred.service_account=default
`, w.trees(), "the pass fixed it, and is no error")
	})
}

func TestEndlessConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		w.cluster.Before = func(_ context.Context, c inject.Change) error {
			if c.Action == inject.LinkAccount {
				return registry.ErrConflict
			}
			return nil
		}
		require.NoError(t, w.sync(target()))
		text := w.trees()
		require.Contains(t, text, `
  * exception error.type=Conflict exception.message=a/default: conflict exception.type=github.com/regcred/regcred/inject.Problem k8s.namespace.name=a regcred.service_account=default
`)
		require.Equal(t, 4, strings.Count(text, "\n  link account error.type=Conflict "))
	})
}

// errDown is the error of a Cluster whose API server is down.
var errDown = fmt.Errorf("connection refused: %w", registry.ErrClusterUnavailable)

func TestUnavailableNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		w.cluster.Before = func(context.Context, inject.Change) error { return errDown }
		require.NoError(t, w.sync(target()), "one namespace says nothing of the others")
		require.Equal(t, `
sync pull secrets k8s.cluster.name=eu regcred.pass.changes=0 regcred.pass.problems=1
  * exception error.type=ClusterUnavailable exception.message=target regcred: a/regcred: connection refused: cluster unavailable exception.type=github.com/regcred/regcred/inject.Problem k8s.namespace.name=a regcred.secret=regcred regcred.target=regcred
  create secret error.type=ClusterUnavailable k8s.namespace.name=a regcred.expires_at=2000-01-01T10:00:00Z regcred.owner=regcred regcred.profiles=["quay"] regcred.reason=new; profiles quay; expires 2000-01-01T10:00:00Z regcred.secret=regcred ! connection refused: cluster unavailable
  issue credential regcred.expires_at=2000-01-01T10:00:00Z regcred.kind=custom regcred.profile=quay regcred.tenant=acme
`, w.trees())
	})
}

func TestUnavailableCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l")
		w.cluster.Before = func(context.Context, inject.Change) error { return errDown }
		require.ErrorIs(t, w.sync(target()), registry.ErrClusterUnavailable)
		spans := strings.Split(w.trees(), "\n")
		require.Equal(t, "sync pull secrets error.type=ClusterUnavailable k8s.cluster.name=eu regcred.pass.changes=0 regcred.pass.problems=9"+
			" ! sync pull secrets: connection refused: cluster unavailable", spans[1])
		tried := slices.DeleteFunc(spans, func(s string) bool { return !strings.HasPrefix(s, "  create secret error.type=ClusterUnavailable ") })
		require.Len(t, tried, 10, "then the pass gave up")

		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errDown) // So that even the state cannot be read.
		_, err := w.syncer.Sync(ctx, target())
		require.ErrorIs(t, err, registry.ErrClusterUnavailable)
		require.Equal(t, `
sync pull secrets error.type=ClusterUnavailable k8s.cluster.name=eu regcred.pass.changes=0 regcred.pass.problems=0 ! sync pull secrets: connection refused: cluster unavailable
`, w.trees())
	})
}

func TestFailingIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		w.issuer.Fail = func(int) error { return registry.ErrRateLimited }
		require.NoError(t, w.sync(target()))
		const pass = `
sync pull secrets k8s.cluster.name=eu regcred.pass.changes=0 regcred.pass.problems=1
  \* exception error.type=RateLimited exception.message=target regcred: profile quay: `
		require.Regexp(t, "^"+pass+`get fake credential .* exception.type=github.com/regcred/regcred/inject.Problem regcred.profile=quay regcred.target=regcred
  issue credential error.type=RateLimited regcred.kind=custom regcred.profile=quay regcred.tenant=acme ! get fake credential for profile "quay": rate limited.*
$`, w.trees())
		require.NoError(t, w.sync(target()))
		require.Regexp(t, "^"+pass+`.* exception.type=github.com/regcred/regcred/inject.Problem regcred.profile=quay regcred.target=regcred
$`, w.trees(), "the issuer is left alone")
	})
}

// A call that renews an unexpired credential continues concurrently with the pass, and still belongs to its trace.
func TestRenewalBesideThePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		require.NoError(t, w.sync(target()))
		w.trees()
		time.Sleep(9 * time.Hour)
		w.issuer.Delay = time.Second
		require.NoError(t, w.sync(target()))
		time.Sleep(2 * time.Second)
		require.Equal(t, `
sync pull secrets k8s.cluster.name=eu regcred.expires_at=2000-01-01T10:00:00Z regcred.pass.changes=0 regcred.pass.problems=0
  issue credential regcred.expires_at=2000-01-01T19:00:01Z regcred.kind=custom regcred.profile=quay regcred.tenant=acme (1s)
`, w.trees())
	})
}

func TestClearing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		require.NoError(t, w.sync(target()))
		w.trees()
		w.syncer.CompleteLists = true
		require.NoError(t, w.sync(nil))
		require.Equal(t, `
sync pull secrets k8s.cluster.name=eu regcred.pass.changes=2 regcred.pass.problems=0
  delete secret k8s.namespace.name=a regcred.owner=regcred regcred.reason=no target selects this place regcred.secret=regcred
  link account k8s.namespace.name=a regcred.owner=regcred regcred.service_account=default regcred.unlink=["regcred"]
`, w.trees())
	})
}

func TestEnsureReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		require.NoError(t, w.sync(target()))
		w.trees()
		ctx, span := w.tracer().Start(t.Context(), "publish")
		err := w.syncer.EnsureReady(ctx, target(), "a", "default", "quay.io/team/gone")
		span.End()
		require.ErrorIs(t, err, registry.ErrNotFound)
		require.Equal(t, `
publish
  check images error.type=ImageNotFound regcred.images=["quay.io/team/gone"] regcred.profiles=["quay"] ! image not found
  sync pull secrets k8s.cluster.name=eu k8s.namespace.name=a regcred.expires_at=2000-01-01T10:00:00Z regcred.pass.changes=0 regcred.pass.problems=0
`, w.trees())
		unset := &inject.Syncer{}
		injectotel.Trace(unset, w.tracer())
		require.Nil(t, unset.Check, "it says that no images may be named")
		require.Nil(t, unset.Cluster, "a Syncer says so")
		require.Nil(t, unset.Credential, "a Syncer says so")
	})
}

func TestErrorTypes(t *testing.T) {
	for want, err := range map[string]error{
		"Conflict":           registry.ErrConflict,
		"NamespaceGone":      registry.ErrNamespaceGone,
		"ClusterUnavailable": registry.ErrClusterUnavailable,
		"NameTaken":          registry.ErrNameTaken,
		"RateLimited":        registry.ErrRateLimited,
		"Canceled":           context.Canceled,
		"Timeout":            context.DeadlineExceeded,
		"Failed":             errors.New("odd"),
	} {
		w := newWorld(t, "a")
		w.cluster.Before = func(context.Context, inject.Change) error { return fmt.Errorf("wrapped: %w", err) }
		change := inject.Change{Action: inject.CreateSecret, Namespace: "a", Name: "one"}
		require.ErrorIs(t, w.syncer.Cluster.Apply(t.Context(), change), err)
		require.Contains(t, w.trees(), " error.type="+want+" ")
	}
}

// An existing hook is called too, with the span in its context.
func TestHookIsKept(t *testing.T) {
	w := newWorld(t, "a")
	told := 0
	syncer := &inject.Syncer{Cluster: &w.cluster, Credential: w.issuer.Credential}
	syncer.OnSync = func(ctx context.Context, namespaces []string) (context.Context, func(inject.Result, error)) {
		require.True(t, trace.SpanContextFromContext(ctx).IsValid())
		require.Equal(t, []string{"a"}, namespaces)
		return ctx, func(inject.Result, error) { told++ }
	}
	injectotel.Trace(syncer, w.tracer())
	_, err := syncer.Sync(t.Context(), target(), "a")
	require.NoError(t, err)
	require.Equal(t, 1, told)
}
