package injectotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/regcred/regcred/inject"
)

// The first two are from OpenTelemetry's semantic conventions, which as of version 1.43 define no names for secrets or
// service accounts.
const (
	errorKey     attribute.Key = "error.type"
	namespaceKey attribute.Key = "k8s.namespace.name"
	profileKey   attribute.Key = "regcred.profile"
	secretKey    attribute.Key = "regcred.secret"
	accountKey   attribute.Key = "regcred.service_account"
	expiryKey    attribute.Key = "regcred.expires_at"
)

// end ends a span according to https://opentelemetry.io/docs/specs/semconv/general/recording-errors: without a status
// if there is no error.
func end(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		span.SetAttributes(errorKey.String(errorType(err)))
	}
	span.End()
}

// errorType returns the reason that conditions, events and metrics have for an error, or Timeout or Canceled for a
// call that was abandoned.
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
