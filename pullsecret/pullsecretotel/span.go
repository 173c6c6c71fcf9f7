package pullsecretotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/regcred/regcred/pullsecret"
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

// errorType returns the word for an error that conditions, events and metrics have, and another where they have none.
func errorType(err error) string {
	reason := pullsecret.Problem{Err: err}.Reason()
	if reason != "Failed" {
		return reason
	}
	for _, known := range []struct {
		err    error
		reason string
	}{
		{pullsecret.ErrConflict, "Conflict"},
		{pullsecret.ErrNamespace, "NamespaceGone"},
		{pullsecret.ErrUnavailable, "Unavailable"},
		{context.Canceled, "Canceled"},
		{context.DeadlineExceeded, "Timeout"},
	} {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	return reason
}
