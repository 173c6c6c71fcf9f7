package systemregistry_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/images"
)

// While one request writes to an upload, no other can complete or cancel it. Otherwise, the first request would
// continue to write to the file of a complete layer.
func TestOneRequestPerUpload(t *testing.T) {
	for name, policies := range map[string][]images.Policy{"no quota": nil, "quota": {{Repositories: "**", MaxBytes: 1 << 30}}} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, systemregistry.Server{Dir: t.TempDir(), Policies: policies}, testOneRequestPerUpload)
		})
	}
}

func testOneRequestPerUpload(t *testing.T, r *running) {
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push,delete")
	resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
	resp, body := r.do(t, "PATCH", resp.Header.Get("Location"), "first", bearer(token))
	require.Equal(t, http.StatusAccepted, resp.StatusCode, body)
	at := resp.Header.Get("Location")

	content, client := io.Pipe()
	type result struct {
		status   int
		location string
	}
	patched := make(chan result, 1)
	go func() {
		resp, _, err := r.try(t, "PATCH", at, "", bearer(token), func(req *http.Request) { req.Body, req.ContentLength = content, -1 })
		if err != nil {
			t.Error(err)
			resp = new(http.Response)
		}
		patched <- result{resp.StatusCode, resp.Header.Get("Location")}
	}()
	_, err := io.WriteString(client, ", second") // The server has opened the file once it reads this.
	require.NoError(t, err)
	for range 2 { // At each replica.
		resp, body = r.do(t, "PUT", at+"&digest="+digestOf("first"), "", bearer(token))
		require.Equal(t, http.StatusRequestedRangeNotSatisfiable, resp.StatusCode, body)
		require.Contains(t, body, "another request to this upload is in progress")
		resp, body = r.do(t, "PATCH", at, "x", bearer(token))
		require.Equal(t, http.StatusRequestedRangeNotSatisfiable, resp.StatusCode, body)
		resp, body = r.do(t, "DELETE", at, "", bearer(token))
		require.Equal(t, http.StatusRequestedRangeNotSatisfiable, resp.StatusCode, body)
	}
	_, err = io.WriteString(client, ", third")
	require.NoError(t, err)
	require.NoError(t, client.Close())
	first := <-patched
	require.Equal(t, http.StatusAccepted, first.status)

	layer := "first, second, third"
	resp, body = r.do(t, "PUT", first.location+"&digest="+digestOf(layer), "", bearer(token))
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	resp, body = r.do(t, "GET", "/v2/team/app/blobs/"+digestOf(layer), "", bearer(token))
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, layer, body)
	for range 2 {
		resp, _ = r.do(t, "GET", "/v2/team/app/blobs/"+digestOf("first"), "", bearer(token))
		require.Equal(t, http.StatusNotFound, resp.StatusCode)
		resp, _ = r.do(t, "PUT", first.location+"&digest="+digestOf(layer), "", bearer(token))
		require.Equal(t, http.StatusNotFound, resp.StatusCode, "the upload is complete")
	}
}

// Two clients upload the same layer at once. It counts once.
func TestSameLayerTwice(t *testing.T) {
	r := open(t, systemregistry.Server{Policies: []images.Policy{{Repositories: "**", MaxBytes: 1 << 20}}})
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	layer := strings.Repeat("x", 10_000)
	require.NoError(t, r.Images().Measure(t.Context()))
	resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
	content, client := io.Pipe()
	done := make(chan int, 1)
	go func() {
		resp, _, err := r.try(t, "PUT", resp.Header.Get("Location")+"&digest="+digestOf(layer), "", bearer(token), func(req *http.Request) {
			req.Body, req.ContentLength = content, -1
		})
		if err != nil {
			t.Error(err)
			resp = new(http.Response)
		}
		done <- resp.StatusCode
	}()
	_, err := io.WriteString(client, layer[:1])
	require.NoError(t, err)
	r.upload(t, token, "team/app", layer)
	_, err = io.WriteString(client, layer[1:])
	require.NoError(t, err)
	require.NoError(t, client.Close())
	require.Equal(t, http.StatusCreated, <-done)
	e, err := r.Catalog().Effective(t.Context(), "team/app")
	require.NoError(t, err)
	require.Equal(t, int64(entry+len(layer)), e.Quotas[0].Used)
}
