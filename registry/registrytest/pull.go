package registrytest

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func (c *call) serveManifest() {
	if c.req.Method != http.MethodGet && c.req.Method != http.MethodHead {
		c.pushManifest()
		return
	}
	l, ok := c.enter()
	if !ok {
		return
	}
	repository, reference := c.gaps["repository"], c.gaps["reference"]
	d := c.reg.Dialect
	if c.limited(l) {
		c.answer(d.rateLimited.or(oci(429, "TOOMANYREQUESTS", "too many requests", "")))
		return
	}
	if !c.allowed(l, "pull") {
		return
	}
	if matches(c.reg.Blocked, repository) {
		c.answer(d.blocked.or(oci(403, "DENIED", "the image is blocked by a policy", "")))
		return
	}
	m, digest, ok := c.reg.findManifest(repository, reference)
	if !ok {
		missing := d.manifestMissing
		if digestForm.MatchString(reference) {
			missing = d.digestMissing.or(missing)
		}
		c.answer(missing.or(oci(404, "MANIFEST_UNKNOWN", "manifest unknown", "")))
		return
	}
	if !d.notAcceptable.isZero() && !c.accepts(m.mediaType) {
		c.answer(d.notAcceptable)
		return
	}
	h := c.w.Header()
	h.Set("Content-Type", m.mediaType)
	h.Set("Etag", strconv.Quote(digest))
	if c.req.Method == http.MethodHead || !d.noDigestOnGET {
		h.Set("Docker-Content-Digest", digest)
	}
	c.dialectHeader()
	writeBody(c.w, c.req, http.StatusOK, m.body)
}

func (c *call) dialectHeader() {
	for key, value := range c.reg.Dialect.header {
		c.w.Header().Set(key, value)
	}
}

// accepts reports whether the client can read a manifest of the type. Only OCI types are withheld: clients that predate
// them send no Accept header, and get Docker's types.
func (c *call) accepts(mediaType string) bool {
	if !strings.HasPrefix(mediaType, "application/vnd.oci.") {
		return true
	}
	for _, header := range c.req.Header.Values("Accept") {
		for part := range strings.SplitSeq(header, ",") {
			part, _, _ = strings.Cut(strings.TrimSpace(part), ";")
			if part == mediaType {
				return true
			}
		}
	}
	return false
}

func (c *call) serveBlob() {
	switch c.req.Method {
	case http.MethodGet, http.MethodHead:
	default:
		c.answer(oci(405, "UNSUPPORTED", "the operation is unsupported", ""))
		return
	}
	l, ok := c.enter()
	if !ok || !c.allowed(l, "pull") {
		return
	}
	repository, digest := c.gaps["repository"], c.gaps["reference"]
	if matches(l.account.NoBlobs, repository) {
		c.answer(c.denied(l))
		return
	}
	content, ok := c.reg.findBlob(repository, digest)
	if !ok {
		c.answer(c.reg.Dialect.blobMissing.or(blobUnknown))
		return
	}
	if c.reg.RedirectBlobs {
		location := "{scheme}://" + c.at.blobHost + "/" + repository + "/" + digest + "?signature=" + c.reg.signed
		c.answer(Answer{Status: http.StatusTemporaryRedirect, Header: map[string]string{"Location": location}})
		return
	}
	c.dialectHeader()
	c.sendBlob(digest, content)
}

var blobUnknown = oci(404, "BLOB_UNKNOWN", "blob unknown to registry", "")

func (c *call) sendBlob(digest string, content []byte) {
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", digest)
	http.ServeContent(c.w, c.req, "", time.Time{}, bytes.NewReader(content))
}

// serveSignedBlob acts as a storage service: the URL alone authorizes the request, and an additional login is an error.
func (c *call) serveSignedBlob() {
	refuse := func(status int, why string) {
		c.answer(Answer{
			Status: status, Header: map[string]string{"Content-Type": "application/xml"},
			Body: `<?xml version="1.0" encoding="UTF-8"?><Error>` + why + `</Error>`,
		})
	}
	if c.req.Header.Get("Authorization") != "" {
		refuse(400, `<Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message>`)
		return
	}
	if c.req.URL.Query().Get("signature") != c.reg.signed {
		refuse(403, `<Code>SignatureDoesNotMatch</Code>`)
		return
	}
	p := strings.TrimPrefix(c.req.URL.Path, "/")
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		c.notFound()
		return
	}
	content, ok := c.reg.findBlob(p[:i], p[i+1:])
	if !ok {
		c.notFound()
		return
	}
	c.sendBlob(p[i+1:], content)
}
