package credentials

import (
	"errors"
	"fmt"
	"time"
)

// ErrRefused is why a [Cache] does not ask an issuer at once: what it issues is refused again and again.
var ErrRefused = errors.New("new credentials are refused like the one before")

// refusalMemory is how far apart refusals are that have nothing to do with each other. It is longer than the longest
// wait between two of them.
const refusalMemory = 10 * time.Minute

// A BackoffError is what callers get while there is no credential and its issuer is left alone after a failure.
type BackoffError struct {
	// Failures is how many calls failed in a row.
	Failures int
	// Until is when the issuer is asked again, if someone wants it to be.
	Until time.Time
	// Err is what the last call ended with, or [ErrRefused].
	Err error
}

// Error returns the last call's error and when there will be another one.
func (e *BackoffError) Error() string {
	return fmt.Sprintf("no new attempt before %s: %s", stamp(e.Until), e.Err)
}

// Unwrap returns Err.
func (e *BackoffError) Unwrap() error { return e.Err }

// RetryAfter returns how long it is until Until.
func (e *BackoffError) RetryAfter() time.Duration { return max(0, time.Until(e.Until)) }

// retryAfter returns how long the issuer wants to be left alone; zero if it did not say.
func retryAfter(err error) time.Duration {
	var asks interface{ RetryAfter() time.Duration }
	if errors.As(err, &asks) {
		return max(0, asks.RetryAfter())
	}
	return 0
}
