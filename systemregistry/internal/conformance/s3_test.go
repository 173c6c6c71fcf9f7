package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws" // The driver "s3".
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/store"
	"github.com/regcred/regcred/systemregistry/store/pgstore"
)

// bucket returns a driver for the bucket of an S3 service, configured as in docs/system.md.
func bucket(t *testing.T, endpoint string) storagedriver.StorageDriver {
	t.Helper()
	driver, err := openBucket(endpoint)
	require.NoError(t, err)
	return driver
}

func openBucket(endpoint string) (storagedriver.StorageDriver, error) {
	return factory.Create(context.Background(), "s3", map[string]any{
		"bucket": "registry", "region": "us-east-1", "regionendpoint": endpoint, "forcepathstyle": true,
		"accesskey": "key", "secretkey": "secret",
	})
}

// aged reports all files as two days old, because a collection does not touch data that may belong to a push in
// progress.
type aged struct{ storagedriver.StorageDriver }

func (d aged) Stat(ctx context.Context, path string) (storagedriver.FileInfo, error) {
	info, err := d.StorageDriver.Stat(ctx, path)
	if err != nil || strings.Contains(path, "/_uploads/") { // An upload in progress is never old.
		return info, err
	}
	return storagedriver.FileInfoInternal{FileInfoFields: storagedriver.FileInfoFields{
		Path: info.Path(), Size: info.Size(), IsDir: info.IsDir(), ModTime: info.ModTime().Add(-48 * time.Hour),
	}}, nil
}

// agedStore does the same for the records that replicas keep in a store.
type agedStore struct{ store.Store }

func (s agedStore) age(e store.Entry) store.Entry {
	var record map[string]any
	if strings.HasPrefix(e.Key, "image/") && json.Unmarshal(e.Value, &record) == nil {
		if at, err := time.Parse(time.RFC3339, fmt.Sprint(record["at"])); err == nil && time.Since(at) < 24*time.Hour {
			record["at"] = at.Add(-48 * time.Hour)
			e.Value, _ = json.Marshal(record) // The record was decoded from JSON.
		}
	}
	return e
}

func (s agedStore) Get(ctx context.Context, key string) (store.Entry, error) {
	e, err := s.Store.Get(ctx, key)
	return s.age(e), err
}

func (s agedStore) List(ctx context.Context, prefix string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for e, err := range s.Store.List(ctx, prefix) {
			if !yield(s.age(e), err) {
				return
			}
		}
	}
}

// service starts an S3 service with an empty bucket.
func service(t *testing.T) string {
	t.Helper()
	// Where it is set, each new session of the SDK writes its authorities into the one http.DefaultClient, which other
	// sessions use at that moment.
	t.Setenv("AWS_CA_BUNDLE", "")
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("registry"))
	s := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(s.Close)
	return s.URL
}

// TestS3Backup restores the backup of a replica over PostgreSQL and a bucket into another bucket and another database.
func TestS3Backup(t *testing.T) {
	database := testtool.PostgreSQL(t)
	open := func(url string) store.Store {
		s, err := pgstore.Open(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s
	}
	first := systemregistry.Server{Driver: bucket(t, service(t)), Store: open(database.URL), CollectEvery: -1}
	a, _ := start(t, first), start(t, first)
	push(t, a, "team/app:1")
	push(t, a, "team/app:2")
	dir := t.TempDir()
	require.NoError(t, a.Registry.Backup(t.Context(), dir))

	second := systemregistry.Server{Driver: bucket(t, service(t)), Store: open(testtool.PostgreSQL(t).URL), CollectEvery: -1}
	require.NoError(t, systemregistry.Restore(t.Context(), dir, second.Driver, second.Store))
	b := start(t, second)
	require.Equal(t, "1 2", tags(t, b, "team/app"))
	for problem, err := range b.Registry.Images().Check(t.Context()) {
		require.NoError(t, err)
		t.Error(problem)
	}
	out, err := testtool.Run(t, []string{"SSL_CERT_FILE=" + b.CAFile}, "skopeo", "copy",
		"--src-creds", "root:"+rootPassword.Reveal(), "docker://"+b.Host+"/team/app:1", "dir:"+t.TempDir())
	require.NoError(t, err, out)
}

// TestS3 runs two replicas over one bucket. Images that are pushed to one are pulled from the other, listed, deleted
// and collected.
func TestS3(t *testing.T) {
	bucketURL := service(t)
	accounts := new(store.Memory)
	a := start(t, systemregistry.Server{Driver: bucket(t, bucketURL), Store: accounts, CollectEvery: -1})
	b := start(t, systemregistry.Server{Driver: aged{bucket(t, bucketURL)}, Store: agedStore{accounts}, CollectEvery: -1})

	push(t, a, "team/app:1")
	push(t, a, "team/app:2")
	pull := func(r running, tag string) (string, error) {
		return testtool.Run(t, []string{"SSL_CERT_FILE=" + r.CAFile}, "skopeo", "copy",
			"--src-creds", "root:"+rootPassword.Reveal(), "docker://"+r.Host+"/team/app:"+tag, "dir:"+t.TempDir())
	}
	out, err := pull(b, "1")
	require.NoError(t, err, out)
	require.Equal(t, "1 2", tags(t, b, "team/app"))

	image, err := b.Registry.Images().Image(t.Context(), "team/app", "1")
	require.NoError(t, err)
	require.NoError(t, b.Registry.Images().Delete(t.Context(), "team/app", image.Digest))
	done, err := b.Registry.Images().Collect(t.Context())
	require.NoError(t, err)
	require.Zero(t, done.Blobs, "another replica may be about to use what is found unused for the first time")
	done, err = b.Registry.Images().Collect(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, done.Blobs, "the layer and the manifest; another image has the config, too")
	out, err = pull(a, "2")
	require.NoError(t, err, out)
	out, err = pull(a, "1")
	require.Error(t, err)
	require.Contains(t, out, "manifest unknown")
}
