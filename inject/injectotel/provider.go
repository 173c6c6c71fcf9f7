package injectotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// Provider returns a Provider that makes a span of each call of next. Put it between the cache and next, for example
// as regcred.Pipeline.Provider: a credential from the cache makes no span. A cache keeps the values of its caller's
// context, so the span belongs to the trace of the pass that caused the call, and may end after the pass. A call that
// serves several passes belongs to the trace of the first; a call of the cache's Run is a separate trace.
//
// The result forwards [providers.Scoper] and [providers.Validator] to next. The argument next must not be nil, because
// a Pipeline's default provider is not traced.
func Provider(next providers.Provider, tracer trace.Tracer) providers.Provider {
	return provider{next, tracer}
}

type provider struct {
	next   providers.Provider
	tracer trace.Tracer
}

func (p provider) Credential(ctx context.Context, profile registry.Profile) (credentials.Credential, error) {
	ctx, span := p.tracer.Start(ctx, "issue credential", trace.WithAttributes(of(profile)...))
	got, err := p.next.Credential(ctx, profile)
	if err == nil && !got.ExpiresAt.IsZero() {
		span.SetAttributes(expiryKey.String(got.ExpiresAt.UTC().Format(time.RFC3339)))
	}
	end(span, err)
	return got, err
}

func (p provider) Scope(profile registry.Profile) string {
	if s, ok := p.next.(providers.Scoper); ok {
		return s.Scope(profile)
	}
	return "" // The same as without a Scoper; see providers.Key.
}

func (p provider) Validate(profile registry.Profile) error {
	if v, ok := p.next.(providers.Validator); ok {
		return v.Validate(profile)
	}
	return nil
}

// of returns attributes that identify the profile. They omit the data that is sent to the issuer.
func of(p registry.Profile) []attribute.KeyValue {
	about := []attribute.KeyValue{profileKey.String(p.Name), attribute.String("regcred.kind", string(p.Kind))}
	if p.Tenant != "" {
		about = append(about, attribute.String("regcred.tenant", p.Tenant))
	}
	return about
}
