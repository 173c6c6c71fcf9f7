package registrytest

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Request is a request that the registry received. It never holds a password or token.
type Request struct {
	// At is the time at which the request arrived.
	At time.Time
	// Part is the part that received the request: the registry, its token endpoint, or its blob storage.
	Part Part
	// Method, Host, Path and Query are taken from the request. Query does not contain secret values. For a POST to the
	// token endpoint, it contains the parameters of the body such as "grant_type", "service" and "scope".
	Method string
	Host   string
	Path   string
	Query  string
	// Repository and Reference are the object of the request. They are empty if there is none.
	Repository string
	Reference  string
	// Accept is the value of all Accept headers together.
	Accept string
	// Scheme is the scheme of the client's login, in lower case: "basic", "bearer". Empty means no login.
	Scheme string
	// Account is the user name of the client's account. Empty means no login, or a rejected one.
	Account string
	// Status is the status of the response. Zero means that there is no response yet, or that there was none.
	Status int
}

// A Part is a part of the registry that has its own host, or could have one.
type Part string

// The parts of a registry.
const (
	PartRegistry Part = "registry"
	PartToken    Part = "token"
	PartBlobs    Part = "blobs"
)

// Requests returns the requests so far, in order of arrival.
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

// ResetRequests clears the list of requests.
func (r *Registry) ResetRequests() { r.locked(func() { r.log = nil }) }

// withoutSecrets returns a query without the parameters that are secret in a login or in the URL of a blob.
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

// String returns the request in one line, for the message of a failed test.
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
