package systemregistry_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

func read(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer func() { require.NoError(t, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

func basic(name string, secret credentials.Secret) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, secret.Reveal()) }
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// token gets a token for the scopes, as a client does. If the name is empty, it sends no login.
func (r *running) token(t *testing.T, name string, secret credentials.Secret, scopes ...string) string {
	t.Helper()
	token, err := r.tryToken(t, name, secret, scopes...)
	require.NoError(t, err)
	return token
}

func (r *running) tryToken(t *testing.T, name string, secret credentials.Secret, scopes ...string) (string, error) {
	url := r.URL + "/token?" + url.Values{"service": {"regcred"}, "scope": scopes}.Encode()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	if name != "" {
		basic(name, secret)(req)
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, resp.Status)
	}
	var answer struct{ Token string }
	err = json.NewDecoder(resp.Body).Decode(&answer)
	return answer.Token, err
}

func digestOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// upload pushes a blob in one step and returns the response.
func (r *running) upload(t *testing.T, token, repository, content string) (*http.Response, string) {
	t.Helper()
	resp, body := r.do(t, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "", bearer(token))
	if resp.StatusCode != http.StatusAccepted {
		return resp, body
	}
	location := resp.Header.Get("Location")
	return r.do(t, http.MethodPut, location+"&digest="+url.QueryEscape(digestOf(content)), content, bearer(token), header("Content-Type", "application/octet-stream"))
}

const ociManifest = "application/vnd.oci.image.manifest.v1+json"

// manifestOf returns the manifest of an image with one layer, and its config.
func manifestOf(layer string) (manifest, config string) {
	config = `{"architecture":"arm64","os":"linux","created":"2026-01-02T03:04:05Z"}`
	manifest = fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
		ociManifest, digestOf(config), len(config), digestOf(layer), len(layer))
	return manifest, config
}

func (r *running) put(t *testing.T, token, repository, reference, manifest string) (*http.Response, string) {
	t.Helper()
	return r.do(t, http.MethodPut, "/v2/"+repository+"/manifests/"+reference, manifest, bearer(token), header("Content-Type", ociManifest))
}

// push pushes an image with one layer and returns its digest.
func (r *running) push(t *testing.T, name string, secret credentials.Secret, repository, tag, layer string) string {
	t.Helper()
	token := r.token(t, name, secret, "repository:"+repository+":pull,push")
	manifest, config := manifestOf(layer)
	for _, blob := range []string{layer, config} {
		resp, body := r.upload(t, token, repository, blob)
		require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	}
	resp, body := r.put(t, token, repository, tag, manifest)
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	return digestOf(manifest)
}

// pull gets the manifest of the reference with a token of the login, and returns the status.
func (r *running) pull(t *testing.T, name string, secret credentials.Secret, repository, reference string) int {
	t.Helper()
	token := r.token(t, name, secret, "repository:"+repository+":pull")
	resp, _ := r.do(t, http.MethodGet, "/v2/"+repository+"/manifests/"+reference, "", bearer(token), header("Accept", ociManifest))
	return resp.StatusCode
}
