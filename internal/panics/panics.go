// Package panics converts the panic of a function that a program supplied to an error, if the panic would otherwise end
// the process from a goroutine in which the program cannot recover it.
package panics

import (
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
)

// Error returns an error with the function that panicked, its position, and the runtime error. For any other value it
// contains only the type, because the value may be a secret. It must be called by the deferred function that called
// recover.
func Error(who string, value any) error {
	at := origin()
	if err, ok := value.(runtime.Error); ok {
		return fmt.Errorf("%s %w%s: %w", who, ErrPanicked, at, err)
	}
	return fmt.Errorf("%s %w%s with a value of type %T", who, ErrPanicked, at, value)
}

// Call calls f. It returns its error, or an error that describes its panic.
func Call(who string, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = Error(who, value)
		}
	}()
	return f()
}

// A Result is the result of a function that [Go] called.
type Result[T any] struct {
	Value T
	Err   error
}

// Go calls f in a new goroutine and sends the result to the channel, which has room for it. If f panics or calls
// [runtime.Goexit], the result is an error.
func Go[T any](who string, f func() (T, error)) <-chan Result[T] {
	results := make(chan Result[T], 1)
	go func() {
		r := Result[T]{Err: fmt.Errorf("%s ended its goroutine", who)} // Stays if f calls runtime.Goexit.
		defer func() {
			if value := recover(); value != nil {
				r.Err = Error(who, value)
			}
			results <- r
		}()
		r.Value, r.Err = f()
	}()
	return results
}

// ErrPanicked is wrapped by each error of [Error]. Package registry maps it to a code.
var ErrPanicked = errors.New("panicked")

// origin returns the function that panicked and its line, if it can be found.
func origin() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	panicked := false
	for {
		frame, more := frames.Next()
		switch {
		case frame.Function == "runtime.gopanic":
			panicked = true
		case panicked && !strings.HasPrefix(frame.Function, "runtime."): // A runtime error panics within the runtime.
			return fmt.Sprintf(" in %s (%s:%d)", path.Base(frame.Function), path.Base(frame.File), frame.Line)
		}
		if !more {
			return ""
		}
	}
}
