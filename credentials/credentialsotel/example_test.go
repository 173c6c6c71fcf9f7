package credentialsotel_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialsotel"
)

// A program exports the metrics; the reader shows them here.
func ExampleHooks() {
	ctx := context.Background()
	reader := metric.NewManualReader()
	meters := metric.NewMeterProvider(metric.WithReader(reader))
	hooks, err := credentialsotel.Hooks(meters.Meter("shop"))
	if err != nil {
		fmt.Println(err)
		return
	}
	cache := credentials.Cache{Hooks: hooks} // In a program with a regcred.Pipeline, set pipeline.Cache.Hooks.

	issuer := credentials.Static(credentials.Credential{Username: "robot", Password: credentials.NewSecret("s3cret")})
	if _, err := cache.Credential(ctx, credentials.Key{Issuer: "ecr", Scope: "aws/eu-central-1"}, issuer); err != nil {
		fmt.Println(err)
		return
	}
	var got metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &got); err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range got.ScopeMetrics[0].Metrics {
		fmt.Println(m.Name, m.Unit)
		if calls, ok := m.Data.(metricdata.Histogram[float64]); ok {
			point := calls.DataPoints[0]
			fmt.Println(point.Attributes.Encoded(attribute.DefaultEncoder()), point.Count)
		}
	}
	// Output:
	// regcred.credential.call.duration s
	// issuer=ecr,result=issued,scope=aws/eu-central-1 1
}
