package registry

import (
	"errors"
	"strings"
	"time"

	"github.com/regcred/regcred/field"
)

// An Issue is one problem, in a form that a program can send to a browser or write to a file. It holds no secret. The
// names in its JSON form are stable.
type Issue struct {
	// Field is the path of the field to correct, as in the JSON form of a profile, such as "login.password". It is "login"
	// for a rejected login, "endpoint" for an unknown host, and "transport.caBundle" for a certificate from an unknown
	// issuer. Empty means that no field of a profile is to be corrected.
	Field string `json:"field,omitempty"`
	// Image is the name of the image that cannot be pulled. Empty means that the issue is about a login, a profile or a
	// cluster.
	Image string `json:"image,omitempty"`
	// Subject is the object of an issue that is not about an image: a profile, a host. It may be empty.
	Subject string `json:"subject,omitempty"`
	// Code identifies the problem for programs. It is never empty.
	Code Code `json:"code"`
	// Problem describes the problem to a person: "is missing", "unauthorized: GET https://ghcr.io/token: 401". It may
	// quote the response of a registry, so a web page must escape it.
	Problem string `json:"problem"`
	// Want is the expected value of Field. It may be empty.
	Want string `json:"want,omitempty"`
	// Hint is an instruction for fixing the problem, in one sentence without a full stop. It may be empty.
	Hint string `json:"hint,omitempty"`
	// RetryAfter is the time in seconds, rounded up, for which the server requested that the client send no requests. Zero
	// means no such request.
	RetryAfter int `json:"retryAfter,omitempty"`
}

// IssuesOf returns all problems in err, in their order: one Issue for each joined error, and one for each field of a
// [field.Errors]. A rejected login is one issue, and each image that needs it is another one. It returns nil for nil. It
// accepts any error; an error of another module has [ErrUnknown].
func IssuesOf(err error) []Issue {
	var r report
	r.add(err, "", 0)
	return r.issues
}

type report struct{ issues []Issue }

// add records the problems in err. Outer is the text of the errors that wrap err; it is used if err has no fields and
// no [Error] of its own. Wait is the longest wait that one of them requests.
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
	// An error that wraps one cause. If an error wraps several causes, the first cause that is an Error or has fields
	// determines the issue.
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

// joined reports whether err is a list of errors, one per line, as made by [errors.Join], and not one error with
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
		RetryAfter: seconds(max(wait, e.RetryAfter())),
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

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// fieldOf returns the field of a profile to correct for a code, or "" if there is none.
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
