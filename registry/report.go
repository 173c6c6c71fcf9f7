package registry

import (
	"errors"
	"strings"
	"time"

	"github.com/regcred/regcred/field"
)

// An Issue is one thing that is wrong, in the form in which a program sends it to a browser or writes it to a file. It
// holds no secret. The names of its JSON form are stable.
type Issue struct {
	// Field is the path of the field to correct, in the names of a profile's JSON form, such as "login.password". A
	// rejected login points at "login", an unknown host at "endpoint", a certificate from an unknown issuer at
	// "transport.caBundle". Empty if no field of a profile is to be corrected.
	Field string `json:"field,omitempty"`
	// Image is the name of the image that cannot be pulled. Empty if the issue is about a login, a profile or a cluster.
	Image string `json:"image,omitempty"`
	// Subject is what else the issue is about: a profile, a host. It may be empty.
	Subject string `json:"subject,omitempty"`
	// Code is what went wrong, for programs. It is never empty.
	Code Code `json:"code"`
	// Problem is what went wrong, for a person: "is missing", "unauthorized: GET https://ghcr.io/token: 401". It may quote
	// what a registry answered, so that a page has to escape it.
	Problem string `json:"problem"`
	// Want is what is expected in Field. It may be empty.
	Want string `json:"want,omitempty"`
	// Hint is what to do, in one sentence without a full stop. It may be empty.
	Hint string `json:"hint,omitempty"`
	// RetryAfter is how many seconds, rounded up, the other side wants to be left alone. Zero means that it did not say.
	RetryAfter int `json:"retryAfter,omitempty"`
}

// Report returns everything that is wrong in err, in its order: one Issue for each error that was joined, and one for
// each field of a [field.Errors]. It is nil for nil. It takes any error, also one of another module, which has
// [ErrUnknown].
func Report(err error) []Issue {
	var r report
	r.add(err, "", 0)
	return r.issues
}

type report struct{ issues []Issue }

// add records what is wrong in err. Outer is the text of the errors that wrap it, which counts where it has no fields and
// no [Error] of its own, and wait the longest that one of them asks for.
func (r *report) add(err error, outer string, wait time.Duration) {
	if err == nil {
		return
	}
	if w, ok := err.(interface{ RetryAfter() time.Duration }); ok { //nolint:errorlint // It walks the tree itself.
		wait = max(wait, w.RetryAfter())
	}
	if outer == "" {
		outer = err.Error()
	}
	switch e := err.(type) { //nolint:errorlint // It walks the tree itself.
	case *Error:
		if invalid, ok := outermost(e.Err).(*field.Errors); ok { //nolint:errorlint // It is found in the tree already.
			r.add(invalid, "", wait)
			return
		}
		r.addError(e, wait)
		return
	case *field.Errors:
		for _, f := range e.Fields {
			r.addField(f, e.Subject, wait)
		}
		return
	case *field.Error:
		r.addField(e, "", wait)
		return
	case interface{ Unwrap() []error }:
		if parts := e.Unwrap(); joined(err, parts) {
			for _, part := range parts {
				r.add(part, "", wait)
			}
			return
		}
	}
	// An error that wraps one cause. Of several causes that make up one text, the first that is an Error or has fields
	// says what is wrong.
	if inner := errors.Unwrap(err); inner != nil {
		r.add(inner, outer, wait)
		return
	}
	if inner := outermost(err); inner != nil {
		r.add(inner, outer, wait)
		return
	}
	code := CodeOf(err)
	r.issues = append(r.issues, Issue{
		Field: fieldOf(code), Code: code, Problem: outer, Hint: HintOf(err), RetryAfter: seconds(wait),
	})
}

// joined reports whether err is a list of errors, one below the other, as [errors.Join] makes it, and not one error with
// several causes.
func joined(err error, parts []error) bool {
	var texts []string
	for _, part := range parts {
		if part != nil {
			texts = append(texts, part.Error())
		}
	}
	return err.Error() == strings.Join(texts, "\n")
}

func (r *report) addError(e *Error, wait time.Duration) {
	code := CodeOf(e)
	issue := Issue{
		Subject: strings.TrimPrefix(e.Ref, "for "), Field: fieldOf(code), Code: code, Problem: e.problem(), Hint: e.Advice(),
		RetryAfter: seconds(max(wait, waitOf(e))),
	}
	if e.Op == opCheckImage {
		issue.Image, issue.Subject = e.Ref, ""
	}
	r.issues = append(r.issues, issue)
}

// opCheckImage is the Op of an error about an image.
const opCheckImage = "check image"

func (r *report) addField(f *field.Error, subject string, wait time.Duration) {
	issue := Issue{
		Field: f.Field, Subject: subject, Code: ErrInvalid, Problem: f.Problem, Want: f.Want, RetryAfter: seconds(wait),
	}
	if e, ok := errors.AsType[*Error](f.Unwrap()); ok {
		issue.Code, issue.Problem, issue.Hint = CodeOf(e), e.problem(), e.Advice()
	} else if code := CodeOf(f); code != ErrInvalid {
		issue.Code, issue.Hint = code, code.Hint()
	}
	r.issues = append(r.issues, issue)
}

// waitOf returns the longest wait that an [Error] in the chain of e asks for.
func waitOf(e *Error) time.Duration {
	wait := e.Wait
	for inner, ok := errors.AsType[*Error](e.Err); ok; inner, ok = errors.AsType[*Error](inner.Err) {
		wait = max(wait, inner.Wait)
	}
	return wait
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// fieldOf returns the field of a profile that a code says to correct; empty if it is none.
func fieldOf(code Code) string {
	switch code {
	case ErrUnauthorized, ErrExpired, ErrNoIdentity:
		return "login"
	case ErrHostNotFound, ErrUnreachable, ErrNotRegistry, ErrTooLarge, ErrTLSWrongName, ErrInsecure:
		return "endpoint"
	case ErrTLS, ErrTLSUnknownIssuer:
		return "transport.caBundle"
	case ErrProxy:
		return "transport.proxy"
	}
	return ""
}
