package systemregistry_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
)

// On a full disk, the data of a failed push is removed at once, so that pushes succeed again without a restart. The
// test repeats this ten times.
func TestSmallDisk(t *testing.T) {
	dir := smallDisk(t, 6)
	r := start(t, systemregistry.Server{Dir: dir})
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push,delete")
	random := func(size int) string {
		b := make([]byte, size)
		_, _ = rand.Read(b)
		return string(b)
	}
	kept := random(512 << 10)
	r.push(t, "ann", password("ann"), "team/app", "kept", kept)
	for i := range 10 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		full := 0
		for range 5 { // Each one fits, but not all together.
			wg.Go(func() {
				for _, chunks := range []bool{true, false} {
					status, body := r.fill(t, token, random(4<<20), chunks)
					if status == http.StatusCreated {
						t.Error("it fits")
					}
					mu.Lock()
					if status == http.StatusServiceUnavailable {
						full++
					}
					mu.Unlock()
					if strings.Contains(body, dir) || strings.Contains(body, "_uploads/") {
						t.Errorf("a path of the server: %s", body)
					}
				}
			})
		}
		wg.Wait()
		require.Positive(t, full)
		r.push(t, "ann", password("ann"), "team/app", fmt.Sprint("t", i), random(100<<10))
		uploads, err := filepath.Glob(filepath.Join(dir, "images/docker/registry/v2/repositories/team/app/_uploads/*/data"))
		require.NoError(t, err)
		require.Empty(t, uploads, "what failed is there still")
	}
	all := prometheus.NewPedanticRegistry()
	require.NoError(t, all.Register(r.Registry))
	families, err := all.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "regcred_registry_storage_full_total" {
			require.Positive(t, f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	_, body := r.do(t, "GET", "/v2/team/app/blobs/"+digestOf(kept), "", bearer(token))
	require.Equal(t, digestOf(kept), digestOf(body))
}

// fill uploads a layer in one request, or in chunks up to the rejected one, and returns the status. The digest is
// wrong, so that the layer does not stay if it fits. A server that responds before it has read the body cuts the
// connection, and a client that still sends may not see the response: that counts as a full disk.
func (r *running) fill(t *testing.T, token, content string, chunks bool) (int, string) {
	t.Helper()
	resp, body, err := r.try(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
	const chunk = 512 << 10
	for err == nil && chunks && len(content) > chunk && resp.StatusCode == http.StatusAccepted {
		resp, body, err = r.try(t, "PATCH", resp.Header.Get("Location"), content[:chunk], bearer(token))
		content = content[chunk:]
	}
	if err == nil && resp.StatusCode == http.StatusAccepted {
		resp, body, err = r.try(t, "PUT", resp.Header.Get("Location")+"&digest="+digestOf("wrong"), content, bearer(token))
	}
	if err != nil {
		return http.StatusServiceUnavailable, ""
	}
	return resp.StatusCode, body
}

// smallDisk returns a folder on a disk of size MiB.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := mount(dir, size); err != nil {
		t.Skipf("a small disk cannot be mounted: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unmount(dir)) })
	require.NoError(t, os.Chmod(dir, 0o700))
	return dir
}
