package field

import (
	"errors"
	"fmt"
	"strings"
)

// A Error is one thing that is wrong with one field that a user filled in.
type Error struct {
	// Field is the path of the field, in the names of its JSON form: "login.aws.roles[1].arn". Empty means the whole.
	Field string
	// Problem is what is wrong with it: "is missing". It never quotes a secret.
	Problem string
	// Want is what is expected instead: "a user name". Empty where Problem says it all.
	Want string
	// Line is the line of the file that the field was read from. Zero means that it was not read from a file.
	Line int

	err error // Of Under, where it is no Errors.
}

// Error returns all of it in one line: "line 3: login.password is missing: expected a password or token".
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

// Unwrap returns the error that Problem is the text of, see [List.Under]; nil if there is none.
func (e *Error) Unwrap() error { return e.err }

// An Errors says what is wrong with something a user filled in: all of it at once, in the order of the fields, so
// that it can be fixed at once.
type Errors struct {
	// Subject is what is invalid: `profile "team-a"`. Empty for a part of something larger.
	Subject string
	// Fields is never empty.
	Fields []*Error
}

// Error returns one line for a single problem, and one line for each of several.
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

// List gathers what is wrong while something is validated. The zero List is ready to use; it is not safe for
// concurrent use.
type List struct{ fields []*Error }

// Add records one problem, and returns it for a line to be added; see [Error].
func (p *List) Add(field, problem, want string) *Error {
	e := &Error{Field: field, Problem: problem, Want: want}
	p.fields = append(p.fields, e)
	return e
}

// Under records the problems of a part under the path of the field that holds it. An error that is no [Errors] is
// one problem, in which [errors.Is] and [errors.As] find it; nil is none.
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

// Err returns an [Errors] about subject with all that was recorded; nil if nothing was.
func (p *List) Err(subject string) error {
	if len(p.fields) == 0 {
		return nil
	}
	return &Errors{subject, p.fields}
}
