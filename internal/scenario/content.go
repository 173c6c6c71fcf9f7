package scenario

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// The media types of a common image.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	ociConfig      = "application/vnd.oci.image.config.v1+json"
	ociLayer       = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// A document is a manifest or a blob as the registry serves it.
type document struct {
	mediaType string
	body      []byte
	kind      string // Of blobs: "config" or "layer".
}

// A library is the content of a registry, by digest.
type library struct {
	salt      string
	manifests map[string]document
	blobs     map[string]document
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

type object = map[string]any

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // Strings and numbers always encode.
	}
	return text
}

// pick returns the first string that is not empty. "none" results in an empty string.
func pick(options ...string) string {
	for _, o := range options {
		if o == "none" {
			return ""
		}
		if o != "" {
			return o
		}
	}
	return ""
}

func either(oci bool, a, b string) string {
	if oci {
		return a
	}
	return b
}

// add stores the content with everything that it refers to, and returns its digest.
func (l *library) add(c Content) string {
	var body object
	var mediaType string
	if len(c.Index) > 0 || c.EmptyIndex {
		mediaType = either(c.OCI, ociIndex, dockerIndex)
		body = l.index(c)
	} else {
		mediaType = either(c.OCI, ociManifest, dockerManifest)
		body = l.image(c)
	}
	body["schemaVersion"] = 2
	if t := pick(c.BodyType, mediaType); t != "" {
		body["mediaType"] = t
	}
	if c.Pad > 0 {
		body["annotations"] = object{"pad": strings.Repeat("x", c.Pad)}
	}
	if c.Both {
		other := Content{OCI: c.OCI}
		if _, index := body["manifests"]; !index {
			other.Index = []Entry{{}}
			body["manifests"] = l.index(other)["manifests"]
		} else {
			image := l.image(other)
			body["config"], body["layers"] = image["config"], image["layers"]
		}
	}
	text := mustJSON(body)
	d := digest(text)
	l.manifests[d] = document{mediaType: pick(c.Type, mediaType), body: text}
	return d
}

func (l *library) index(c Content) object {
	entries := []any{}
	for _, e := range c.Index {
		d := l.add(e.Content)
		m := l.manifests[d]
		entry := object{"mediaType": m.mediaType, "digest": d, "size": len(m.body)}
		if e.WrongSize {
			entry["size"] = len(m.body) + 1
		}
		switch e.Platform {
		case "none":
		case "":
			entry["platform"] = platform(e.Content.Platform)
		default:
			entry["platform"] = json.RawMessage(e.Platform)
		}
		if e.Missing {
			delete(l.manifests, d)
		}
		entries = append(entries, entry)
	}
	return object{"manifests": entries}
}

// platform returns the JSON of "os/architecture/variant".
func platform(text string) object {
	parts := strings.Split(pick(text, "linux/amd64"), "/")
	p := object{"os": parts[0]}
	if len(parts) > 1 {
		p["architecture"] = parts[1]
	}
	if len(parts) > 2 {
		p["variant"] = parts[2]
	}
	return p
}

func (l *library) image(c Content) object {
	layerType := pick(c.LayerType, either(c.OCI, ociLayer, dockerLayer))
	files, layer := archive(l.salt+c.Platform, !strings.HasSuffix(layerType, "tar"))
	config := platform(c.Platform)
	config["config"] = object{}
	config["rootfs"] = object{"type": "layers", "diff_ids": []string{digest(files)}}
	config["history"] = []any{object{"created_by": l.salt}}
	if c.ConfigPad > 0 {
		config["config"] = object{"Labels": object{"pad": strings.Repeat("x", c.ConfigPad)}}
	}
	text := mustJSON(config)
	if c.ConfigText != "" {
		text = []byte(c.ConfigText)
	}
	descriptor := func(kind, mediaType string, b []byte) object {
		d := digest(b)
		size := len(b)
		if c.WrongSize == kind {
			size++
		}
		if c.Corrupt == kind {
			b = bytes.Repeat([]byte("y"), len(b))
		}
		if c.Missing != kind {
			l.blobs[d] = document{mediaType: "application/octet-stream", body: b, kind: kind}
		}
		return object{"mediaType": mediaType, "digest": d, "size": size}
	}
	layers := []any{}
	if !c.NoLayers {
		layers = append(layers, descriptor("layer", layerType, layer))
	}
	return object{
		"config": descriptor("config", pick(c.ConfigType, either(c.OCI, ociConfig, dockerConfig)), text),
		"layers": layers,
	}
}

// archive returns a tar archive with one file, and the bytes that the registry serves for it.
func archive(content string, compressed bool) (plain, served []byte) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(content)), Format: tar.FormatUSTAR})
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // Writes to a buffer do not fail.
	}
	if !compressed {
		return b.Bytes(), b.Bytes()
	}
	var z bytes.Buffer
	g := gzip.NewWriter(&z)
	if _, err := g.Write(b.Bytes()); err != nil {
		panic(err)
	}
	if err := g.Close(); err != nil {
		panic(err)
	}
	return b.Bytes(), z.Bytes()
}
