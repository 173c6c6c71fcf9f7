package scenario

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A Registry serves a scenario, under all of its hosts. It is an [http.Handler], safe for concurrent use.
type Registry struct {
	scenario Scenario
	top      string // The digest of the tag.
	library  library

	mu       sync.Mutex
	requests []Request
	seen     map[string]int // Requests, by the name under which they are counted.
}

// A Request is a request that the registry received.
type Request struct {
	Method string
	// Target is host and path, with the query of a token request.
	Target string
	// Auth is "Basic USER", "Bearer", "form USER" for a login in the body, or empty.
	Auth   string
	Status int
}

// String returns the request in one line.
func (r Request) String() string {
	auth := ""
	if r.Auth != "" {
		auth = " (" + r.Auth + ")"
	}
	return fmt.Sprintf("%s %s%s: %d", r.Method, r.Target, auth, r.Status)
}

// NewRegistry returns a registry. Images with different salts have no content in common, so that a client that keeps
// content requests everything each time.
func NewRegistry(s Scenario, salt string) *Registry {
	r := &Registry{
		scenario: s,
		library:  library{salt: "salt " + salt, manifests: make(map[string]document), blobs: make(map[string]document)},
		seen:     make(map[string]int),
	}
	r.top = r.library.add(s.Content)
	return r
}

// Requests returns the requests so far, in order of arrival.
func (r *Registry) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// count returns the number of requests that were counted under the name before this one.
func (r *Registry) count(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.seen[name]
	r.seen[name]++
	return n
}

// A recorder records the status of a response.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// ServeHTTP implements [http.Handler].
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	rec := &recorder{ResponseWriter: w, status: http.StatusOK}
	entry := Request{Method: req.Method, Target: hostOf(req) + req.URL.Path}
	if user, _, ok := req.BasicAuth(); ok {
		entry.Auth = "Basic " + user
	} else if a := req.Header.Get("Authorization"); a != "" {
		entry.Auth, _, _ = strings.Cut(a, " ")
	}
	if req.URL.Path == "/token" {
		_ = req.ParseForm()
		if user := req.PostForm.Get("username"); user != "" {
			entry.Auth = "form " + user
		}
		if req.URL.RawQuery != "" {
			entry.Target += "?" + req.URL.RawQuery
		}
	}
	r.route(rec, req)
	entry.Status = rec.status
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, entry)
}

func hostOf(req *http.Request) string {
	host, _, _ := strings.Cut(req.Host, ":")
	return host
}

func (r *Registry) route(w http.ResponseWriter, req *http.Request) {
	s := &r.scenario
	host, path := hostOf(req), req.URL.Path
	tokenHost := either(s.Token.OtherHost, AuthHost, Host)
	switch {
	case host == StorageHost:
		if req.Header.Get("Authorization") != "" {
			r.fail(w, req, http.StatusBadRequest)
			return
		}
		r.blob(w, req, path[strings.LastIndex(path, "/")+1:])
	case path == "/token" && host == tokenHost && s.Auth == "":
		r.token(w, req)
	case host != Host && host != OtherHost:
		r.fail(w, req, http.StatusNotFound)
	case path == "/v2/":
		r.ping(w, req, host)
	case strings.HasPrefix(path, "/v2/"+Repository+"/manifests/"):
		r.manifest(w, req, host, strings.TrimPrefix(path, "/v2/"+Repository+"/manifests/"))
	case strings.HasPrefix(path, "/v2/"+Repository+"/blobs/"):
		r.serveBlob(w, req, host, strings.TrimPrefix(path, "/v2/"+Repository+"/blobs/"))
	case path == "/v2/"+Repository+"/tags/list":
		if s.Manifest.Open || r.letIn(w, req, host, http.StatusUnauthorized, false) {
			r.write(w, req, "application/json", mustJSON(object{"name": Repository, "tags": []string{Tag}}), Reply{})
		}
	default:
		r.fail(w, req, http.StatusNotFound)
	}
}

// fail sends an error in the format of the distribution specification.
func (r *Registry) fail(w http.ResponseWriter, req *http.Request, status int) {
	code := map[int]string{
		http.StatusUnauthorized:    "UNAUTHORIZED",
		http.StatusForbidden:       "DENIED",
		http.StatusNotFound:        "MANIFEST_UNKNOWN",
		http.StatusTooManyRequests: "TOOMANYREQUESTS",
	}[status]
	body := mustJSON(object{"errors": []object{{"code": pick(code, "UNKNOWN"), "message": "scenario"}}})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if req.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// challenge adds the challenges of a 401. The last parameters are appended to the default challenge.
func (r *Registry) challenge(w http.ResponseWriter, host string, ping bool, more string) {
	s := &r.scenario
	realm := "https://" + either(s.Token.OtherHost, AuthHost, Host) + "/token"
	scope := pick(s.Token.Scope, pullScope)
	lines := s.Challenges
	switch {
	case host == OtherHost:
		lines = []string{`Basic realm="other"`}
	case lines != nil:
		if ping {
			scope = "repository:user/image:pull" // As GHCR does.
		}
	case s.Auth == "basic":
		lines = []string{`Basic realm="{host}"`}
	case ping:
		lines = []string{`Bearer realm="{realm}",service="{host}"`}
	default:
		lines = []string{`Bearer realm="{realm}",service="{host}",scope="{scope}"` + more}
	}
	for _, line := range lines {
		line = strings.NewReplacer("{realm}", realm, "{scope}", scope, "{host}", Host).Replace(line)
		w.Header().Add("WWW-Authenticate", line)
	}
}

const pullScope = "repository:" + Repository + ":pull"

func (r *Registry) ping(w http.ResponseWriter, req *http.Request, host string) {
	s := &r.scenario
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	switch {
	case host == Host && s.Redirect.Ping:
		http.Redirect(w, req, "https://"+OtherHost+req.URL.RequestURI(), http.StatusTemporaryRedirect)
	case s.Ping.Status != 0:
		r.fail(w, req, s.Ping.Status)
	case s.Ping.Open:
		r.write(w, req, "application/json", []byte("{}"), Reply{})
	case s.known(req, host) == "" || s.known(req, host) == "anonymous":
		r.challenge(w, host, true, "")
		r.fail(w, req, http.StatusUnauthorized)
	default:
		r.write(w, req, "application/json", []byte("{}"), Reply{})
	}
}

// known returns the sender of a request: the user, "anonymous" with an anonymous token, "anybody" if no login is
// required, or "" for a client that has to log in.
func (s *Scenario) known(req *http.Request, host string) string {
	user, password, basic := req.BasicAuth()
	good := basic && user == Username && password == Password
	switch {
	case host == OtherHost && !s.Redirect.Login, host != OtherHost && s.Auth == "open":
		return "anybody"
	case host == OtherHost, s.Auth == "basic":
		if good {
			return Username
		}
		return ""
	}
	token, bearer := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	text, err := base64.RawURLEncoding.DecodeString(token)
	if !bearer || err != nil {
		return ""
	}
	who, _, _ := strings.Cut(string(text), " ")
	return who
}

// rejected reports whether the request has a wrong login, which gets a 401 even if no login is required.
func (r *Registry) rejected(req *http.Request) bool {
	user, password, basic := req.BasicAuth()
	return basic && r.scenario.Auth == "basic" && (user != Username || password != Password)
}

// letIn reports whether the request may pull. If not, it responds.
func (r *Registry) letIn(w http.ResponseWriter, req *http.Request, host string, status int, silent bool) bool {
	s := &r.scenario
	who := s.known(req, host)
	more := ""
	switch {
	case who == "anybody":
		return true
	case s.Auth == "basic" || host == OtherHost:
		if who != "" || s.Public && req.Header.Get("Authorization") == "" {
			return true
		}
	case who != "":
		token, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
		_, scopes, _ := strings.Cut(string(token), " ")
		if !slices.Contains(strings.Fields(scopes), pick(s.Token.Needed, s.Token.Scope, pullScope)) {
			if s.Manifest.ScopeError {
				more = `,error="insufficient_scope"`
			}
		} else if who == Username || s.Public {
			return true
		}
	}
	if req.Header.Get("Authorization") != "" {
		status = http.StatusUnauthorized // The unusual status is for requests without one.
	}
	if status == http.StatusUnauthorized && !silent {
		r.challenge(w, host, false, more)
	}
	r.fail(w, req, status)
	return false
}

func (r *Registry) token(w http.ResponseWriter, req *http.Request) {
	s := &r.scenario
	reply, user, password := s.Token.Get, "", ""
	switch req.Method {
	case http.MethodGet:
		user, password, _ = req.BasicAuth()
	case http.MethodPost:
		reply = s.Token.Post
		user, password = req.PostForm.Get("username"), req.PostForm.Get("password")
		if req.PostForm.Get("grant_type") != "password" {
			user = "nobody" // There are no refresh tokens.
		}
	default:
		r.fail(w, req, http.StatusMethodNotAllowed)
		return
	}
	status := http.StatusOK
	if n := r.count("token " + req.Method); reply.Status != 0 && (reply.Times == 0 || n < reply.Times) {
		status = reply.Status
	}
	if status >= 300 {
		r.fail(w, req, status)
		return
	}
	who := "anonymous"
	if user != "" {
		if user != Username || password != Password {
			r.fail(w, req, http.StatusUnauthorized)
			return
		}
		who = Username
	}
	scopes := strings.Fields(strings.Join(req.Form["scope"], " "))
	token := base64.RawURLEncoding.EncodeToString([]byte(strings.Join(append([]string{who}, scopes...), " ")))
	values := object{"access_token": token, "expires_in": 300}
	if req.Method == http.MethodGet {
		values["token"] = token
	}
	if reply.Pad > 0 {
		values["pad"] = strings.Repeat("x", reply.Pad)
	}
	body := mustJSON(values)
	if reply.Body != "" {
		body = []byte(strings.ReplaceAll(reply.Body, "{token}", token))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if status != http.StatusNoContent {
		_, _ = w.Write(body)
	}
}

func (r *Registry) manifest(w http.ResponseWriter, req *http.Request, host, reference string) {
	s := &r.scenario
	m := &s.Manifest
	if host == Host && s.Redirect.Manifests {
		http.Redirect(w, req, "https://"+OtherHost+req.URL.RequestURI(), http.StatusTemporaryRedirect)
		return
	}
	status := http.StatusUnauthorized
	if m.Unauthorized != 0 {
		status = m.Unauthorized
	}
	if !m.Open || r.rejected(req) {
		if !r.letIn(w, req, host, status, m.Silent) {
			return
		}
		if req.Header.Get("Authorization") != "" && r.count("good") < m.Rejected {
			r.challenge(w, host, false, `,error="`+m.RejectedError+`"`)
			r.fail(w, req, http.StatusUnauthorized)
			return
		}
	}
	if n := r.count("manifest"); n < len(m.First) && m.First[n] >= 300 {
		r.fail(w, req, m.First[n])
		return
	}
	if reference == Tag {
		reference = r.top
	}
	doc, ok := r.library.manifests[reference]
	if !ok {
		r.fail(w, req, http.StatusNotFound)
		return
	}
	reply := m.Get
	if req.Method == http.MethodHead {
		reply = m.Head
	}
	if reply.Status != 0 && reply.Status != http.StatusOK {
		r.fail(w, req, reply.Status)
		return
	}
	switch d := w.Header(); reply.Digest {
	case "":
		d.Set("Docker-Content-Digest", reference)
	case "upper":
		d.Set("Docker-Content-Digest", strings.ToUpper(reference))
	case "quoted":
		d.Set("Docker-Content-Digest", `"`+reference+`"`)
	case "other":
		d.Set("Docker-Content-Digest", digest([]byte("other")))
	case "garbage":
		d.Set("Docker-Content-Digest", "garbage")
	}
	r.write(w, req, doc.mediaType, doc.body, reply)
}

func (r *Registry) serveBlob(w http.ResponseWriter, req *http.Request, host, d string) {
	s := &r.scenario
	if host == Host && s.Redirect.Blobs {
		http.Redirect(w, req, "https://"+OtherHost+req.URL.RequestURI(), http.StatusTemporaryRedirect)
		return
	}
	status := http.StatusUnauthorized
	if s.Blob.Unauthorized != 0 {
		status = s.Blob.Unauthorized
	}
	if (!s.Blob.Open || r.rejected(req)) && !r.letIn(w, req, host, status, false) {
		return
	}
	if n := r.count("blob"); n < len(s.Blob.First) && s.Blob.First[n] >= 300 {
		r.fail(w, req, s.Blob.First[n])
		return
	}
	if s.Blob.Storage {
		http.Redirect(w, req, "https://"+StorageHost+"/"+d, http.StatusTemporaryRedirect)
		return
	}
	r.blob(w, req, d)
}

func (r *Registry) blob(w http.ResponseWriter, req *http.Request, d string) {
	doc, ok := r.library.blobs[d]
	if !ok {
		r.fail(w, req, http.StatusNotFound)
		return
	}
	status := r.scenario.Blob.LayerStatus
	if doc.kind == "config" {
		status = r.scenario.Blob.ConfigStatus
	}
	if status != 0 && status != http.StatusOK {
		r.fail(w, req, status)
		return
	}
	w.Header().Set("Docker-Content-Digest", d)
	r.write(w, req, doc.mediaType, doc.body, Reply{})
}

// write sends a document, with the deviations of its headers.
func (r *Registry) write(w http.ResponseWriter, req *http.Request, mediaType string, body []byte, reply Reply) {
	if t := pick(reply.Type, mediaType); t != "" {
		w.Header().Set("Content-Type", t)
	} else {
		w.Header()["Content-Type"] = nil // Otherwise net/http would guess one.
	}
	if !reply.NoLength {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(http.StatusOK)
	if req.Method == http.MethodHead {
		return
	}
	if f, ok := w.(http.Flusher); ok && reply.NoLength {
		f.Flush()
	}
	_, _ = w.Write(body)
}

// Flush implements [http.Flusher], if the connection supports it.
func (w *recorder) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}
