package runtimes

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate/mirrors"
)

// A fleet is a set of registries on the loopback address: the origin of an image and its mirrors. All of them record
// the requests in one log.
type fleet struct {
	hosts  []string // HOST:PORT; the first is the origin.
	origin string   // The origin's name in images, if it is not its host.

	mu       sync.Mutex
	salt     int
	content  fleetImage
	mode     string       // "basic", "bearer": each request needs a login. "open": none does.
	accounts []string     // The user names that the hosts accept; nil if they accept none.
	serves   map[int]bool // The hosts that have the image.
	noBlobs  map[int]bool // The hosts that have the manifest alone.
	log      []seen
}

// A seen is a recorded request.
type seen struct {
	host   int
	method string
	path   string // With the query.
	login  string // The user name that was sent; "header" for the login of a header in hosts.toml.
	token  bool   // It was sent to the token server of the host.
	scope  string // Of a token.
	ok     bool   // It was authorized at a host that has the image.
}

func newFleet(t testing.TB, n int) *fleet {
	t.Helper()
	f := &fleet{}
	for i := range n {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { f.serve(w, req, i) }))
		server.Config.SetKeepAlivesEnabled(false) // Thousands of clients do not close their idle connections.
		t.Cleanup(server.Close)
		f.hosts = append(f.hosts, strings.TrimPrefix(server.URL, "http://"))
	}
	return f
}

const (
	fleetRepository = "team/app"
	headerLogin     = "Basic aGVhZGVyOmxvZ2lu" // header:login
)

// image returns the name of a new image of the origin.
func (f *fleet) image(t testing.TB, digest bool) registry.Image {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.salt++
	f.content = newFleetImage(f.salt)
	name := cmp.Or(f.origin, f.hosts[0]) + "/" + fleetRepository
	if digest {
		name += "@" + digestOf(f.content.manifest)
	} else {
		name += ":1"
	}
	image, err := registry.ParseImage(name)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func (f *fleet) reset(mode string, serves ...int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode, f.log, f.accounts, f.noBlobs, f.serves = mode, nil, nil, nil, make(map[int]bool)
	for _, i := range serves {
		f.serves[i] = true
	}
}

func (f *fleet) requests() []seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

func (f *fleet) serve(w http.ResponseWriter, req *http.Request, i int) {
	s := seen{host: i, method: req.Method, path: req.URL.RequestURI(), token: strings.HasSuffix(req.URL.Path, "/token"), scope: req.FormValue("scope")}
	if name, _, ok := req.BasicAuth(); ok && name != "" {
		s.login = name
	}
	if name := req.FormValue("username"); name != "" {
		s.login = name
	}
	f.mu.Lock()
	mode, serves, noBlobs, image, account := f.mode, f.serves[i], f.noBlobs[i], f.content, ""
	if f.accounts != nil {
		account = f.accounts[i]
	}
	authorized := mode == "open" || account != "" && (mode == "basic" && s.login == account || req.Header.Get("Authorization") == "Bearer "+account)
	s.ok = authorized && serves
	f.log = append(f.log, s)
	f.mu.Unlock()
	ping := strings.HasSuffix(req.URL.Path, "/v2/") || strings.HasSuffix(req.URL.Path, "/v2")
	switch {
	case s.token && account != "" && s.login == account:
		_ = json.NewEncoder(w).Encode(map[string]string{"token": account, "access_token": account})
	case s.token:
		w.WriteHeader(http.StatusUnauthorized)
	case !authorized && mode == "basic":
		w.Header().Set("WWW-Authenticate", `Basic realm="fleet"`)
		w.WriteHeader(http.StatusUnauthorized)
	case !authorized:
		scheme := "http"
		if req.TLS != nil {
			scheme = "https"
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s://%s/token",service="fleet"`, scheme, req.Host))
		w.WriteHeader(http.StatusUnauthorized)
	case ping:
	case !serves:
		w.WriteHeader(http.StatusNotFound)
	case strings.Contains(req.URL.Path, "/manifests/"):
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Docker-Content-Digest", digestOf(image.manifest))
		send(w, image.manifest)
	case noBlobs:
		w.WriteHeader(http.StatusNotFound)
	case strings.HasSuffix(req.URL.Path, digestOf(image.config)):
		send(w, image.config)
	case strings.HasSuffix(req.URL.Path, digestOf(image.layer)):
		send(w, image.layer)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func send(w http.ResponseWriter, content []byte) {
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	_, _ = w.Write(content)
}

// A fleetImage is an image with one layer, which is empty.
type fleetImage struct{ layer, config, manifest []byte }

// newFleetImage returns an image that differs from those with other salts, because a runtime keeps what it has pulled.
func newFleetImage(salt int) fleetImage {
	layer := make([]byte, 1024) // The end of a tar archive.
	layer = append(layer, fmt.Sprint(salt)...)
	config, _ := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Env": []string{fmt.Sprint("SALT=", salt)}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digestOf(layer)}},
	})
	manifest, _ := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digestOf(config), "size": len(config)},
		"layers": []any{map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digestOf(layer), "size": len(layer)}},
	})
	return fleetImage{layer, config, manifest}
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// An overlay is the file system of a node that a test makes: the files of the machine under a folder, and some files
// in other places.
type overlay struct {
	dir   string
	files map[string]string
}

func (o overlay) Open(name string) (fs.File, error) {
	if real, ok := o.files[name]; ok {
		return os.Open(real)
	}
	if rel, ok := strings.CutPrefix("/"+name, o.dir); ok {
		return os.Open(o.dir + rel)
	}
	// The folders above those files.
	for known := range o.files {
		if strings.HasPrefix(known, name+"/") || name == "." {
			return os.Open(o.dir)
		}
	}
	if strings.HasPrefix(o.dir, "/"+name+"/") {
		return os.Open(o.dir)
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// A contact is a host that was sent a request for the manifest, with the logins that the host and its token server were
// sent.
type contact struct {
	Host   int
	Path   string // Of the first request for a manifest.
	Logins string
	Token  string // The logins that its token server was sent.
}

// contacts returns the hosts in the order in which they were contacted, for the manifest of the image.
func (f *fleet) contacts(r mirrors.Route) []contact {
	log, reference := f.requests(), r.Image.Reference()
	var all []contact
	find := func(host int) *contact {
		for i := range all {
			if all[i].Host == host {
				return &all[i]
			}
		}
		return nil
	}
	for _, s := range log {
		switch {
		case find(s.host) != nil:
		case f.onlyPings(r) && s.path == "/v2/":
			all = append(all, contact{Host: s.host, Path: s.path})
		case strings.Contains(s.path, "/manifests/"+reference):
			all = append(all, contact{Host: s.host, Path: s.path})
		case s.token: // CRI-O's first request that names the repository, if it needs a token.
			all = append(all, contact{Host: s.host, Path: s.scope})
		}
	}
	for i := range all {
		var logins, token []string
		for _, s := range log {
			if s.token && s.host == all[i].Host && s.login != "" && !slices.Contains(token, s.login) {
				token = append(token, s.login)
			}
			hop := mirrors.Hop{Host: f.hosts[s.host]}
			if s.host == all[i].Host && s.login != "" && !(s.login == "header" && f.sharesAuthorizer(r, hop)) && !slices.Contains(logins, s.login) {
				logins = append(logins, s.login)
			}
		}
		slices.Sort(logins)
		all[i].Logins = strings.Join(logins, " ")
		if !f.sharesAuthorizer(r, mirrors.Hop{Host: f.hosts[all[i].Host]}) {
			all[i].Token = strings.Join(token, " ")
		}
	}
	return all
}

// plain reports whether the runtime sends requests in plain HTTP, which is all that the fleet understands.
func plain(h mirrors.Hop) bool {
	return h.Scheme == "http" || h.HTTPFallback || h.Host == "registry-1.docker.io" // Served by fakenet, with TLS.
}

// expected returns the contacts that a route predicts if no host has the image, or accepts a login.
func (f *fleet) expected(r mirrors.Route, reference, mode string) []contact {
	var all []contact
	logins, token := make(map[int][]string), make(map[int][]string)
	for _, h := range r.Hops {
		i := slices.Index(f.hosts, h.Host)
		if !h.Resolves || !plain(h) {
			continue
		}
		if logins[i] == nil {
			c := contact{Host: i, Path: h.ManifestPath(reference)}
			if mode == "bearer" && (r.Runtime == mirrors.CRIO || r.Runtime == mirrors.Podman || r.Runtime == mirrors.Docker) {
				c.Path = "repository:" + h.Repository + ":pull"
			}
			if f.onlyPings(r) {
				c.Path = "/v2/"
			}
			all = append(all, c)
		}
		logins[i] = append(logins[i], "")
		login := ""
		if mode != "open" {
			login = map[mirrors.Login]string{mirrors.SecretLogin: "secret", mirrors.NodeLogin: "node"}[h.Login]
			logins[i] = append(logins[i], login)
		}
		if h.Header && !f.sharesAuthorizer(r, h) {
			logins[i] = append(logins[i], "header")
		}
		if login == "" && h.HeaderToTokenServer {
			login = "header" // Otherwise the login replaces it.
		}
		if mode == "bearer" && !f.sharesAuthorizer(r, h) {
			token[i] = append(token[i], login)
		}
	}
	join := func(list []string) string {
		slices.Sort(list)
		return strings.TrimPrefix(strings.Join(slices.Compact(list), " "), " ")
	}
	for i := range all {
		all[i].Logins, all[i].Token = join(logins[all[i].Host]), join(token[all[i].Host])
	}
	return all
}

// onlyPings reports whether Docker gives up at the ping, because it has no login for a Basic challenge.
func (f *fleet) onlyPings(r mirrors.Route) bool {
	return r.Runtime == mirrors.Docker && !r.Secret && f.mode == "basic"
}

// sharesAuthorizer reports whether containerd 1 replaces the header of a hop by the login that an earlier hop at the
// same host needed: the two share what it knows about the host.
func (f *fleet) sharesAuthorizer(r mirrors.Route, hop mirrors.Hop) bool {
	if r.Runtime == mirrors.Containerd2 {
		return false
	}
	n := 0
	for _, h := range r.Hops {
		if h.Host == hop.Host {
			n++
		}
	}
	return n > 1
}

// write writes files below a folder.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
