package registrytest

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

// A store is the content of the registry. It is guarded by the registry's lock.
type store struct {
	repositories map[string]*repository
	uploads      map[string]*upload
}

// A repository holds its own blobs, because the right to one repository gives no access to the blobs of another.
type repository struct {
	manifests map[string]manifest // By digest.
	tags      map[string]string   // Values are digests.
	blobs     map[string][]byte   // By digest. The bytes are never modified.
}

type manifest struct {
	mediaType string
	body      []byte
}

// An upload is a push of a blob that is in progress.
type upload struct {
	repository string
	content    []byte
}

func (s *store) init() {
	s.repositories = make(map[string]*repository)
	s.uploads = make(map[string]*upload)
}

func (s *store) create(name string) *repository {
	repo := s.repositories[name]
	if repo == nil {
		repo = &repository{
			manifests: make(map[string]manifest), tags: make(map[string]string), blobs: make(map[string][]byte),
		}
		s.repositories[name] = repo
	}
	return repo
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (repo *repository) putBlob(content []byte) string {
	digest := digestOf(content)
	repo.blobs[digest] = content
	return digest
}

// putManifest stores the manifest under its digest, and under the tag unless that is empty.
func (repo *repository) putManifest(tag string, m manifest) string {
	digest := digestOf(m.body)
	repo.manifests[digest] = m
	if tag != "" {
		repo.tags[tag] = digest
	}
	return digest
}

// manifest finds a manifest by tag or digest.
func (repo *repository) manifest(reference string) (m manifest, digest string, ok bool) {
	digest = reference
	if !strings.Contains(reference, ":") {
		digest = repo.tags[reference]
	}
	m, ok = repo.manifests[digest]
	return m, digest, ok
}

func (r *Registry) exists(name string) (ok bool) {
	r.locked(func() { ok = r.store.repositories[name] != nil })
	return ok
}

func (r *Registry) projectExists(project string) (ok bool) {
	r.locked(func() {
		for name := range r.store.repositories {
			if first, _, _ := strings.Cut(name, "/"); first == project {
				ok = true
			}
		}
	})
	return ok
}

func (r *Registry) findManifest(repository, reference string) (m manifest, digest string, ok bool) {
	r.locked(func() {
		if repo := r.store.repositories[repository]; repo != nil {
			m, digest, ok = repo.manifest(reference)
		}
	})
	return m, digest, ok
}

func (r *Registry) findBlob(repository, digest string) (content []byte, ok bool) {
	r.locked(func() {
		if repo := r.store.repositories[repository]; repo != nil {
			content, ok = repo.blobs[digest]
		}
	})
	return content, ok
}

// tagsOf returns the sorted tags of a repository.
func (r *Registry) tagsOf(name string) (tags []string) {
	r.locked(func() {
		if repo := r.store.repositories[name]; repo != nil {
			tags = slices.Sorted(maps.Keys(repo.tags))
		}
	})
	return tags
}

func (r *Registry) repositories() (names []string) {
	r.locked(func() { names = slices.Sorted(maps.Keys(r.store.repositories)) })
	return names
}
