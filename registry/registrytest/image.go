package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// An Image describes an image for [Registry.Add]. Equal Images have equal digests, in every registry. The zero Image is
// a small OCI image for linux/amd64.
type Image struct {
	// Format is the format of the image's manifests.
	Format Format
	// Platforms are the image's platforms: "linux/amd64", "linux/arm64/v8". Several platforms make an index with an image
	// for each. Empty means linux/amd64.
	Platforms []string
	// Index makes an index even for a single platform.
	Index bool
	// Files is the content of the image, by path. Nil means one small file.
	Files map[string]string
	// Without omits parts of the image from the registry, as after a push or a clean-up that was interrupted.
	Without ImageParts
}

// A Format is a format of image manifests.
type Format int

const (
	// OCI is the format of the Open Container Initiative.
	OCI Format = iota
	// DockerSchema2 is Docker's current format, with manifest lists.
	DockerSchema2
	// DockerSchema1 is Docker's format of 2014, which today's runtimes do not run. It has one platform.
	DockerSchema1
)

// ImageParts is a set of parts of an image. Add parts to combine them.
type ImageParts int

// The parts of an image.
const (
	Config ImageParts = 1 << iota
	Layers
	// Manifests are the manifests in an index.
	Manifests
)

// Add adds an image to the registry, under a name within it, team/app:1.0 or just team/app. It returns the digest of
// the image's manifest or index. It requires no login.
func (r *Registry) Add(name string, image Image) (digest string, err error) {
	repository, tag, err := splitName(name)
	if err != nil {
		return "", err
	}
	platforms := image.Platforms
	if len(platforms) == 0 {
		platforms = []string{"linux/amd64"}
	}
	var children []child
	for _, platform := range platforms {
		p, err := parsePlatform(platform)
		if err != nil {
			return "", err
		}
		children = append(children, image.build(repository, p))
	}
	r.locked(func() {
		repo := r.store.create(repository)
		index := len(children) > 1 || image.Index
		for _, c := range children {
			for i, blob := range c.blobs {
				if i == 0 && image.Without&Config != 0 || i > 0 && image.Without&Layers != 0 {
					continue
				}
				repo.putBlob(blob)
			}
			switch {
			case !index:
				digest = repo.putManifest(tag, c.manifest)
			case image.Without&Manifests == 0:
				repo.putManifest("", c.manifest)
			}
		}
		if index {
			digest = repo.putManifest(tag, image.index(children))
		}
	})
	return digest, nil
}

// AddManifest adds arbitrary bytes as a manifest of any media type, under a name as for [Registry.Add], and returns
// their digest.
func (r *Registry) AddManifest(name, mediaType string, body []byte) (digest string, err error) {
	repository, tag, err := splitName(name)
	if err != nil {
		return "", err
	}
	r.locked(func() { digest = r.store.create(repository).putManifest(tag, manifest{mediaType, bytes.Clone(body)}) })
	return digest, nil
}

// Remove removes an object from the registry: with team/app:1.0 only the tag; with team/app@sha256:... the manifest or
// blob itself; with team/app the whole repository.
func (r *Registry) Remove(name string) {
	repository, reference, isDigest := strings.Cut(name, "@")
	isTag := false
	if !isDigest {
		repository, reference, isTag = strings.Cut(name, ":")
	}
	r.locked(func() {
		repo := r.store.repositories[repository]
		switch {
		case repo == nil:
		case isTag:
			delete(repo.tags, reference)
		case isDigest:
			delete(repo.manifests, reference)
			delete(repo.blobs, reference)
		default:
			delete(r.store.repositories, repository)
		}
	})
}

func splitName(name string) (repository, tag string, err error) {
	repository, tag, ok := strings.Cut(name, ":")
	if !ok {
		tag = "latest"
	}
	if !nameForm.MatchString(repository) || !tagForm.MatchString(tag) {
		return "", "", fmt.Errorf("registrytest: %q is not a repository and a tag, as in team/app:1.0", name)
	}
	return repository, tag, nil
}

// A platform is a platform of https://github.com/opencontainers/image-spec/blob/main/image-index.md.
type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

func parsePlatform(s string) (platform, error) {
	part := strings.Split(s, "/")
	if len(part) < 2 || len(part) > 3 || slices.Contains(part, "") {
		return platform{}, fmt.Errorf("registrytest: %q is not a platform, as in linux/arm64/v8", s)
	}
	p := platform{OS: part[0], Architecture: part[1]}
	if len(part) == 3 {
		p.Variant = part[2]
	}
	return p, nil
}

// A child is the image for one platform. Its first blob is the config.
type child struct {
	platform platform
	manifest manifest
	blobs    [][]byte
}

type descriptor struct {
	MediaType string    `json:"mediaType"`
	Size      int       `json:"size"`
	Digest    string    `json:"digest"`
	Platform  *platform `json:"platform,omitempty"`
}

func describe(mediaType string, content []byte) descriptor {
	return descriptor{MediaType: mediaType, Size: len(content), Digest: digestOf(content)}
}

// mediaTypes returns the media types of the image, the index, the config and a layer.
func (f Format) mediaTypes() (image, index, config, layer string) {
	if f == OCI {
		const image = "application/vnd.oci.image."
		return image + "manifest.v1+json", image + "index.v1+json", image + "config.v1+json", image + "layer.v1.tar+gzip"
	}
	const docker = "application/vnd.docker."
	return docker + "distribution.manifest.v2+json", docker + "distribution.manifest.list.v2+json",
		docker + "container.image.v1+json", docker + "image.rootfs.diff.tar.gzip"
}

func (i Image) build(repository string, p platform) child {
	files := i.Files
	if files == nil {
		files = map[string]string{"hello.txt": "hello from " + repository + "\n"}
	}
	plain, layer := archive(files)
	config := mustJSON(map[string]any{
		"architecture": p.Architecture, "os": p.OS, "variant": p.Variant, "created": "1970-01-01T00:00:00Z",
		"config":  map[string]any{},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{digestOf(plain)}},
		"history": []map[string]any{{"created": "1970-01-01T00:00:00Z", "created_by": "registrytest"}},
	})
	c := child{platform: p, blobs: [][]byte{config, layer}}
	if i.Format == DockerSchema1 {
		c.manifest = schema1(repository, p, digestOf(layer))
		return c
	}
	imageType, _, configType, layerType := i.Format.mediaTypes()
	c.manifest = manifest{imageType, mustJSON(struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}{2, imageType, describe(configType, config), []descriptor{describe(layerType, layer)}})}
	return c
}

func (i Image) index(children []child) manifest {
	imageType, indexType, _, _ := i.Format.mediaTypes()
	var list []descriptor
	for _, c := range children {
		d := describe(imageType, c.manifest.body)
		d.Platform = &c.platform
		list = append(list, d)
	}
	return manifest{indexType, mustJSON(struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, indexType, list})}
}

// schema1 returns a manifest that clients recognize as schema 1. It has no signature, because clients no longer check
// it.
func schema1(repository string, p platform, layer string) manifest {
	v1 := `{"id":"` + strings.TrimPrefix(layer, "sha256:") + `","os":"` + p.OS + `"}`
	return manifest{"application/vnd.docker.distribution.manifest.v1+prettyjws", mustJSON(map[string]any{
		"schemaVersion": 1, "name": repository, "tag": "latest", "architecture": p.Architecture,
		"fsLayers":   []map[string]string{{"blobSum": layer}},
		"history":    []map[string]string{{"v1Compatibility": v1}},
		"signatures": []any{},
	})}
}

// archive returns the files as a tar, plain and compressed. It is reproducible, because it contains no times.
func archive(files map[string]string) (plain, compressed []byte) {
	var tarred, zipped bytes.Buffer
	w := tar.NewWriter(&tarred)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(files[name]))})
		_, _ = w.Write([]byte(files[name])) // Writes to a buffer do not fail.
	}
	_ = w.Close()
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(tarred.Bytes())
	_ = z.Close()
	return tarred.Bytes(), zipped.Bytes()
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // All values are plain data.
	}
	return b
}
