// Package shared lets several replicas use one storage as if they were one process.
//
// A [Driver] is a layer between distribution and a storage without conditional writes. It keeps mutable data in a store
// with compare-and-set: tags, and the manifests and layers of each repository. It leaves data in the storage, in a
// separate file for each upload, whose name is never used again. So if a replica stalls at any point, and resumes after
// others have continued without it, it fails to change the store, or changes a file that is never read.
//
// A writer of a reference to data first writes the reference, then makes sure that the data stays, and only then
// reports success. A remover of data first condemns it, then looks for references, and removes it only if it has not
// been used since. One of the two always sees the other; no clock is compared.
package shared

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/store"
)

// ErrDataGone reports that the data was removed while a push referred to it. The client must push it again.
var ErrDataGone = errors.New("it was removed meanwhile")

// A Driver is a storage driver that keeps links in a store. Make it with [New]; it is safe for concurrent use.
type Driver struct {
	storagedriver.StorageDriver // Data, and unfinished uploads.

	store      store.Store
	mayReplace func(repository, tag string) error
	limits     limits
}

// New returns a driver over the storage and the store. mayReplace returns an error if a tag that is set must not refer
// to another manifest. New fails if the storage holds images that are not in the store; see [Import].
func New(ctx context.Context, storage storagedriver.StorageDriver, s store.Store, mayReplace func(repository, tag string) error) (*Driver, error) {
	d := &Driver{StorageDriver: storage, store: s, mayReplace: mayReplace}
	_, err := s.Get(ctx, readyKey)
	if err == nil || !errors.Is(err, store.ErrNoKey) {
		return d, err
	}
	if _, err := storage.List(ctx, repositories); !notFound(err) {
		if err != nil {
			return nil, err
		}
		return nil, errors.New("the storage has images that are not in the store: stop all replicas, and call systemregistry.Import once")
	}
	return d, d.ready(ctx)
}

func (d *Driver) ready(ctx context.Context) error {
	_, err := d.put(ctx, Record{Key: readyKey, At: time.Now().UTC()})
	if errors.Is(err, store.ErrKeyChanged) {
		return nil // Another replica did it.
	}
	return err
}

// Paths of distribution's layout.
const (
	repositories = "/docker/registry/v2/repositories"
	blobs        = "/docker/registry/v2/blobs"
)

func blobFolder(d digest.Digest) string {
	hex := d.Encoded()
	return strings.Join([]string{blobs, string(d.Algorithm()), hex[:2], hex}, "/")
}

func blobPath(d digest.Digest) string { return blobFolder(d) + "/data" }

func notFound(err error) bool {
	_, ok := errors.AsType[storagedriver.PathNotFoundError](err)
	return ok
}

func (d *Driver) missing(path string) error {
	return storagedriver.PathNotFoundError{Path: path, DriverName: d.Name()}
}

// A place is the meaning of a path. The zero place is a file of the storage.
type place struct {
	kind       string // Blobs, Tags, Manifests, Layers, or one of the following.
	key        string // Of the record.
	repository string
	reference  string // Tag or digest.
}

const (
	tagFolder  = "the folder of a tag"
	tagsFolder = "the folder of all tags"
	history    = "the former image of a tag"
)

func placeOf(path string) place {
	if rest, ok := strings.CutPrefix(path, blobs+"/"); ok {
		parts := strings.Split(rest, "/")
		if len(parts) == 4 && parts[3] == "data" {
			d := parts[0] + ":" + parts[2]
			return place{Blobs, blobKey(d), "", d}
		}
		return place{}
	}
	rest, ok := strings.CutPrefix(path, repositories+"/")
	i := strings.Index(rest, "/_") // No part of a repository's name starts with an underscore.
	if !ok || i < 0 {
		return place{}
	}
	name, parts := rest[:i], strings.Split(rest[i+1:], "/")
	at := func(i int) string {
		if i < len(parts) {
			return parts[i]
		}
		return ""
	}
	switch {
	case at(0) == "_layers" && len(parts) == 4 && at(3) == "link":
		d := at(1) + ":" + at(2)
		return place{Layers, layerKey(name, d), name, d}
	case at(0) != "_manifests":
	case at(1) == "revisions" && len(parts) == 5 && at(4) == "link":
		d := at(2) + ":" + at(3)
		return place{Manifests, manifestKey(name, d), name, d}
	case at(1) != "tags":
	case len(parts) == 2:
		return place{tagsFolder, "", name, ""}
	case len(parts) == 3:
		return place{tagFolder, tagKey(name, at(2)), name, at(2)}
	case len(parts) == 5 && at(3) == "current":
		return place{Tags, tagKey(name, at(2)), name, at(2)}
	case at(3) == "index":
		return place{kind: history}
	}
	return place{}
}

// read returns the record of a path, as if the path were a file.
func (d *Driver) read(ctx context.Context, path string, p place) (Record, error) {
	r, err := d.get(ctx, p.key)
	if errors.Is(err, store.ErrNoKey) || err == nil && r.Value == "" {
		return r, d.missing(path)
	}
	return r, err
}

// file returns the path in the storage of a blob's data.
func (d *Driver) file(ctx context.Context, path string, p place) (string, error) {
	r, err := d.read(ctx, path, p)
	return blobFolder(digest.Digest(p.reference)) + "/" + r.Value, err
}

// GetContent implements [storagedriver.StorageDriver], like the methods below.
func (d *Driver) GetContent(ctx context.Context, path string) ([]byte, error) {
	switch p := placeOf(path); p.kind {
	case Blobs:
		file, err := d.file(ctx, path, p)
		if err != nil {
			return nil, err
		}
		return d.StorageDriver.GetContent(ctx, file)
	case Tags, Manifests, Layers:
		r, err := d.read(ctx, path, p)
		return []byte(r.Value), err
	case history:
		return nil, d.missing(path)
	default:
		return d.StorageDriver.GetContent(ctx, path)
	}
}

func (d *Driver) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if p := placeOf(path); p.kind == Blobs {
		file, err := d.file(ctx, path, p)
		if err != nil {
			return nil, err
		}
		return d.StorageDriver.Reader(ctx, file, offset)
	}
	return d.StorageDriver.Reader(ctx, path, offset)
}

func (d *Driver) RedirectURL(r *http.Request, path string) (string, error) {
	if p := placeOf(path); p.kind == Blobs {
		file, err := d.file(r.Context(), path, p)
		if err != nil {
			return "", err
		}
		return d.StorageDriver.RedirectURL(r, file)
	}
	return d.StorageDriver.RedirectURL(r, path)
}

func info(path string, r Record) storagedriver.FileInfo {
	size := r.Size
	if !strings.HasPrefix(r.Key, Blobs) {
		size = int64(len(r.Value))
	}
	return storagedriver.FileInfoInternal{FileInfoFields: storagedriver.FileInfoFields{Path: path, Size: size, ModTime: r.At}}
}

func (d *Driver) Stat(ctx context.Context, path string) (storagedriver.FileInfo, error) {
	switch p := placeOf(path); p.kind {
	case Blobs, Tags, Manifests, Layers:
		r, err := d.read(ctx, path, p)
		if err != nil {
			return nil, err
		}
		return info(path, r), nil
	case history:
		return nil, d.missing(path)
	default:
		return d.StorageDriver.Stat(ctx, path)
	}
}

func (d *Driver) List(ctx context.Context, path string) ([]string, error) {
	p := placeOf(path)
	if rest, ok := strings.CutPrefix(path+"/", repositories+"/"); ok && !strings.Contains("/"+rest, "/_") {
		return d.folder(ctx, path, rest)
	}
	if p.kind != tagsFolder {
		return d.StorageDriver.List(ctx, path)
	}
	var names []string
	for e, err := range d.store.List(ctx, tagKey(p.repository, "")) {
		if err != nil {
			return nil, err
		}
		r, err := decode(e)
		if err != nil {
			return nil, err
		}
		if _, tag := r.Split(); r.Value != "" {
			names = append(names, path+"/"+tag)
		}
	}
	if len(names) > 0 {
		return names, nil
	}
	if _, err := d.store.Get(ctx, Repositories+p.repository); errors.Is(err, store.ErrNoKey) {
		return nil, d.missing(path)
	} else if err != nil {
		return nil, err
	}
	return nil, nil
}

// folder lists a folder of repositories: the repositories in the store, and the folders of unfinished uploads. Prefix
// is the folder's path below the root of all repositories, with a slash at the end, or empty.
func (d *Driver) folder(ctx context.Context, path, prefix string) ([]string, error) {
	children, err := d.StorageDriver.List(ctx, path)
	if err != nil && !notFound(err) {
		return nil, err
	}
	gone := err // Returned if the store has nothing in the folder either.
	found := make(map[string]bool)
	for _, child := range children {
		if name := child[len(path)+1:]; name[0] != '_' || name == "_uploads" { // Other folders date from before Import.
			found[name] = true
		}
	}
	if _, err := d.store.Get(ctx, Repositories+strings.TrimSuffix(prefix, "/")); err == nil {
		found["_layers"] = true // Distribution recognizes a repository by it.
	} else if !errors.Is(err, store.ErrNoKey) {
		return nil, err
	}
	for e, err := range d.store.List(ctx, Repositories+prefix) {
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(e.Key, Repositories+prefix), "/")
		found[name] = true
	}
	if len(found) == 0 && gone != nil {
		return nil, gone
	}
	names := make([]string, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		names = append(names, path+"/"+name)
	}
	return names, nil
}

// Walk visits tags as folders, because distribution pages through them that way.
func (d *Driver) Walk(ctx context.Context, path string, f storagedriver.WalkFn, options ...func(*storagedriver.WalkOptions)) error {
	if placeOf(path).kind != tagsFolder {
		return d.StorageDriver.Walk(ctx, path, f, options...)
	}
	tags, err := d.List(ctx, path)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		err := f(storagedriver.FileInfoInternal{FileInfoFields: storagedriver.FileInfoFields{Path: tag, IsDir: true}})
		if errors.Is(err, storagedriver.ErrFilledBuffer) {
			return nil
		}
		if err != nil && !errors.Is(err, storagedriver.ErrSkipDir) {
			return err
		}
	}
	return nil
}

// Pending returns the tags of the repository that are being set.
func (d *Driver) Pending(ctx context.Context, repository string) ([]Record, error) {
	var pending []Record
	for e, err := range d.store.List(ctx, tagKey(repository, "")) {
		if err != nil {
			return nil, err
		}
		r, err := decode(e)
		if err != nil {
			return nil, err
		}
		if r.Next != "" {
			pending = append(pending, r)
		}
	}
	return pending, nil
}

type condemnedKey struct{}

// Condemn returns a context in which a deletion fails if its object is used after this call: the manifest or layer of
// the repository, by kind.
func (d *Driver) Condemn(ctx context.Context, kind, repository, digest string) (context.Context, error) {
	r, err := d.get(ctx, kind+repository+"@"+digest)
	if errors.Is(err, store.ErrNoKey) {
		return ctx, nil
	}
	if err == nil {
		r.Condemned = true
		r, err = d.put(ctx, r)
	}
	if errors.Is(err, store.ErrKeyChanged) {
		err = images.ErrChanging
	}
	if err != nil {
		return ctx, err
	}
	return context.WithValue(ctx, condemnedKey{}, &r), nil
}

func condemnedBy(ctx context.Context) *Record {
	r, _ := ctx.Value(condemnedKey{}).(*Record)
	return r
}

type problemKey struct{}

// OnProblem returns a context whose requests call f if they fail because of other replicas or of mayReplace.
// Distribution does not report these causes.
func OnProblem(ctx context.Context, f func(error)) context.Context {
	return context.WithValue(ctx, problemKey{}, f)
}

// Report calls the function of OnProblem, if there is one and err is not nil. It returns err.
func Report(ctx context.Context, err error) error {
	if f, ok := ctx.Value(problemKey{}).(func(error)); ok && err != nil {
		f(err)
	}
	return err
}

var _ storagedriver.StorageDriver = (*Driver)(nil)
