package systemregistry_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
)

// Responses with layers equal those of distribution's own handlers, for all kinds of requests.
func TestLayersAsDistributionSendsThem(t *testing.T) {
	dir := t.TempDir()
	r := start(t, systemregistry.Server{Driver: filesystem.New(filesystem.DriverParameters{RootDirectory: dir, MaxThreads: 10})})
	layer := strings.Repeat("0123456789", 10_000)
	r.push(t, "ann", password("ann"), "team/app", "1", layer)
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull")
	app := handlers.NewApp(t.Context(), &configuration.Configuration{Storage: configuration.Storage{
		"filesystem":  {"rootdirectory": dir},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		"redirect":    {"disable": true},
	}})
	t.Cleanup(func() { require.NoError(t, app.Shutdown()) })
	plain := httptest.NewServer(app)
	t.Cleanup(plain.Close)
	distribution := &running{URL: plain.URL, Client: plain.Client()}

	tests := map[string]struct {
		method, of string
		header     func(*http.Request)
		want       int
	}{
		"all":                      {"GET", layer, header("Accept", "*/*"), 200},
		"whether it is there":      {"HEAD", layer, header("Accept", "*/*"), 200},
		"one that is not there":    {"GET", "other", header("Accept", "*/*"), 404},
		"a range":                  {"GET", layer, header("Range", "bytes=5-70000"), 206},
		"from somewhere on":        {"GET", layer, header("Range", "bytes=99990-"), 206},
		"the last bytes":           {"GET", layer, header("Range", "bytes=-7"), 206},
		"a range beyond the end":   {"GET", layer, header("Range", "bytes=100000-"), 416},
		"what is no range":         {"GET", layer, header("Range", "bytes=b-a"), 416},
		"what one has already":     {"GET", layer, header("If-None-Match", `"`+digestOf(layer)+`"`), 304},
		"what one has, as a range": {"GET", layer, func(r *http.Request) { header("Range", "bytes=3-4")(r); header("If-Range", `"`+digestOf(layer)+`"`)(r) }, 206},
		"what was another before":  {"GET", layer, func(r *http.Request) { header("Range", "bytes=3-4")(r); header("If-Range", `"another"`)(r) }, 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := "/v2/team/app/blobs/" + digestOf(tt.of)
			want, wantBody := distribution.do(t, tt.method, path, "", tt.header)
			require.Equal(t, tt.want, want.StatusCode)
			got, body := r.do(t, tt.method, path, "", tt.header, bearer(token))
			require.Equal(t, tt.want, got.StatusCode)
			require.Equal(t, wantBody, body)
			for _, h := range []*http.Response{want, got} {
				h.Header.Del("Date")
				h.Header.Del("X-Content-Type-Options") // Set by the server and by http.Error.
			}
			require.Equal(t, want.Header, got.Header)
		})
	}

	t.Run("two ranges", func(t *testing.T) { // The boundary between them is random.
		got, body := r.do(t, "GET", "/v2/team/app/blobs/"+digestOf(layer), "", header("Range", "bytes=1-2,99998-99999"), bearer(token))
		require.Equal(t, http.StatusPartialContent, got.StatusCode)
		require.Contains(t, body, "Content-Range: bytes 1-2/100000\r\nContent-Type: application/octet-stream\r\n\r\n12\r\n")
		require.Contains(t, body, "Content-Range: bytes 99998-99999/100000\r\nContent-Type: application/octet-stream\r\n\r\n89\r\n")
	})
}

// told is a storage that records its calls, and redirects clients if it has a URL.
type told struct {
	storagedriver.StorageDriver
	mu    sync.Mutex
	calls []string
	most  int // Largest number of bytes requested at once.
	url   string
	gone  bool
}

func (d *told) note(call string) (gone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, call)
	return d.gone
}

// since returns the calls since the last call of since.
func (d *told) since() (calls []string, most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls, most = d.calls, d.most
	d.calls, d.most = nil, 0
	return calls, most
}

func (d *told) Stat(ctx context.Context, path string) (storagedriver.FileInfo, error) {
	d.note("stat")
	return d.StorageDriver.Stat(ctx, path)
}

func (d *told) GetContent(ctx context.Context, path string) ([]byte, error) {
	d.note("read " + path[strings.LastIndexByte(path, '/')+1:])
	return d.StorageDriver.GetContent(ctx, path)
}

func (d *told) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if d.note("open " + path[strings.LastIndexByte(path, '/')+1:]) {
		return nil, storagedriver.PathNotFoundError{Path: path}
	}
	file, err := d.StorageDriver.Reader(ctx, path, offset)
	return &toldFile{file, d}, err
}

func (d *told) RedirectURL(*http.Request, string) (string, error) { return d.url, nil }

type toldFile struct {
	io.ReadCloser
	driver *told
}

func (f *toldFile) Read(p []byte) (int, error) {
	f.driver.mu.Lock()
	f.driver.most = max(f.driver.most, len(p))
	f.driver.mu.Unlock()
	return f.ReadCloser.Read(p)
}

// With an object storage, each call costs a round trip.
func TestWorkOfAPull(t *testing.T) {
	d := &told{StorageDriver: filesystem.New(filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 10})}
	r := start(t, systemregistry.Server{Driver: d})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull")
	for method, want := range map[string][]string{"GET": {"read link", "stat", "open data"}, "HEAD": {"read link", "stat"}} {
		d.since()
		resp, _ := r.do(t, method, "/v2/team/app/blobs/"+digestOf("layer"), "", bearer(token))
		require.Equal(t, http.StatusOK, resp.StatusCode)
		calls, most := d.since()
		require.Equal(t, want, calls, method)
		require.LessOrEqual(t, most, 64<<10, "a buffer is larger than what is sent at once")
	}
}

// If a layer's data disappears between two steps of a pull, the response is never mistaken for a complete layer.
func TestLayerThatGoes(t *testing.T) {
	d := &told{StorageDriver: filesystem.New(filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 10})}
	r := start(t, systemregistry.Server{Driver: d})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull")
	d.mu.Lock()
	d.gone = true
	d.mu.Unlock()
	req, err := http.NewRequestWithContext(t.Context(), "GET", r.URL+"/v2/team/app/blobs/"+digestOf("layer"), nil)
	require.NoError(t, err)
	bearer(token)(req)
	resp, err := r.Client.Do(req)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	require.Error(t, err)
}

func TestRedirect(t *testing.T) {
	for redirect, want := range map[bool]int{true: http.StatusTemporaryRedirect, false: http.StatusOK} {
		d := &told{
			StorageDriver: filesystem.New(filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 10}),
			url:           "https://storage.example.com/signed",
		}
		r := start(t, systemregistry.Server{Driver: d, Redirect: redirect})
		r.push(t, "ann", password("ann"), "team/app", "1", "layer")
		token := r.token(t, "ann", password("ann"), "repository:team/app:pull")
		r.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, _ := r.do(t, "GET", "/v2/team/app/blobs/"+digestOf("layer"), "", bearer(token))
		require.Equal(t, want, resp.StatusCode)
		if redirect {
			require.Equal(t, d.url, resp.Header.Get("Location"))
		}
		resp, _ = r.do(t, "GET", "/v2/team/app/blobs/"+digestOf("layer"), "")
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode, "a URL for nobody")
	}
}
