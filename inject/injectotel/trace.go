// Package injectotel traces an [inject.Syncer] with OpenTelemetry: a trace shows a pass, the calls to issuers that the
// pass caused, and the changes that it made.
//
// [Trace] makes the spans of a Syncer, and [Provider] makes the spans of calls to issuers.
//
//	sync pull secrets        a pass, also one of a kube.Controller or of EnsureReady
//	├ get credential         a profile whose credential had to be waited for
//	├ issue credential       a call to an issuer
//	├ create secret ...      a change that was tried; its name is the inject.Action
//	check images             a call of Syncer.Check
//
// A span that ends with an error has the error's text as its status. Its attribute error.type is the error's
// [inject.Problem.Reason], or Canceled or Timeout. Attributes for which OpenTelemetry defines no name begin with
// "regcred.". No attribute holds a secret or a login.
//
// All spans are of the kind internal. Spans of requests come from the HTTP clients, if these are instrumented.
//
// A pass that writes to thousands of namespaces makes a span for each change, and its own span ends last. By default,
// the queue of an SDK's batch processor has 2,048 places, and the processor drops spans when it is full: configure a
// larger queue.
package injectotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// Trace adds spans to the Cluster, Credential, Check and OnSync of the Syncer. Call it after these are set and before
// the Syncer is used. Existing hooks are called too. Tracing works under a kube.Controller too, whose own field
// Cluster stays the kube.Cluster.
//
// Each span of a pass has the attributes, such as k8s.cluster.name if there are several clusters. Each problem of a
// pass is recorded in the span as an exception event, of which an SDK keeps the last 128. A pass has an error status
// only if Sync returns an error, or a kube.Controller had no targets for it.
func Trace(syncer *inject.Syncer, tracer trace.Tracer, attributes ...attribute.KeyValue) {
	t := tracing{tracer, attributes}
	// Leave a missing field unset, so that the Syncer reports it.
	if syncer.Cluster != nil {
		syncer.Cluster = cluster{syncer.Cluster, tracer}
	}
	if syncer.Credential != nil {
		syncer.Credential = t.credential(syncer.Credential)
	}
	if syncer.Check != nil {
		syncer.Check = t.check(syncer.Check)
	}
	syncer.OnSync = t.sync(syncer)
}

// A tracing makes the spans of one Syncer.
type tracing struct {
	trace.Tracer
	attributes []attribute.KeyValue // Of passes.
}

// sync returns an OnSync that makes the span of a pass around the existing hook.
func (t tracing) sync(syncer *inject.Syncer) func(context.Context, []string) (context.Context, func(inject.Result, error)) {
	next := syncer.OnSync
	return func(ctx context.Context, namespaces []string) (context.Context, func(inject.Result, error)) {
		ctx, span := t.Start(ctx, "sync pull secrets", trace.WithAttributes(t.attributes...))
		// There may be thousands of namespaces.
		if len(namespaces) == 1 {
			span.SetAttributes(namespaceKey.String(namespaces[0]))
		} else if len(namespaces) > 1 {
			span.SetAttributes(attribute.Int("regcred.pass.namespaces", len(namespaces)))
		}
		done := func(inject.Result, error) {}
		if next != nil {
			ctx, done = next(ctx, namespaces)
		}
		return ctx, func(result inject.Result, err error) {
			done(result, err)
			passed(span, result)
			end(span, err)
		}
	}
}

// passed records the result of a pass in its span.
func passed(span trace.Span, result inject.Result) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.Int("regcred.pass.changes", len(result.Changed)),
		attribute.Int("regcred.pass.problems", len(result.Problems)),
	)
	if at := result.ExpiresAt; !at.IsZero() {
		span.SetAttributes(expiryKey.String(at.UTC().Format(time.RFC3339)))
	}
	for _, p := range result.Problems {
		span.RecordError(p, trace.WithAttributes(problem(p)...))
	}
}

// problem returns the attributes of a problem.
func problem(p inject.Problem) []attribute.KeyValue {
	about := []attribute.KeyValue{errorKey.String(errorType(p.Err))}
	object := secretKey
	if p.Target == "" {
		object = accountKey
	}
	for _, a := range []attribute.KeyValue{
		attribute.String("regcred.target", p.Target), profileKey.String(p.Profile), namespaceKey.String(p.Namespace), object.String(p.Name),
	} {
		if a.Value.AsString() != "" {
			about = append(about, a)
		}
	}
	return about
}

// waited is the shortest wait for a credential that makes a span. A cached credential takes microseconds, and a pass
// may need one for each of thousands of profiles.
const waited = time.Millisecond

func (t tracing) credential(ask providers.Func) providers.Func {
	return func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
		began := time.Now()
		got, err := ask(ctx, p)
		if time.Since(began) >= waited {
			_, span := t.Start(ctx, "get credential", trace.WithTimestamp(began), trace.WithAttributes(of(p)...))
			end(span, err)
		}
		return got, err
	}
}

func (t tracing) check(ask func(context.Context, []registry.Profile, []string) error) func(context.Context, []registry.Profile, []string) error {
	return func(ctx context.Context, profiles []registry.Profile, images []string) error {
		names := make([]string, len(profiles))
		for i, p := range profiles {
			names[i] = p.Name
		}
		ctx, span := t.Start(ctx, "check images", trace.WithAttributes(
			attribute.StringSlice("regcred.profiles", names), attribute.StringSlice("regcred.images", images),
		))
		err := ask(ctx, profiles, images)
		end(span, err)
		return err
	}
}
