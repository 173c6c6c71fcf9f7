// Package credentialsotel records OpenTelemetry metrics of a [credentials.Cache].
//
// [Hooks] returns the cache's Hooks for a meter. The attributes issuer and scope are fields of a key; tenant and login
// are not recorded because they may have many values. Hits are not counted because counting costs more than a hit.
package credentialsotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/regcred/regcred/credentials"
)

// Hooks returns hooks that record to the meter:
//
//	regcred.credential.call.duration   duration of calls to issuers, in seconds; result is "issued" or "failed"
//	regcred.credential.expiring        failed renewals shortly before a credential expires: alert on it
//
// It fails if the meter cannot create an instrument.
func Hooks(meter metric.Meter) (credentials.Hooks, error) {
	duration, err1 := meter.Float64Histogram("regcred.credential.call.duration",
		metric.WithUnit("s"), metric.WithDescription("How long calls to issuers of credentials took."))
	expiring, err2 := meter.Int64Counter("regcred.credential.expiring", metric.WithUnit("{renewal}"),
		metric.WithDescription("Failed renewals when less than a twentieth of a credential's life was left."))
	if err := errors.Join(err1, err2); err != nil {
		return credentials.Hooks{}, err
	}
	ended := func(result string) func(credentials.Event) {
		return func(e credentials.Event) {
			duration.Record(context.Background(), e.Took.Seconds(),
				metric.WithAttributes(attributes(e)...), metric.WithAttributes(attribute.String("result", result)))
		}
	}
	return credentials.Hooks{
		Issued: ended("issued"),
		Failed: ended("failed"),
		Expiring: func(e credentials.Event) {
			expiring.Add(context.Background(), 1, metric.WithAttributes(attributes(e)...))
		},
	}, nil
}

func attributes(e credentials.Event) []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("issuer", e.Key.Issuer), attribute.String("scope", e.Key.Scope)}
}
