package probe

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/regcred/regcred/registry"
)

// redactor returns the redactor that knows the names of the target.
func (w *walk) redactor() *redactor {
	r := &redactor{realm: w.rawRealm, service: w.service}
	base := w.guard.URL()
	r.values = append(r.values, known{base.Scheme + "://", gapScheme + "://"})
	host := func(gap, name string) {
		r.know(gap, name)
		if bare, _, err := net.SplitHostPort(name); err == nil {
			r.know(gap, bare)
		}
	}
	host(gapHost, base.Host)
	host(gapHost, w.t.Image.Host)
	if u, err := url.Parse(w.rawRealm); err == nil && u.Host != base.Host {
		host(gapTokenHost, u.Host)
	}
	n := w.names
	r.know(gapRepository, n.repository)
	r.know(gapMissing, n.missing)
	r.know(gapMissing, missingName)
	r.know(gapNobody, n.nobody)
	r.know(gapOther, n.other)
	r.know(gapPublic, n.public)
	project, rest, _ := strings.Cut(n.repository, "/")
	r.know(gapProject, project)
	r.know(gapRest, rest)
	for _, more := range []struct{ gap, name string }{{gapOther, n.other}, {gapPublic, n.public}} {
		for part := range strings.SplitSeq(more.name, "/") {
			r.know(more.gap, part)
		}
	}
	for part := range strings.SplitSeq(n.repository, "/") {
		r.know(gapRepository, part)
	}
	r.know(gapTag, w.t.Image.Tag)
	r.know(gapTag, w.t.Other.Tag)
	r.know(gapTag, w.t.Public.Tag)
	r.know(gapDigest, w.digest)
	if !w.t.Credential.Anonymous {
		r.know(gapAccount, w.t.Credential.Username)
	}
	return r
}

// failures are the codes of requests without a response.
var failures = []registry.Code{
	registry.ErrInvalid, registry.ErrUnavailable, registry.ErrUnreachable, registry.ErrTimeout, registry.ErrHostNotFound, registry.ErrProxy,
	registry.ErrNotRegistry, registry.ErrTooLarge, registry.ErrTLS, registry.ErrTLSUnknownIssuer, registry.ErrTLSExpired,
	registry.ErrTLSWrongName, registry.ErrInsecure, registry.ErrEgressDenied, registry.ErrCanceled, registry.ErrUnknown,
}

// failureOf returns the code of an error, or registry.ErrUnknown if a capture may not contain the code.
func failureOf(err error) registry.Code {
	if code := registry.CodeOf(err); slices.Contains(failures, code) {
		return code
	}
	return registry.ErrUnknown
}

// capture redacts the responses.
func (w *walk) capture() Capture {
	r := w.redactor()
	c := Capture{Version: Version, Skipped: w.skipped}
	c.Setup = Setup{
		Depth: strings.Count(w.names.repository, "/") + 1, Login: !w.t.Credential.Anonymous, Rejected: w.login == loginRejected,
		Other: w.names.other != "", Public: w.names.public != "",
	}
	if w.rawRealm != "" {
		c.TokenServer.Service = r.text(w.service)
		if u, err := url.Parse(w.rawRealm); err == nil {
			c.TokenServer.Realm = r.address(u)
		}
	}
	for _, a := range w.asked {
		e := Exchange{Question: a.question, Login: a.login}
		if a.res.err != nil {
			e.Failed = string(failureOf(a.res.err))
			c.Exchanges = append(c.Exchanges, e)
			continue
		}
		e.Reply = r.reply(a.question, a.res, a.form)
		c.Exchanges = append(c.Exchanges, e)
		if e.Reply.Headers["Ratelimit-Limit"] != "" {
			c.Setup.RateLimit = true
		}
		if a.question == "tags" && e.Reply.Entries != nil && a.res.ok() {
			c.Setup.Tags = *e.Reply.Entries
		}
		if strings.HasPrefix(a.question, "manifest") && a.question != "manifest-docker-types" && a.res.ok() {
			c.Setup.MediaType = e.Reply.Headers["Content-Type"]
		}
	}
	return c
}
