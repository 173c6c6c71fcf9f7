package registrytest

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
)

// enterToPush reports whether the client may push. Otherwise it responds.
func (c *call) enterToPush() bool {
	l, ok := c.enter()
	return ok && c.allowed(l, "push")
}

// pushManifest stores a manifest. It requires that the manifest's parts exist, as the distribution project's registry
// does.
func (c *call) pushManifest() {
	if c.req.Method != http.MethodPut {
		c.answer(oci(405, "UNSUPPORTED", "the operation is unsupported", ""))
		return
	}
	if !c.enterToPush() {
		return
	}
	body, err := io.ReadAll(c.req.Body)
	if err != nil {
		return
	}
	name, reference := c.gaps["repository"], c.gaps["reference"]
	var content references
	if json.Unmarshal(body, &content) != nil {
		c.answer(oci(400, "MANIFEST_INVALID", "manifest invalid", ""))
		return
	}
	mediaType := c.req.Header.Get("Content-Type")
	if mediaType == "" {
		mediaType = content.MediaType
	}
	digest := digestOf(body)
	tag := reference
	switch {
	case digestForm.MatchString(reference):
		if tag = ""; reference != digest {
			c.answer(digestInvalid)
			return
		}
	case !tagForm.MatchString(reference):
		c.answer(oci(400, "TAG_INVALID", "manifest tag did not match URI", ""))
		return
	}
	missing := ""
	c.reg.locked(func() {
		repo := c.reg.store.create(name)
		if missing = content.missing(repo); missing == "" {
			repo.putManifest(tag, manifest{mediaType, body})
		}
	})
	if missing != "" {
		c.answer(oci(400, "MANIFEST_BLOB_UNKNOWN", "manifest references a blob or manifest that is unknown to the registry",
			`{"digest":"`+jsonEscape(missing)+`"}`))
		return
	}
	c.created("/v2/"+name+"/manifests/"+digest, digest)
}

var digestInvalid = oci(400, "DIGEST_INVALID", "provided digest did not match uploaded content", "")

// references are the digests in a manifest or index.
type references struct {
	MediaType string                    `json:"mediaType"`
	Config    struct{ Digest string }   `json:"config"`
	Layers    []struct{ Digest string } `json:"layers"`
	Manifests []struct{ Digest string } `json:"manifests"`
}

// missing returns the digest of a part that the repository does not hold, or "" if there is none.
func (r references) missing(repo *repository) string {
	blobs := r.Layers
	if r.Config.Digest != "" {
		blobs = append(blobs, r.Config)
	}
	for _, b := range blobs {
		if _, ok := repo.blobs[b.Digest]; !ok {
			return b.Digest
		}
	}
	for _, m := range r.Manifests {
		if _, ok := repo.manifests[m.Digest]; !ok {
			return m.Digest
		}
	}
	return ""
}

func (c *call) created(location, digest string) {
	c.answer(Answer{Status: http.StatusCreated, Header: map[string]string{
		"Location": location, "Docker-Content-Digest": digest,
	}})
}

// serveUpload serves the push of a blob: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push.
func (c *call) serveUpload(id string) {
	if !c.enterToPush() {
		return
	}
	name := c.gaps["repository"]
	var up *upload
	if id != "" {
		c.reg.locked(func() { up = c.reg.store.uploads[id] })
		if up == nil || up.repository != name {
			c.answer(oci(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", ""))
			return
		}
	}
	switch {
	case c.req.Method == http.MethodPost && id == "":
		c.startUpload(name)
	case c.req.Method == http.MethodPatch && id != "":
		if content, ok := c.append(up); ok {
			c.uploading(http.StatusAccepted, name, id, len(content))
		}
	case c.req.Method == http.MethodPut && id != "":
		if content, ok := c.append(up); ok {
			c.reg.locked(func() { delete(c.reg.store.uploads, id) })
			c.storeBlob(name, content)
		}
	case c.req.Method == http.MethodGet && id != "":
		var n int
		c.reg.locked(func() { n = len(up.content) })
		c.uploading(http.StatusNoContent, name, id, n)
	case c.req.Method == http.MethodDelete && id != "":
		c.reg.locked(func() { delete(c.reg.store.uploads, id) })
		c.answer(Answer{Status: http.StatusNoContent})
	default:
		c.answer(oci(405, "UNSUPPORTED", "the operation is unsupported", ""))
	}
}

// startUpload mounts a blob of another repository, stores a whole blob, or starts an upload.
func (c *call) startUpload(name string) {
	query := c.req.URL.Query()
	if mount, from := query.Get("mount"), query.Get("from"); mount != "" && from != "" {
		content, ok := c.reg.findBlob(from, mount)
		if l := c.reg.basicOrBearer(c.req); ok && c.reg.may(l, "pull", from) {
			c.storeAs(name, mount, content)
			return
		}
	}
	if query.Get("digest") != "" {
		content, err := io.ReadAll(c.req.Body)
		if err == nil {
			c.storeBlob(name, content)
		}
		return
	}
	id := randomText()
	c.reg.locked(func() { c.reg.store.uploads[id] = &upload{repository: name} })
	c.uploading(http.StatusAccepted, name, id, 0)
}

// append appends the body to the upload, and returns the whole upload.
func (c *call) append(up *upload) ([]byte, bool) {
	more, err := io.ReadAll(c.req.Body)
	if err != nil {
		return nil, false
	}
	var content []byte
	c.reg.locked(func() {
		up.content = append(up.content, more...)
		content = up.content
	})
	return content, true
}

func (c *call) uploading(status int, name, id string, length int) {
	c.answer(Answer{Status: status, Header: map[string]string{
		"Location": "/v2/" + name + "/blobs/uploads/" + id, "Docker-Upload-Uuid": id,
		"Range": "0-" + strconv.Itoa(max(length-1, 0)),
	}})
}

func (c *call) storeBlob(name string, content []byte) {
	digest := digestOf(content)
	if c.req.URL.Query().Get("digest") != digest {
		c.answer(digestInvalid)
		return
	}
	c.storeAs(name, digest, content)
}

func (c *call) storeAs(name, digest string, content []byte) {
	c.reg.locked(func() { c.reg.store.create(name).blobs[digest] = content })
	c.created("/v2/"+name+"/blobs/"+digest, digest)
}
