package registrytest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const uploads = "/v2/new/app/blobs/uploads/"

// sending returns a function that logs in and sends a body.
func (c client) sending(body string) func(*http.Request) {
	return func(req *http.Request) {
		c.basic(req)
		req.Body = io.NopCloser(strings.NewReader(body))
	}
}

func digestOfBody(content string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content)))
}

func TestUploadInChunks(t *testing.T) {
	r := newRegistry(t, NexusBasic())
	ann := newClient(r, "ann", "right")
	send := func(method, path, body string) outcome {
		return ann.send(t, "registry", method, ann.base+path, ann.sending(body))
	}
	opened := send("POST", uploads, "")
	require.Equal(t, 202, opened.StatusCode)
	upload := opened.Header.Get("Location")
	require.Equal(t, "0-4", send("PATCH", upload, "hello").Header.Get("Range"))
	require.Equal(t, "0-10", send("PATCH", upload, " world").Header.Get("Range"))
	status := send("GET", upload, "")
	require.Equal(t, 204, status.StatusCode)
	require.Equal(t, "0-10", status.Header.Get("Range"))
	done := send("PUT", upload+"?digest="+digestOfBody("hello world!"), "!")
	require.Equal(t, 201, done.StatusCode)
	require.Equal(t, digestOfBody("hello world!"), done.Header.Get("Docker-Content-Digest"))
	require.Equal(t, "hello world!", send("GET", done.Header.Get("Location"), "").body)
	require.Equal(t, "registry 404 BLOB_UPLOAD_UNKNOWN", send("PATCH", upload, "").String(), "it has ended")

	upload = send("POST", uploads, "").Header.Get("Location")
	require.Equal(t, 204, send("DELETE", upload, "").StatusCode)
	require.Equal(t, "registry 404 BLOB_UPLOAD_UNKNOWN", send("PUT", upload+"?digest="+digestOfBody(""), "").String())
}

func TestPush(t *testing.T) {
	const content = "a blob"
	for name, c := range map[string]struct {
		method, path, body string
		want               string
	}{
		"a whole blob":                    {"POST", uploads + "?digest=" + digestOfBody(content), content, "registry 201"},
		"another digest":                  {"POST", uploads + "?digest=" + zeroDigest, content, "registry 400 DIGEST_INVALID"},
		"unknown upload":                  {"PATCH", uploads + "none", content, "registry 404 BLOB_UPLOAD_UNKNOWN"},
		"no right":                        {"POST", "/v2/team/app/blobs/uploads/", content, "registry 403 UNAUTHORIZED"},
		"mounted":                         {"POST", uploads + "?mount={layer}&from=team/app", "", "registry 201"},
		"mounted from where nobody may":   {"POST", uploads + "?mount={other}&from=other/app", "", "registry 202"},
		"a manifest that is none":         {"PUT", "/v2/new/app/manifests/1", "<html>", "registry 400 MANIFEST_INVALID"},
		"a manifest without its blobs":    {"PUT", "/v2/new/app/manifests/1", `{"layers":[{"digest":"` + zeroDigest + `"}]}`, "registry 400 MANIFEST_BLOB_UNKNOWN"},
		"an index without its manifests":  {"PUT", "/v2/new/app/manifests/1", `{"manifests":[{"digest":"` + zeroDigest + `"}]}`, "registry 400 MANIFEST_BLOB_UNKNOWN"},
		"a manifest of another digest":    {"PUT", "/v2/new/app/manifests/" + zeroDigest, "{}", "registry 400 DIGEST_INVALID"},
		"a manifest under its own digest": {"PUT", "/v2/new/app/manifests/" + digestOfBody("{}"), "{}", "registry 201"},
		"a tag that is none":              {"PUT", "/v2/new/app/manifests/-", "{}", "registry 400 TAG_INVALID"},
		"a name that is none":             {"PUT", "/v2/new/App/manifests/1", "{}", "registry 400 NAME_INVALID"},
		"a deletion":                      {"DELETE", "/v2/new/app/manifests/1", "", "registry 405 UNSUPPORTED"},
		"a deletion of a blob":            {"DELETE", "/v2/new/app/blobs/" + zeroDigest, "", "registry 405 UNSUPPORTED"},
		"no such path":                    {"GET", "/v2/new/app/referrers/" + zeroDigest, "", "registry 404"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, NexusBasic())
			ann := newClient(r, "ann", "right")
			_, err := r.Add("other/app:1", Image{})
			require.NoError(t, err)
			layer := func(c client, image string) string {
				manifest := c.ask(t, "GET", image).body
				return manifest[strings.LastIndex(manifest, "sha256:"):][:len(zeroDigest)]
			}
			path := strings.NewReplacer(
				"{layer}", layer(ann, image), "{other}", layer(newClient(r, "bob", "right"), "/v2/other/app/manifests/1"),
			).Replace(c.path)
			got := ann.send(t, "registry", c.method, ann.base+path, ann.sending(c.body))
			require.Equal(t, c.want, got.String())
		})
	}
}

// ECR does not create repositories: it closes the connection without a response.
func TestPushToMissingRepository(t *testing.T) {
	r := newRegistry(t, ECR())
	ann := newClient(r, "ann", "right")
	req, err := http.NewRequestWithContext(t.Context(), "POST", ann.base+"/v2/new/none/blobs/uploads/", nil)
	require.NoError(t, err)
	ann.basic(req)
	_, err = ann.http.RoundTrip(req)
	require.ErrorContains(t, err, "connection closed")
}
