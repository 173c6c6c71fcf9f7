// Package field defines errors in the fields that a user filled in, and functions that quote a user's text without a
// login in it.
//
// A [List] collects the problems during a validation, and returns them together as an [Errors]. [Redact] and [Quote]
// remove parts of a text that may be a login. The package depends on the standard library only.
package field

import (
	"errors"
	"fmt"
	"strings"
)

// An Error describes one problem of one field in a user's input.
type Error struct {
	// Field is the path of the field, as in the JSON form: "login.aws.roles[1].arn". Empty means the whole input.
	Field string
	// Problem describes the problem: "is missing". It never quotes a secret.
	Problem string
	// Want is the expected value: "a user name". Empty means that Problem is the whole description.
	Want string
	// Line is the line of the field in its file. Zero means that the field was not read from a file.
	Line int

	err error // The error passed to Under, unless it is an Errors.
}

// Error returns the whole description in one line: "line 3: login.password is missing: expected a password or token".
func (e *Error) Error() string {
	text := strings.TrimSpace(e.Field + " " + e.Problem)
	if e.Line > 0 {
		text = fmt.Sprintf("line %d: %s", e.Line, text)
	}
	if e.Want != "" {
		text += ": expected " + e.Want
	}
	return text
}

// Unwrap returns the error that was passed to [List.Under] and whose text is Problem; nil if there is none.
func (e *Error) Unwrap() error { return e.err }

// An Errors lists all problems in a user's input, in the order of the fields, so that the user can fix them together.
type Errors struct {
	// Subject is the invalid input: `profile "team-a"`. Empty means a part of a larger input.
	Subject string
	// Fields are the problems. There is at least one.
	Fields []*Error
}

// Error returns a single problem as one line. Several problems have a heading and one line each.
func (e *Errors) Error() string {
	var b strings.Builder
	if e.Subject != "" {
		b.WriteString(e.Subject + ": ")
	}
	if len(e.Fields) == 1 {
		b.WriteString(e.Fields[0].Error())
		return b.String()
	}
	fmt.Fprintf(&b, "%d problems:", len(e.Fields))
	for _, f := range e.Fields {
		b.WriteString("\n\t" + f.Error())
	}
	return b.String()
}

// Unwrap returns the problems, for [errors.As].
func (e *Errors) Unwrap() []error {
	errs := make([]error, len(e.Fields))
	for i, f := range e.Fields {
		errs[i] = f
	}
	return errs
}

// A List collects problems during a validation. The zero List is ready to use. It is not safe for concurrent use.
type List struct{ fields []*Error }

// Add records a problem. It returns the [Error], so that the caller can set its line.
func (p *List) Add(field, problem, want string) *Error {
	e := &Error{Field: field, Problem: problem, Want: want}
	p.fields = append(p.fields, e)
	return e
}

// Under records the problems of a part of the input, under the path of the field that holds the part. An error that is
// not an [Errors] is recorded as one problem, and [errors.Is] and [errors.As] find it. If err is nil, nothing is
// recorded.
func (p *List) Under(field string, err error) {
	if err == nil {
		return
	}
	e, ok := errors.AsType[*Errors](err)
	if !ok {
		p.fields = append(p.fields, &Error{Field: field, Problem: err.Error(), err: err})
		return
	}
	for _, f := range e.Fields {
		under := *f
		under.Field = join(field, f.Field)
		p.fields = append(p.fields, &under)
	}
}

func join(field, sub string) string {
	if field == "" || sub == "" || strings.HasPrefix(sub, "[") {
		return field + sub
	}
	return field + "." + sub
}

// Err returns an [Errors] about subject with all recorded problems, or nil if there are none.
func (p *List) Err(subject string) error {
	if len(p.fields) == 0 {
		return nil
	}
	return &Errors{subject, p.fields}
}
