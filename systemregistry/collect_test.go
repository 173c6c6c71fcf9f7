package systemregistry_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
)

// interrupted is a storage that calls a function in the middle of a collection: before the first deletion of a path
// that contains a part.
type interrupted struct {
	storagedriver.StorageDriver
	part string
	once sync.Once
	do   func()
}

func (d *interrupted) Delete(ctx context.Context, path string) error {
	if d.do != nil && strings.Contains(path, d.part) {
		d.once.Do(func() {
			go d.do()
			synctest.Wait() // It has ended, or waits for the deletion here.
		})
	}
	return d.StorageDriver.Delete(ctx, path)
}

// Requests for layers that the repository does not have protect nothing from a collection. Otherwise, a client could
// stop all collections with requests for arbitrary digests.
func TestMissingLayersAreNotProtected(t *testing.T) {
	layer := digestOf("layer")
	for name, ask := range map[string]func(t *testing.T, r *running, token string) int{
		"a question": func(t *testing.T, r *running, token string) int {
			resp, _ := r.do(t, "HEAD", "/v2/team/other/blobs/"+layer, "", bearer(token))
			return resp.StatusCode - http.StatusNotFound
		},
		"a mount": func(t *testing.T, r *running, token string) int {
			resp, _ := r.do(t, "POST", "/v2/team/other/blobs/uploads/?from=team/none&mount="+url.QueryEscape(layer), "", bearer(token))
			return resp.StatusCode - http.StatusAccepted
		},
		"a failed upload": func(t *testing.T, r *running, token string) int {
			resp, _ := r.do(t, "POST", "/v2/team/other/blobs/uploads/", "", bearer(token))
			resp, _ = r.do(t, "PUT", resp.Header.Get("Location")+"&digest="+layer, "something else", bearer(token))
			return resp.StatusCode - http.StatusBadRequest
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, systemregistry.Server{Driver: inmemory.New()})
			synctest.Test(t, func(t *testing.T) {
				r.Client = &http.Client{Transport: inProcess{r.Registry}}
				token := func() string {
					return r.token(t, "ann", password("ann"), "repository:team/app:pull,push", "repository:team/other:pull,push", "repository:team/none:pull")
				}
				resp, _ := r.upload(t, token(), "team/app", "layer")
				require.Equal(t, http.StatusCreated, resp.StatusCode)
				time.Sleep(48 * time.Hour)
				require.Zero(t, ask(t, r, token()))
				done, err := r.Images().Collect(t.Context())
				require.NoError(t, err)
				require.Equal(t, 1, done.Blobs)
			})
		})
	}
}

// Responses that a client gets during a collection stay true after it, although the collection knows only the older
// state.
func TestCollectLeavesWhatIsAcknowledgedMeanwhile(t *testing.T) {
	layer := digestOf("layer")
	tests := map[string]struct {
		part string // Part of the path that is about to be deleted.
		path string // Path of the client's request.
		act  func(t *testing.T, r *running, token string) int
		of   string // Repository that must have the layer then.
	}{
		"a push": {part: "_layers/sha256", of: "team/new", act: func(t *testing.T, r *running, token string) int {
			resp, _ := r.upload(t, token, "team/new", "layer")
			return resp.StatusCode
		}},
		"a push to where it was": {part: "_layers/sha256", of: "team/two", act: func(t *testing.T, r *running, token string) int {
			resp, _ := r.upload(t, token, "team/two", "layer")
			return resp.StatusCode
		}},
		"a mount": {part: "_layers/sha256/" + digestOf("other")[7:], of: "team/new", act: func(t *testing.T, r *running, token string) int {
			from := "team/one"
			if resp, _ := r.do(t, "HEAD", "/v2/team/one/blobs/"+layer, "", bearer(token)); resp.StatusCode != http.StatusOK {
				from = "team/two"
			}
			query := url.Values{"mount": {layer}, "from": {from}}.Encode()
			resp, _ := r.do(t, "POST", "/v2/team/new/blobs/uploads/?"+query, "", bearer(token))
			if resp.StatusCode == http.StatusAccepted { // It is gone, so the client uploads it.
				resp, _ = r.upload(t, token, "team/new", "layer")
			}
			return resp.StatusCode
		}},
		"a question": {part: "_layers/sha256/" + digestOf("other")[7:], of: "team/three", act: func(t *testing.T, r *running, token string) int {
			resp, _ := r.do(t, "HEAD", "/v2/team/three/blobs/"+layer, "", bearer(token))
			if resp.StatusCode == http.StatusNotFound { // The client uploads it.
				resp, _ = r.upload(t, token, "team/three", "layer")
				return resp.StatusCode
			}
			return http.StatusCreated
		}},
		"a push below a repository that goes": {part: "empty/_manifests", of: "team/empty/below", act: func(t *testing.T, r *running, token string) int {
			resp, _ := r.upload(t, token, "team/empty/below", "layer")
			return resp.StatusCode
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			driver := &interrupted{StorageDriver: inmemory.New(), part: tt.part}
			r := open(t, systemregistry.Server{Driver: driver})
			synctest.Test(t, func(t *testing.T) {
				r.Client = &http.Client{Transport: inProcess{r.Registry}}
				all := []string{"one", "two", "three", "new", "empty", "empty/below"}
				var scopes []string
				for _, name := range all {
					scopes = append(scopes, "repository:team/"+name+":pull,push,delete")
				}
				token := func() string { return r.token(t, "ann", password("ann"), scopes...) }
				for _, repository := range []string{"team/one", "team/two", "team/three"} {
					r.upload(t, token(), repository, "layer")
				}
				r.upload(t, token(), "team/three", "other")
				digest := r.push(t, "ann", password("ann"), "team/empty", "1", "layer of nobody")
				resp, _ := r.do(t, "DELETE", "/v2/team/empty/manifests/"+digest, "", bearer(token()))
				require.Equal(t, http.StatusAccepted, resp.StatusCode)
				for _, content := range []string{"layer of nobody"} {
					r.do(t, "DELETE", "/v2/team/empty/blobs/"+digestOf(content), "", bearer(token()))
				}
				status := make(chan int, 1)
				time.Sleep(48 * time.Hour)
				driver.do = func() { status <- tt.act(t, r, token()) }
				for range 3 {
					_, err := r.Images().Collect(t.Context())
					require.NoError(t, err)
					time.Sleep(time.Minute)
				}
				require.Equal(t, http.StatusCreated, <-status)
				resp, body := r.do(t, "GET", "/v2/"+tt.of+"/blobs/"+layer, "", bearer(token()))
				require.Equal(t, http.StatusOK, resp.StatusCode)
				require.Equal(t, "layer", body)
				time.Sleep(72 * time.Hour)
				for range 2 {
					_, err := r.Images().Collect(t.Context())
					require.NoError(t, err)
				}
				resp, _ = r.do(t, "GET", "/v2/"+tt.of+"/blobs/"+layer, "", bearer(token()))
				require.Equal(t, http.StatusNotFound, resp.StatusCode, "what no image uses goes in the end")
			})
		})
	}
}
