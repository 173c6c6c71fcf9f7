package registrytest

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Request is one that the registry saw. It never holds a password or token.
type Request struct {
	// At is when it came.
	At time.Time
	// Part is what it was for: the registry, its token endpoint, or its storage of blobs.
	Part Part
	// Method, Host, Path and Query are those of the request, without the values of a query that open something. The
	// Query of a POST to the token endpoint is what its body says of the kind "grant_type", "service" and "scope".
	Method string
	Host   string
	Path   string
	Query  string
	// Repository and Reference are what it was about; empty where that makes no sense.
	Repository string
	Reference  string
	// Accept is that header, all in one.
	Accept string
	// Scheme is how the client logged in: "basic", "bearer", in lower case. Empty means not at all.
	Scheme string
	// Account is the user name of the account that the login is of. Empty means none, or a login that was refused.
	Account string
	// Status is that of the answer. Zero means that there was none yet, or never.
	Status int
}

// A Part of the registry has a host of its own, or could have.
type Part string

// The parts.
const (
	PartRegistry Part = "registry"
	PartToken    Part = "token"
	PartBlobs    Part = "blobs"
)

// Requests returns the requests that came so far, in the order in which they came.
func (r *Registry) Requests() []Request {
	var all []Request
	r.locked(func() {
		all = make([]Request, len(r.log))
		for i, e := range r.log {
			all[i] = *e
		}
	})
	return all
}

// ResetRequests forgets the requests that came so far.
func (r *Registry) ResetRequests() { r.locked(func() { r.log = nil }) }

// withoutSecrets returns a query without what a login, or the URL of a blob, is made of.
func withoutSecrets(query string) string {
	parts := strings.Split(query, "&")
	for i, part := range parts {
		name, _, _ := strings.Cut(part, "=")
		switch plain, _ := url.QueryUnescape(name); strings.ToLower(plain) {
		case "password", "access_token", "refresh_token", "signature":
			parts[i] = name + "=..."
		}
	}
	return strings.Join(parts, "&")
}

// String returns the request in one line, for a test that failed.
func (q Request) String() string {
	var b strings.Builder
	b.WriteString(string(q.Part) + ": " + q.Method + " " + q.Path)
	if q.Query != "" {
		b.WriteString("?" + q.Query)
	}
	if q.Scheme != "" {
		b.WriteString(" " + q.Scheme)
	}
	if q.Account != "" {
		b.WriteString(" as " + q.Account)
	}
	b.WriteString(": " + strconv.Itoa(q.Status))
	return b.String()
}
