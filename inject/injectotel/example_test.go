package injectotel_test

import (
	"context"
	"fmt"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injectotel"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

func Example() {
	ctx := context.Background()
	exporter := tracetest.NewInMemoryExporter() // In a real program, the one of otlptrace, with a batch processor.
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter)).Tracer("regcred")

	// With a Pipeline: regcred.Pipeline{Provider: injectotel.Provider(provider, tracer)}, and its Credential and
	// Check for the Syncer.
	provider := injectotel.Provider(&providerstest.Fake{Lifetime: time.Hour}, tracer)
	var cache credentials.Cache
	var cluster injecttest.Cluster // Or a kube.Cluster.
	if err := cluster.CreateNamespace(ctx, "shop", nil); err != nil {
		panic(err)
	}
	syncer := &inject.Syncer{
		Cluster: &cluster,
		Credential: func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
			return cache.Credential(ctx, providers.Key(provider, p), providers.Source(provider, p))
		},
	}
	injectotel.Trace(syncer, tracer)

	_, err := syncer.Sync(ctx, []inject.Target{{
		Name:       "regcred",
		Profiles:   []registry.Profile{{Name: "quay", Kind: registry.Custom, Endpoint: "quay.io", Login: credentials.Login{Username: "robot", Password: credentials.NewSecret("hunter2")}}},
		Namespaces: inject.Selection{Names: []string{"*"}},
		Accounts:   inject.Selection{Names: []string{"default"}},
	}})
	if err != nil {
		panic(err)
	}
	spans := exporter.GetSpans() // In the order in which they ended.
	pass := spans[len(spans)-1]
	for _, span := range spans {
		if span.Name != "get credential" { // It exists only if the call took a millisecond.
			fmt.Println(span.Name, span.Parent.SpanID() == pass.SpanContext.SpanID())
		}
	}
	// Output:
	// issue credential true
	// create secret true
	// link account true
	// sync pull secrets false
}
