package systemregistry_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/store"
)

// open opens a registry without a listener, with the accounts of start.
func open(t *testing.T, s systemregistry.Server) *running {
	t.Helper()
	r := new(running)
	s.OnEvent, s.OnError = r.event, r.error
	s.Admin, s.AdminPassword, s.PasswordCost = "root", password("root"), fastCost
	var err error
	r.Registry, err = s.Open(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	r.person(t, "ann", "", rule("team/**", "pull", "push", "delete"))
	r.person(t, "mallory", "evil", rule("evil/**", "pull", "push", "delete"))
	r.URL, r.Client = "http://registry.example.com", &http.Client{Transport: inProcess{r.Registry}}
	return r
}

// everywhere runs the test with one process, and with two replicas that share a storage and a store, and that get the
// requests in turns.
func everywhere(t *testing.T, s systemregistry.Server, test func(t *testing.T, r *running)) {
	t.Run("one process", func(t *testing.T) { test(t, open(t, s)) })
	t.Run("replicas", func(t *testing.T) {
		s := s
		s.Dir, s.Driver, s.Store = "", inmemory.New(), new(store.Memory)
		r := open(t, s)
		s.OnEvent, s.OnError = r.event, r.error
		other, err := s.Open(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, other.Close()) })
		var n atomic.Int64
		r.Client.Transport = inProcess{http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if n.Add(1)%2 == 0 {
				other.ServeHTTP(w, req)
				return
			}
			r.ServeHTTP(w, req)
		})}
		test(t, r)
	})
}

// inProcess sends requests to a handler without a connection.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	inner := req.Clone(req.Context())
	inner.RemoteAddr, inner.RequestURI = "192.0.2.1:1234", req.URL.RequestURI()
	if inner.Body == nil {
		inner.Body = http.NoBody
	}
	answer := httptest.NewRecorder()
	p.handler.ServeHTTP(answer, inner)
	return answer.Result(), nil
}

// hostileBody is a body that never ends. It records how much of it is read.
type hostileBody struct {
	text string
	read int
	slow bool
}

func (b *hostileBody) Read(p []byte) (int, error) {
	if b.slow {
		time.Sleep(50 * time.Second)
		p = p[:1]
	}
	n := 0
	for n < len(p) { // The text first, then its last byte.
		if b.read+n < len(b.text) {
			n += copy(p[n:], b.text[b.read+n:])
			continue
		}
		p[n] = 'x'
		n++
	}
	b.read += n
	return n, nil
}

func (b *hostileBody) Close() error { return nil }

const multipartBody = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n"

// No byte of a body is read before its sender is identified and authorized: by no route, for any login and body. A
// login that is in the body itself is read up to 64 KiB.
func TestNoBodyIsReadOfStrangers(t *testing.T) {
	folder := t.TempDir() // Other programs use the one of the machine.
	t.Setenv("TMPDIR", folder)
	r := open(t, systemregistry.Server{}) // Outside of the bubble: distribution leaves a goroutine behind.
	synctest.Test(t, func(t *testing.T) {
		manifest := r.push(t, "ann", password("ann"), "team/app", "1", "layer")
		token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push,delete")
		resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
		upload := resp.Header.Get("Location")
		expired := token
		time.Sleep(10 * time.Minute)
		evil := r.token(t, "mallory", password("mallory"), "repository:evil/app:pull,push,delete", "repository:team/app:pull,push,delete")

		blob, tag := "/v2/team/app/blobs/"+digestOf("layer"), "/v2/team/app/manifests/1"
		begin := "/v2/team/app/blobs/uploads/"
		mount := begin + "?" + url.Values{"mount": {digestOf("layer")}, "from": {"team/app"}}.Encode()
		robot := url.QueryEscape("team+ci")
		routes := []string{
			"GET /v2/", "POST /v2/", "GET /v2/_catalog", "GET /v2/team/app/tags/list", "POST /v2/team/app/tags/list",
			"GET " + tag, "HEAD " + tag, "PUT " + tag, "PATCH " + tag, "POST " + tag, "DELETE " + tag,
			"PUT /v2/team/app/manifests/" + manifest, "DELETE /v2/team/app/manifests/" + manifest,
			"GET " + blob, "HEAD " + blob, "PUT " + blob, "DELETE " + blob,
			"POST " + begin, "POST " + mount, "POST " + begin + "?digest=" + digestOf("x"), "PUT " + begin, "PATCH " + begin,
			"GET " + upload, "PUT " + upload + "&digest=" + digestOf("x"), "PATCH " + upload, "POST " + upload, "DELETE " + upload,
			"POST /v2/team/../team/app/blobs/uploads/", "PUT /v2/nothing", "FOO /v2/team/app/blobs/uploads/",
			"GET /token", "PUT /token", "DELETE /token",
			"DELETE /api/v1/session", "GET /api/v1/me", "POST /api/v1/logins", "GET /api/v1/repositories",
			"GET /api/v1/images?repository=team/app", "DELETE /api/v1/images?repository=team/app&reference=1",
			"GET /api/v1/accounts", "POST /api/v1/accounts", "PUT /api/v1/accounts?name=" + robot, "DELETE /api/v1/accounts?name=" + robot,
			"POST /api/v1/accounts/secret?name=ann", "POST /api/v1/accounts/key?name=ann", "POST /api/v1/nothing", "PUT /api/v1/me",
			"GET /console/", "POST /console/", "PUT /", "POST /healthz", "GET /readyz", "POST /nothing",
		}
		logins := map[string]func(*http.Request){
			"no login":              func(*http.Request) {},
			"a wrong password":      basic("ann", credentials.NewSecret("a wrong one")),
			"a name that is none":   basic("Ann\nBob", password("ann")),
			"a wrong token":         bearer("eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbm4ifQ.AAAA"),
			"an expired token":      bearer(expired),
			"another tenant":        basic("mallory", password("mallory")),
			"another tenant, token": bearer(evil),
			"a wrong session":       func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "__Host-regcred", Value: "x.y.z"}) },
		}
		bodies := map[string]struct {
			hostileBody
			length      int64
			contentType string
		}{
			"small":                   {hostileBody{text: `{"a":"b"}`}, 9, "application/json"},
			"huge":                    {hostileBody{text: `{"a":"`}, 1 << 40, "application/json"},
			"chunked":                 {hostileBody{text: `{"a":"`}, -1, "application/json"},
			"slow":                    {hostileBody{text: `{"a":"`, slow: true}, 1 << 30, "application/octet-stream"},
			"form":                    {hostileBody{text: "from=a&mount=b&_state="}, 100 << 20, "application/x-www-form-urlencoded"},
			"multipart":               {hostileBody{text: multipartBody}, 100 << 20, "multipart/form-data; boundary=b"},
			"multipart of any length": {hostileBody{text: multipartBody}, -1, "multipart/form-data; boundary=b"},
		}
		send := func(t *testing.T, route string, login func(*http.Request), name string, body io.ReadCloser) *http.Response {
			method, path, _ := strings.Cut(route, " ")
			req := httptest.NewRequest(method, "http://registry.example.com"+path, nil)
			req.Body, req.ContentLength = body, bodies[name].length
			req.Header.Set("Content-Type", bodies[name].contentType)
			login(req)
			answer := httptest.NewRecorder()
			began := time.Now()
			r.ServeHTTP(answer, req)
			require.Less(t, time.Since(began), 15*time.Second, "%s with a body that is %s", route, name)
			return answer.Result()
		}
		for loginName, login := range logins {
			for name, b := range bodies {
				for _, route := range routes {
					body := &hostileBody{text: b.text, slow: b.slow}
					if strings.HasSuffix(route, "logins") && strings.HasPrefix(loginName, "another tenant") {
						continue // It is allowed to; see below.
					}
					resp := send(t, route, login, name, body)
					require.Zero(t, body.read, "%s, %s, a body that is %s: %s", route, loginName, name, resp.Status)
					require.Equal(t, "close", resp.Header.Get("Connection"), "%s: or the server would read it", route)
				}
			}
		}
		for _, route := range []string{"POST /token", "POST /api/v1/session"} {
			for name, b := range bodies {
				if b.slow {
					continue // A recorder has no deadlines; see TestSlowBodies.
				}
				body := &hostileBody{text: b.text}
				resp := send(t, route, func(*http.Request) {}, name, body)
				require.GreaterOrEqual(t, resp.StatusCode, 400)
				require.LessOrEqual(t, body.read, 64<<10+1, "%s, a body that is %s", route, name)
			}
		}
		temporary, err := os.ReadDir(folder)
		require.NoError(t, err)
		for _, f := range temporary {
			require.False(t, strings.HasPrefix(f.Name(), "multipart-"), f.Name())
		}
	})
}

// A client with the right to push may send any content type.
func TestPushWithTheTypeOfAForm(t *testing.T) {
	r := open(t, systemregistry.Server{})
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	for _, contentType := range []string{"application/x-www-form-urlencoded", "multipart/form-data; boundary=b", ""} {
		layer := "layer=" + contentType
		resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token), header("Content-Type", contentType))
		require.Equal(t, http.StatusAccepted, resp.StatusCode)
		resp, body := r.do(t, "PATCH", resp.Header.Get("Location"), layer[:3], bearer(token), header("Content-Type", contentType))
		require.Equal(t, http.StatusAccepted, resp.StatusCode, body)
		resp, body = r.do(t, "PUT", resp.Header.Get("Location")+"&digest="+digestOf(layer), layer[3:], bearer(token), header("Content-Type", contentType))
		require.Equal(t, http.StatusCreated, resp.StatusCode, body)
		_, body = r.do(t, "GET", "/v2/team/app/blobs/"+digestOf(layer), "", bearer(token))
		require.Equal(t, layer, body)
	}
}

// pipes is a listener whose connections are in memory, so that their deadlines use the clock of the synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "192.0.2.1:5000" }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// A client that sends a byte now and then is disconnected: within seconds without a login, within minutes with a login.
// So is a client that reads a layer as slowly.
func TestSlowBodies(t *testing.T) {
	r := open(t, systemregistry.Server{})
	synctest.Test(t, func(t *testing.T) {
		listener := newPipes()
		server := r.HTTPServer()
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(listener) }()
		r.push(t, "ann", password("ann"), "team/app", "1", strings.Repeat("layer", 1<<20))
		token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
		resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
		upload, authorization := resp.Header.Get("Location"), "Authorization: Bearer "+token+"\r\n"

		const form, json = "Content-Type: application/x-www-form-urlencoded\r\n", "Content-Type: application/json\r\n"
		for name, tt := range map[string]struct {
			request, headers string
			most             time.Duration
		}{
			"no request at all":      {"", "", 15 * time.Second},
			"half a header":          {"GET /v2/ HTTP/1.1\r\nHos", "", 15 * time.Second},
			"a token":                {"POST /token", form + "Content-Length: 1000\r\n", 15 * time.Second},
			"a token, chunked":       {"POST /token", form + "Transfer-Encoding: chunked\r\n", 15 * time.Second},
			"a session":              {"POST /api/v1/session", json + "Content-Length: 1000\r\n", 15 * time.Second},
			"an upload of nobody":    {"PATCH " + upload, "Content-Length: 1000\r\n", 15 * time.Second},
			"a small one of nobody":  {"DELETE /v2/team/app/manifests/1", "Content-Length: 100\r\n", 15 * time.Second},
			"an upload":              {"PATCH " + upload, authorization + "Content-Length: 100000\r\n", 5 * time.Minute},
			"a manifest":             {"PUT /v2/team/app/manifests/1", authorization + "Content-Length: 1000\r\n", 5 * time.Minute},
			"a layer that is pulled": {"GET /v2/team/app/blobs/" + digestOf(strings.Repeat("layer", 1<<20)), authorization, 5 * time.Minute},
		} {
			func() {
				conn := listener.dial()
				began := time.Now()
				gone := make(chan struct{})
				go func() { // A client that reads slowly.
					defer close(gone)
					in := bufio.NewReaderSize(conn, 16)
					for {
						if _, err := in.ReadByte(); err != nil {
							return
						}
						if in.Buffered() == 0 && strings.HasPrefix(name, "a layer") {
							time.Sleep(time.Second)
						}
					}
				}()
				if tt.headers == "" {
					_, _ = io.WriteString(conn, tt.request)
				} else {
					fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: registry.example.com\r\n%s\r\n", tt.request, tt.headers)
				}
				go func() {
					for {
						if _, err := conn.Write([]byte("1")); err != nil {
							return
						}
						time.Sleep(5 * time.Second)
					}
				}()
				<-gone
				if took := time.Since(began); took > tt.most {
					t.Errorf("%s: it was held for %v", name, took)
				}
				_ = conn.Close() // The server closed its end.
			}()
		}
		time.Sleep(time.Minute) // Until the writers have ended.
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
}
