// Package injectotel traces for OpenTelemetry what a [inject.Syncer] does: a trace is a pass, the calls to
// issuers that it caused, and the changes that it made.
//
// [Trace] makes the spans of a Syncer, and [Provider] those of calls to issuers.
//
//	sync pull secrets        a pass, also one of a kube.Controller or of EnsureReady
//	├ get credential         a profile whose credential had to be waited for
//	├ issue credential       a call to an issuer
//	├ create secret ...      a change that was tried; its name is the inject.Action
//	check images             a call of Syncer.Check
//
// A span that ends with an error has its text as status, and in the attribute error.type the word that
// [inject.Problem.Reason] has for it, or Canceled or Timeout. Attributes that OpenTelemetry has no name for begin
// with "regcred.". None holds a secret, nor a login.
//
// All spans are internal ones: those of requests come from the HTTP clients, where these are instrumented.
//
// A pass that writes to thousands of namespaces makes a span for each change, and its own ends last. An SDK's batch
// processor drops what its queue has no place for, which by default has 2,048: give it more.
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

// Trace joins spans to the Cluster, Credential, Check and OnSync of the Syncer. Call it once they are set and before the
// Syncer is used. A hook that was there is called too. A kube.Controller works on: its own field Cluster stays the
// kube.Cluster.
//
// Each span of a pass has the attributes: k8s.cluster.name, say, where there are several. What a pass could not fix is
// recorded in it as an exception event each, of which an SDK keeps the last 128; a pass is an error only where Sync
// returns one, or a kube.Controller had no targets for it.
func Trace(syncer *inject.Syncer, tracer trace.Tracer, attributes ...attribute.KeyValue) {
	t := tracing{tracer, attributes}
	// What is not set stays so, for the Syncer to say.
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

// sync makes the span of a pass, around what the hook that was there does.
func (t tracing) sync(syncer *inject.Syncer) func(context.Context, []string) (context.Context, func(inject.Result, error)) {
	next := syncer.OnSync
	return func(ctx context.Context, namespaces []string) (context.Context, func(inject.Result, error)) {
		ctx, span := t.Start(ctx, "sync pull secrets", trace.WithAttributes(t.attributes...))
		// There may be thousands of them.
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

// passed says what came of a pass.
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

// problem says what a problem is about.
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

// waited is what a credential takes that was not in a cache: one that is comes within microseconds, and there may be
// one for each of thousands of profiles in every pass.
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
