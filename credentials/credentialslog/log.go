// Package credentialslog logs the events of a [credentials.Cache] to a [slog.Logger].
//
// Set [Hooks] as the cache's Hooks. It logs calls to issuers, and never a secret. It does not log hits, because they
// are by far the most frequent event.
package credentialslog

import (
	"context"
	"log/slog"

	"github.com/regcred/regcred/credentials"
)

// Hooks returns hooks that log to the logger: an issued credential at level debug, a failure at level warn, and a
// credential that is close to its expiry because its renewals fail at level error. If logger is nil, the hooks use
// [slog.Default] at the time of each event.
func Hooks(logger *slog.Logger) credentials.Hooks {
	log := func(level slog.Level, message string) func(credentials.Event) {
		return func(e credentials.Event) {
			to := logger
			if to == nil {
				to = slog.Default()
			}
			to.LogAttrs(context.Background(), level, message, attributes(e)...)
		}
	}
	return credentials.Hooks{
		Issued:   log(slog.LevelDebug, "credential issued"),
		Adopted:  log(slog.LevelDebug, "credential adopted"),
		Failed:   log(slog.LevelWarn, "credential not issued"),
		Expiring: log(slog.LevelError, "credential expires soon and cannot be renewed"),
	}
}

func attributes(e credentials.Event) []slog.Attr {
	attrs := []slog.Attr{slog.String("key", e.Key.String()), slog.Duration("took", e.Took)}
	if !e.ExpiresAt.IsZero() {
		attrs = append(attrs, slog.Time("expiresAt", e.ExpiresAt))
	}
	if !e.NextCall.IsZero() {
		attrs = append(attrs, slog.Time("nextCall", e.NextCall))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Int("failures", e.Failures), slog.Any("error", e.Err))
	}
	return attrs
}
