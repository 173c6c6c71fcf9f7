package registrytest

import (
	"net"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A place is the part of the registry that received a request, and the hosts of the other parts.
type place struct {
	part                Part
	tokenHost, blobHost string
}

// A call is a request in progress.
type call struct {
	reg  *Registry
	w    *recorder
	req  *http.Request
	at   place
	gaps gaps
	seen *Request
}

// A recorder records the status of the response.
type recorder struct {
	http.ResponseWriter
	onHeader func(status int)
	wrote    bool
}

func (w *recorder) WriteHeader(status int) {
	if !w.wrote {
		w.wrote = true
		w.onHeader(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] flush the response.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (r *Registry) serve(w http.ResponseWriter, req *http.Request, at place) {
	if at.part == PartRegistry && !r.Dialect.token.otherHost && r.Dialect.token.isToken(req.URL.Path) {
		at.part = PartToken
	}
	tokenHost := at.tokenHost
	if !r.Dialect.token.otherHost {
		tokenHost = req.Host
	}
	scheme := "http"
	if req.TLS != nil {
		scheme = "https"
	}
	ip, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		ip = req.RemoteAddr
	}
	c := &call{reg: r, req: req, at: at, gaps: gaps{
		"scheme": scheme, "host": req.Host, "tokenhost": tokenHost, "ip": ip, "access": "null", "key": "null",
		"repository": "", "project": "", "rest": "", "reference": "", "scope": "", "actions": "", "account": "",
	}}
	authScheme, _, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	c.seen = &Request{
		At: time.Now(), Part: at.part,
		Method: req.Method, Host: req.Host, Path: req.URL.Path, Query: withoutSecrets(req.URL.RawQuery),
		Accept: strings.Join(req.Header.Values("Accept"), ", "), Scheme: strings.ToLower(authScheme),
	}
	target := c.route()
	r.locked(func() { r.log = append(r.log, c.seen) })
	c.w = &recorder{ResponseWriter: w, onHeader: func(status int) {
		r.locked(func() { c.seen.Status = status })
	}}
	c.withFaults(target)
}

// note records the client's account for the log and the responses.
func (c *call) note(l login) {
	if l.state == loginGood || l.state == loginExpired {
		c.gaps["account"] = l.account.Username
		c.reg.locked(func() { c.seen.Account = l.account.Username })
	}
}

// about records the repository, and the tag or digest, for the responses.
func (c *call) about(repository, reference string) {
	g := c.gaps
	g["repository"], g["reference"] = repository, reference
	g["project"], g["rest"], _ = strings.Cut(repository, "/")
	g["key"] = g["project"]
	actions := c.actions()
	g["actions"] = strings.Join(actions, ",")
	g["scope"] = scope{"repository", repository, actions}.String()
	var access []string
	for _, action := range actions {
		access = append(access, `{"Type":"repository","Class":"","Name":"`+jsonEscape(repository)+`","Action":"`+action+`"}`)
	}
	g["access"] = "[" + strings.Join(access, ",") + "]"
}

func (c *call) actions() []string {
	if c.req.Method == http.MethodGet || c.req.Method == http.MethodHead {
		return []string{"pull"}
	}
	return []string{"pull", "push"}
}

func (c *call) answer(a Answer) {
	if c.at.part == PartRegistry {
		for key, value := range c.reg.Dialect.header {
			c.w.Header().Set(key, value)
		}
	}
	a.send(c.w, c.req, c.gaps)
}

// writeBody sends the body. For a HEAD request, it sends only the length.
func writeBody(w http.ResponseWriter, req *http.Request, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if req.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// The grammar of https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests.
var (
	nameForm   = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagForm    = regexp.MustCompile(`^\w[\w.-]{0,127}$`)
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	paths      = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|tags)/(.*)$`)
)

// route determines the object of the request, and returns the function that serves it.
func (c *call) route() func() {
	p := c.req.URL.Path
	switch c.at.part {
	case PartToken:
		if !c.reg.Dialect.token.isToken(p) {
			return c.notFound
		}
		return c.serveToken
	case PartBlobs:
		return c.serveSignedBlob
	}
	if p == "/v2" || p == "/v2/" {
		return c.servePing
	}
	if p == "/v2/_catalog" {
		c.gaps["scope"], c.gaps["actions"] = "registry:catalog:*", "*"
		c.gaps["access"] = `[{"Type":"registry","Class":"","Name":"catalog","Action":"*"}]`
		return c.serveCatalog
	}
	m := paths.FindStringSubmatch(p)
	if m == nil {
		return c.notFound
	}
	repository, kind, rest := m[1], m[2], m[3]
	upload := kind == "blobs" && (rest == "uploads" || path.Dir(rest) == "uploads" || rest == "uploads/")
	reference := rest
	if upload || kind == "tags" {
		reference = ""
	}
	c.about(repository, reference)
	c.seen.Repository, c.seen.Reference = repository, reference
	switch {
	case !nameForm.MatchString(repository):
		return c.serveInvalidName
	case kind == "tags" && rest == "list":
		return c.serveTags
	case kind == "manifests":
		return c.serveManifest
	case upload:
		return func() { c.serveUpload(strings.TrimPrefix(strings.TrimPrefix(rest, "uploads"), "/")) }
	case kind == "blobs":
		return c.serveBlob
	}
	return c.notFound
}

func (c *call) serveInvalidName() {
	invalid := c.reg.Dialect.nameInvalid
	if !invalid.isZero() {
		if _, ok := c.enter(); !ok {
			return
		}
	}
	c.answer(invalid.or(oci(400, "NAME_INVALID", "invalid repository name", "")))
}

func (c *call) notFound() { c.answer(Answer{Status: 404, Body: "404 page not found\n"}) }
