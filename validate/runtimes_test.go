package validate_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// The results of containerd 1.6, 1.7 and 2.4, CRI-O 1.37 and Docker 29 with either image store for 46 registries and
// images, called as a kubelet calls them. The check must have the same results.
func TestRuntimes(t *testing.T) {
	for _, row := range runtimeRows {
		t.Run(row.name, func(t *testing.T) {
			wants := strings.Fields(row.want)
			if len(wants) == 3 {
				wants = append(wants, wants[0][strings.LastIndex(wants[0], "/")+1:])
			}
			for i, runtime := range []validate.Runtime{validate.Containerd, validate.CRIO, validate.Docker, validate.DockerContainerd} {
				want := wants[i]
				synctest.Test(t, func(t *testing.T) {
					s := newScene()
					row.edit(s)
					c := &validate.Checker{
						RoundTripper: s, Runtimes: []validate.Runtime{runtime}, Deep: true, Platforms: platforms(t, "linux/amd64"),
					}
					got, err := c.Image(t.Context(), image(t, sceneHost+"/team/app:1"), as("ann", "right"))
					require.Equal(t, want, signs(got), "%s: %v\n%s", runtime, err, strings.Join(steps(got.Attempts[0]), "\n"))
					switch {
					case err != nil:
						require.NotEmpty(t, registry.HintOf(err))
					case strings.Contains(want, "-"):
						require.NotEmpty(t, got.Warnings)
						require.True(t, registry.Temporary(got.Runtimes[0].Err), "%v", got.Runtimes[0].Err)
					}
				})
			}
		})
	}
}

// signs writes + for each line that pulls the image and - for each that does not. "+!" is a line that reports success
// and cannot start a container.
func signs(r validate.Result) string {
	var all []string
	for _, one := range r.Runtimes {
		sign := map[validate.Answer]string{validate.Yes: "+", validate.No: "-", validate.Unknown: "-"}[one.Pulls]
		if one.Pulls == validate.Yes && one.Runs == validate.No {
			sign += "!"
		}
		all = append(all, sign)
	}
	if len(all) == 2 && all[0] == all[1] {
		all = all[:1]
	}
	return strings.Join(all, "/")
}

const (
	sceneHost  = "a.example.com"
	sceneRealm = "https://a.example.com/token"
	bearer     = `Bearer realm="` + sceneRealm + `",service="reg"`
	basic      = `Basic realm="reg"`

	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	ociConfig      = "application/vnd.oci.image.config.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// A scene is a registry with one image, team/app:1. A row may change any of its responses.
type scene struct {
	challenges     []string // For a 401. None means that there is no login.
	pingChallenges []string // Nil means challenges.
	pingStatus     int      // Zero means 401, or 200 if there is no challenge.
	accepts        string   // The scheme that is accepted: "Bearer" or "Basic". Empty means that no login is needed.
	blobsAccept    string   // The same for blobs; empty means accepts.
	unauthorized   int      // The status without a login.

	post, get func(w http.ResponseWriter) // The token server.
	// before responds in place of the registry; edit changes the response for a manifest.
	before func(w http.ResponseWriter, req *http.Request) bool
	edit   func(req *http.Request, w *httptest.ResponseRecorder)

	contents  map[string][2]string // Manifests by tag or digest: media type and body.
	blobs     map[string]string
	layerType string // Of images that are added afterwards; empty means the default type.
}

const amd64Config = `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:0"]}}`

func newScene() *scene {
	s := &scene{
		challenges: []string{bearer}, accepts: "Bearer", unauthorized: http.StatusUnauthorized,
		post: sends(200, `{"access_token":"tok","token":"tok"}`), get: sends(200, `{"access_token":"tok","token":"tok"}`),
		contents: make(map[string][2]string), blobs: make(map[string]string),
	}
	s.image(ociManifest, ociConfig, amd64Config)
	return s
}

func sends(status int, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func digestOf(s string) string {
	h := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(h[:])
}

// manifest returns the manifest of an image with the config, and keeps both.
func (s *scene) manifest(mediaType, configType, config string) string {
	m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[%s]}`,
		mediaType, configType, digestOf(config), len(config), s.layer(mediaType))
	s.blobs[digestOf(config)] = config
	s.contents[digestOf(m)] = [2]string{mediaType, m}
	return m
}

// layer returns the descriptor of the layer that every image has.
func (s *scene) layer(manifestType string) string {
	const text = "a layer"
	s.blobs[digestOf(text)] = text
	layerType := "application/vnd.oci.image.layer.v1.tar+gzip"
	if manifestType == dockerManifest {
		layerType = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	}
	if s.layerType != "" {
		layerType = s.layerType
	}
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, layerType, digestOf(text), len(text))
}

// image sets the image that the tag refers to.
func (s *scene) image(mediaType, configType, config string) {
	s.contents["1"] = [2]string{mediaType, s.manifest(mediaType, configType, config)}
}

// index sets an index of images as the content of the tag. Each entry is a platform, or empty, and the architecture of
// the image.
func (s *scene) index(entries ...[2]string) string {
	var list []string
	for _, e := range entries {
		m := s.manifest(ociManifest, ociConfig, strings.Replace(amd64Config, "amd64", e[1], 1))
		platform := ""
		if e[0] != "" {
			platform = `,"platform":` + e[0]
		}
		list = append(list, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, ociManifest, digestOf(m), len(m), platform))
	}
	return s.indexOf(list...)
}

func (s *scene) indexOf(entries ...string) string {
	i := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ociIndex, strings.Join(entries, ","))
	s.contents["1"], s.contents[digestOf(i)] = [2]string{ociIndex, i}, [2]string{ociIndex, i}
	return i
}

func (s *scene) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	part := strings.Split(req.URL.Path, "/")
	ref := part[len(part)-1]
	accepts := s.accepts
	if s.blobsAccept != "" && strings.Contains(req.URL.Path, "/blobs/") {
		accepts = s.blobsAccept
	}
	switch {
	case s.before != nil && s.before(w, req):
	case req.URL.Path == "/token" && req.Method == http.MethodPost:
		s.post(w)
	case req.URL.Path == "/token":
		s.get(w)
	case req.URL.Path == "/v2/" && req.Header.Get("Authorization") == "":
		s.ping(w)
	case accepts != "" && !strings.HasPrefix(req.Header.Get("Authorization"), accepts+" "),
		strings.HasPrefix(req.Header.Get("Authorization"), "Bearer ") && req.Header.Get("Authorization") != "Bearer tok":
		w.Header()["Www-Authenticate"] = s.challenges
		w.WriteHeader(s.unauthorized)
	case req.URL.Path == "/v2/":
	case strings.Contains(req.URL.Path, "/manifests/"):
		c, ok := s.contents[ref]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			break
		}
		w.Header().Set("Content-Type", c[0])
		w.Header().Set("Docker-Content-Digest", digestOf(c[1]))
		w.Header().Set("Content-Length", fmt.Sprint(len(c[1])))
		if s.edit != nil {
			s.edit(req, w)
		}
		if req.Method == http.MethodGet {
			_, _ = w.WriteString(c[1])
		}
	default:
		b, ok := s.blobs[ref]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			break
		}
		_, _ = w.WriteString(b)
	}
	return w.Result(), nil
}

func (s *scene) ping(w http.ResponseWriter) {
	challenges := s.challenges
	if s.pingChallenges != nil {
		challenges = s.pingChallenges
	}
	status := s.pingStatus
	if status == 0 {
		status = http.StatusOK
		if len(challenges) > 0 {
			status = http.StatusUnauthorized
		}
	}
	if len(challenges) > 0 {
		w.Header()["Www-Authenticate"] = challenges
	}
	w.WriteHeader(status)
}

func isManifest(req *http.Request) bool { return strings.Contains(req.URL.Path, "/manifests/") }

// token makes both methods of the token server respond with the body.
func (s *scene) token(body string) { s.post, s.get = sends(200, body), sends(200, body) }

// headStatus makes HEAD fail.
func headStatus(status int) func(*scene) {
	return func(s *scene) {
		s.before = func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodHead && isManifest(req) {
				w.WriteHeader(status)
				return true
			}
			return false
		}
		s.open()
	}
}

func (s *scene) open() { s.accepts, s.challenges = "", nil }

// header changes a header of manifests, for a method or for all.
func header(method, name, value string) func(*scene) {
	return func(s *scene) {
		s.open()
		s.edit = func(req *http.Request, w *httptest.ResponseRecorder) {
			switch {
			case method != "" && req.Method != method:
			case value == "":
				w.Header()[name] = nil
			default:
				w.Header().Set(name, value)
			}
		}
	}
}

func postStatus(status int) func(*scene) {
	return func(s *scene) { s.post = sends(status, "") }
}

func tokenBody(body string) func(*scene) { return func(s *scene) { s.token(body) } }

func challenged(lines ...string) func(*scene) { return func(s *scene) { s.challenges = lines } }

func indexed(platform, architecture string) func(*scene) {
	return func(s *scene) { s.open(); s.index([2]string{platform, architecture}) }
}

func padded(n int) func(*scene) {
	return func(s *scene) {
		s.open()
		c := s.contents["1"]
		c[1] = strings.Replace(c[1], "{", fmt.Sprintf(`{"annotations":{"x":"%s"},`, strings.Repeat("x", n-len(c[1])-24)), 1)
		s.contents["1"], s.contents[digestOf(c[1])] = c, c
	}
}

// once responds to the nth request for a manifest with the status.
func once(n, status int, headers ...string) func(*scene) {
	return func(s *scene) {
		seen := 0
		s.before = func(w http.ResponseWriter, req *http.Request) bool {
			if !isManifest(req) || s.accepts != "" && req.Header.Get("Authorization") == "" {
				return false
			}
			if seen++; seen != n {
				return false
			}
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			return true
		}
	}
}

// The want of a row is for containerd, CRI-O, and Docker with a graph driver and with the containerd image store. If the
// two lines of containerd differ, a slash separates them. Without a fourth verdict, it is that of containerd 2.
var runtimeRows = []struct {
	name, want string
	edit       func(*scene)
}{
	{"01 POST 404", "+ + +", postStatus(404)},
	{"01 POST 405", "+ + +", postStatus(405)},
	{"01 POST 401", "+ + +", postStatus(401)},
	{"01 POST 400", "+ + +", postStatus(400)},
	{"02 POST 403", "- + +", postStatus(403)},
	{"03 POST 500", "- + +", postStatus(500)},
	{"03 POST 501", "- + +", postStatus(501)},
	{"03 POST 503", "- + +", postStatus(503)},
	{"04 POST with token alone", "- + +", func(s *scene) { s.post = sends(200, `{"token":"tok"}`) }},
	{"05 POST good, GET 403", "+ - -", func(s *scene) { s.get = sends(403, "") }},
	{"05 POST good, GET 500", "+ - -", func(s *scene) { s.get = sends(500, "") }},
	{"06 token good, access_token other", "- + -", tokenBody(`{"token":"tok","access_token":"other"}`)},
	{"07 access_token good, token other", "+ - +", tokenBody(`{"token":"other","access_token":"tok"}`)},
	{"08 expires_in text", "- - -", tokenBody(`{"token":"tok","access_token":"tok","expires_in":"300"}`)},
	{"08 expires_in fraction", "- - -", tokenBody(`{"token":"tok","access_token":"tok","expires_in":300.5}`)},
	{"08 expires_in exponent", "- - -", tokenBody(`{"token":"tok","access_token":"tok","expires_in":1e3}`)},
	{"09 issued_at empty", "- - -", tokenBody(`{"token":"tok","access_token":"tok","issued_at":""}`)},
	{"09 issued_at number", "- - -", tokenBody(`{"token":"tok","access_token":"tok","issued_at":1700000000}`)},
	{"09 issued_at without zone", "- - -", tokenBody(`{"token":"tok","access_token":"tok","issued_at":"2026-01-01T00:00:00"}`)},
	{"10 refresh_token number", "- + -", tokenBody(`{"token":"tok","access_token":"tok","refresh_token":1}`)},
	{"11 token response of 2 MiB", "+ - +",
		tokenBody(`{"token":"tok","access_token":"tok","x":"` + strings.Repeat("x", 2<<20) + `"}`)},
	{"12 JSON, then text", "+ - +", tokenBody(`{"token":"tok","access_token":"tok"} and more`)},
	{"13 Basic, Bearer in one line", "- - -", challenged(basic + ", " + bearer)},
	{"14 Basic, Bearer in two lines", "+ - -", challenged(basic, bearer)},
	{"15 Bearer without realm, and Basic", "- + -", func(s *scene) {
		s.challenges, s.accepts = []string{basic, `Bearer error="x"`}, "Basic"
	}},
	{"16 realm without quotes", "- - -", challenged("Bearer realm=" + sceneRealm + ",service=reg")},
	{"16 spaces around =", "- - -", challenged(`Bearer realm = "` + sceneRealm + `" , service = "reg"`)},
	{"17 ping 200", "+ - -", func(s *scene) { s.pingChallenges = []string{} }},
	{"18 ping 403", "+ - +", func(s *scene) { s.open(); s.pingStatus = 403 }},
	{"18 ping 404", "+ - +", func(s *scene) { s.open(); s.pingStatus = 404 }},
	{"18 ping 405", "+ - +", func(s *scene) { s.open(); s.pingStatus = 405 }},
	{"18 ping 500", "+ - +", func(s *scene) { s.open(); s.pingStatus = 500 }},
	{"19 401 without challenge", "- + +", func(s *scene) { s.pingChallenges, s.challenges = s.challenges, nil }},
	{"20 403 until logged in", "- + +", func(s *scene) {
		s.pingChallenges, s.challenges, s.unauthorized = s.challenges, nil, 403
	}},
	{"21 scope of another repository", "+ - -", otherScope("")},
	{"22 the same with insufficient_scope", "+ + -", otherScope(`,error="insufficient_scope"`)},
	{"23 HEAD 404", "- + +", headStatus(404)},
	{"23 HEAD 403", "- + +", headStatus(403)},
	{"23 HEAD 400", "- + +", headStatus(400)},
	{"23 HEAD 501", "- + +", headStatus(501)},
	{"24 HEAD 405", "+ + +", headStatus(405)},
	{"25 HEAD of type application/json", "- + +", header("HEAD", "Content-Type", "application/json")},
	{"25 HEAD of type octet-stream", "- + +", header("HEAD", "Content-Type", "application/octet-stream")},
	{"26 HEAD without type", "- + -", header("HEAD", "Content-Type", "")},
	{"27 application/json", "- - -", header("", "Content-Type", "application/json")},
	{"27 octet-stream", "- - -", header("", "Content-Type", "application/octet-stream")},
	{"27 text/html", "- - -", header("", "Content-Type", "text/html")},
	{"28 digest is none", "- + -", header("", "Docker-Content-Digest", "abc")},
	{"28 digest upper case", "- + -", header("", "Docker-Content-Digest", "sha256:"+strings.Repeat("A", 64))},
	{"28 digest of something else", "- + -", header("", "Docker-Content-Digest", digestOf("x"))},
	{"29 no digest", "+ + +", header("", "Docker-Content-Digest", "")},
	{"30 GET 403", "- - -", getStatus(403)},
	{"30 GET 404", "- - -", getStatus(404)},
	{"30 GET 500", "- - -", getStatus(500)},
	{"31 manifest 4.1 MiB", "+ - +", padded(4_300_000)},
	{"31 manifest 5 MiB", "- - +", padded(5 << 20)},
	{"32 config 5 MiB", "+ - +", func(s *scene) {
		s.open()
		s.image(ociManifest, ociConfig, strings.Replace(amd64Config, "{", `{"author":"`+strings.Repeat("x", 5<<20)+`",`, 1))
	}},
	{"33 amd64 v1", "+ - +", indexed(`{"os":"linux","architecture":"amd64","variant":"v1"}`, "amd64")},
	{"33 amd64 v2", "- - + +", indexed(`{"os":"linux","architecture":"amd64","variant":"v2"}`, "amd64")},
	{"34 no platform", "+ + +", indexed("", "amd64")},
	{"35 x86_64", "+ - +", indexed(`{"os":"linux","architecture":"x86_64"}`, "amd64")},
	{"35 architecture alone", "+ - +", indexed(`{"architecture":"amd64"}`, "amd64")},
	{"36 index in an index", "+ - +", func(s *scene) {
		s.open()
		inner := s.index([2]string{`{"os":"linux","architecture":"amd64"}`, "amd64"})
		s.indexOf(fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, ociIndex, digestOf(inner), len(inner)))
	}},
	{"37 octet-stream config", "-/+! + + -", func(s *scene) {
		s.open()
		s.image(dockerManifest, "application/octet-stream", amd64Config)
	}},
	// A chart's config has no rootfs. The observation for 1.x is true of 1.6; 1.7.35 reports success, too.
	{"38 Helm chart", "+! +! -", func(s *scene) {
		s.open()
		s.layerType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
		s.image(ociManifest, "application/vnd.cncf.helm.config.v1+json", `{"name":"chart","version":"1.0.0"}`)
	}},
	{"38 artifact with an image's config", "-/+! +! - -", func(s *scene) {
		s.open()
		s.image(ociManifest, "application/vnd.example.config.v1+json", amd64Config)
	}},
	{"39 docker's config in an OCI manifest", "+ - +", func(s *scene) { s.open(); s.image(ociManifest, dockerConfig, amd64Config) }},
	{"40 invalid_token once", "- - +", once(1, 401, "Www-Authenticate", bearer+`,error="invalid_token"`)},
	{"41 500 once", "-/+ - +", func(s *scene) { s.open(); once(1, 500)(s) }},
	{"42 429 for ever", "- - -", func(s *scene) {
		s.open()
		s.before = func(w http.ResponseWriter, req *http.Request) bool {
			if isManifest(req) {
				w.WriteHeader(429)
			}
			return isManifest(req)
		}
	}},
	{"43 login rejected, repository public", "- - -", func(s *scene) {
		s.post, s.get = sends(401, ""), sends(401, "")
		s.accepts = ""
		s.before = func(w http.ResponseWriter, req *http.Request) bool {
			if isManifest(req) && req.Header.Get("Authorization") == "" {
				w.Header().Set("Www-Authenticate", bearer)
				w.WriteHeader(401)
				return true
			}
			return false
		}
	}},
	{"44 login rejected by the ping's scheme, manifests open", "+ - -", func(s *scene) {
		s.pingChallenges, s.accepts = []string{basic}, ""
		s.before = func(w http.ResponseWriter, req *http.Request) bool {
			if req.Header.Get("Authorization") != "" {
				w.Header().Set("Www-Authenticate", basic)
				w.WriteHeader(401)
				return true
			}
			return false
		}
	}},
	{"46 blobs require a login", "+ - -", func(s *scene) {
		s.pingChallenges, s.accepts, s.blobsAccept = []string{}, "", "Bearer"
	}},
}

// otherScope makes a registry that accepts a token only if it was requested for another repository too, as its
// challenge requires.
func otherScope(more string) func(*scene) {
	return func(s *scene) {
		const scope = "repository:other/app:pull"
		s.pingChallenges = []string{bearer}
		s.challenges = []string{bearer + `,scope="` + scope + `"` + more}
		s.before = func(w http.ResponseWriter, req *http.Request) bool {
			if req.URL.Path != "/token" {
				return false
			}
			_ = req.ParseForm()
			token := "narrow"
			if strings.Contains(strings.Join(req.Form["scope"], " "), scope) {
				token = "tok"
			}
			_, _ = fmt.Fprintf(w, `{"token":%q,"access_token":%q}`, token, token)
			return true
		}
	}
}

func getStatus(status int) func(*scene) {
	return func(s *scene) {
		s.open()
		s.before = func(w http.ResponseWriter, req *http.Request) bool {
			if isManifest(req) && req.Method == http.MethodGet {
				w.WriteHeader(status)
				return true
			}
			return false
		}
	}
}
