package injectotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/regcred/regcred/inject"
)

// The first two are of OpenTelemetry's semantic conventions, which as of 1.43 name neither secrets nor service
// accounts.
const (
	errorKey     attribute.Key = "error.type"
	namespaceKey attribute.Key = "k8s.namespace.name"
	profileKey   attribute.Key = "regcred.profile"
	secretKey    attribute.Key = "regcred.secret"
	accountKey   attribute.Key = "regcred.service_account"
	expiryKey    attribute.Key = "regcred.expires_at"
)

// end ends a span as https://opentelemetry.io/docs/specs/semconv/general/recording-errors has it: without a status if
// there is no error.
func end(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		span.SetAttributes(errorKey.String(errorType(err)))
	}
	span.End()
}

// errorType returns the word for an error that conditions, events and metrics have, and another for a call that was not
// waited for.
func errorType(err error) string {
	reason := inject.Problem{Err: err}.Reason()
	switch {
	case reason != "Failed":
		return reason
	case errors.Is(err, context.DeadlineExceeded):
		return "Timeout"
	case errors.Is(err, context.Canceled):
		return "Canceled"
	}
	return reason
}
