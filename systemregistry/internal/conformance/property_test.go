package conformance_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/catalog"
	"github.com/regcred/regcred/systemregistry/internal/shared"
	"github.com/regcred/regcred/systemregistry/store/pgstore"
)

// operations returns the number of operations in one run. Releases use REGCRED_OPERATIONS=10000.
func operations() int {
	if n, err := strconv.Atoi(os.Getenv("REGCRED_OPERATIONS")); err == nil {
		return n
	}
	return 400
}

// quota is the limit of the repository "team/limited". The largest request has largest bytes.
const (
	quota   = 80_000
	largest = 20_000
	clients = 4
	// smallFiles is more than distribution keeps beside the data of unfinished uploads, which does not count.
	smallFiles = 5_000
)

func policies() []images.Policy {
	return []images.Policy{
		{Repositories: "**", KeepUntagged: time.Hour}, // All images are older than that, see aged.
		{Repositories: "team/fixed", Immutable: true},
		{Repositories: "team/limited", MaxBytes: quota},
	}
}

// A site is one or several replicas over the same images, which crash and start again.
type site struct {
	used     func() int64 // Returns the bytes that are stored for the quota, without the help of a replica.
	quiet    sync.RWMutex // Read-locked during each request, so that used sees the storage between requests.
	t        *testing.T
	server   func() systemregistry.Server
	replicas []*siteReplica
	token    string
	seed     uint64
}

type siteReplica struct {
	mu       sync.RWMutex // Read-locked by users of the registry in Go, and locked by a crash.
	registry *systemregistry.Registry
	http     *httptest.Server
	url      string
}

func (s *site) open(r *siteReplica) {
	registry, err := s.server().Open(context.Background())
	require.NoError(s.t, err)
	r.registry, r.http = registry, httptest.NewServer(registry)
	r.url = r.http.URL
}

// crash cuts all connections, and starts the replica again. Requests in flight may fail or succeed.
func (s *site) crash(r *siteReplica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.http.CloseClientConnections()
	r.http.Close()
	require.NoError(s.t, r.registry.Close())
	s.open(r)
}

func newSite(t *testing.T, replicas int, used func() int64, server func() systemregistry.Server) *site {
	seed := rand.Uint64()
	if text := os.Getenv("REGCRED_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("REGCRED_SEED=%d REGCRED_OPERATIONS=%d", seed, operations())
	s := &site{t: t, used: used, seed: seed, server: func() systemregistry.Server {
		one := server()
		one.Policies, one.TokenLife, one.PasswordCost, one.CollectEvery = policies(), time.Hour, 4, -1
		one.Admin, one.AdminPassword = "root", rootPassword
		return one
	}}
	for range replicas {
		r := new(siteReplica)
		s.open(r)
		s.replicas = append(s.replicas, r)
	}
	t.Cleanup(func() {
		for _, r := range s.replicas {
			r.http.Close()
			require.NoError(t, r.registry.Close())
		}
	})
	scopes := make([]string, len(repositories))
	for i, name := range repositories {
		scopes[i] = "repository:" + name + ":pull,push,delete"
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.replicas[0].url+"/token?"+url.Values{"scope": scopes}.Encode(), nil)
	require.NoError(t, err)
	request.SetBasicAuth("root", rootPassword.Reveal())
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	var answer struct{ Token string }
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	s.token = answer.Token
	return s
}

// usage returns the bytes that the driver's storage has for the limited repository. It counts links, data and
// unfinished uploads by itself, and no replica's counters. It also removes uploads that have been abandoned for a
// minute, because crashes leave many of them behind.
func usage(t *testing.T, driver storagedriver.StorageDriver) int64 {
	const limited = "team/limited"
	ctx := context.Background()
	c, err := catalog.Open(ctx, driver, policies())
	require.NoError(t, err)
	_, err = c.PurgeUploads(ctx, true)
	require.NoError(t, err)
	replica, ok := driver.(*shared.Driver)
	if !ok {
		require.NoError(t, c.Measure(ctx))
		e, err := c.Effective(ctx, limited)
		require.NoError(t, err)
		return e.Quotas[0].Used // Measured just now, because the catalog is new.
	}
	scan, err := replica.Scan(ctx)
	require.NoError(t, err)
	held := make(map[string]bool)
	for _, links := range []map[string]shared.Record{scan.Layers, scan.Manifests} {
		for _, link := range links {
			if name, _ := link.Split(); name == limited {
				held[link.Value] = true
			}
		}
	}
	var total int64
	for d := range held {
		total += scan.Blobs[shared.Blobs+d].Size
	}
	err = driver.Walk(ctx, "/docker/registry/v2/repositories/"+limited+"/_uploads", func(file storagedriver.FileInfo) error {
		total += file.Size()
		return nil
	})
	if !errors.As(err, new(storagedriver.PathNotFoundError)) {
		require.NoError(t, err)
	}
	return total
}

var repositories = []string{"team/app", "team/app/base", "team/fixed", "team/limited"}

// tagState is the set of digests that a tag of one client may refer to; the empty text means no tag. It has more than
// one after a failed request, whose effect is unknown.
type tagState map[string]bool

// A client pushes and deletes tags of its own. All clients use the same layers.
type client struct {
	*site
	random *rand.Rand
	name   string
	tags   map[string]tagState // By "repository:tag".
	images map[string]picture  // By digest of the manifest.
	counts map[string]int
}

type picture struct {
	manifest []byte
	blobs    [][]byte
}

func digestOf(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

// layer returns one of a few layers, so that clients share them.
func layer(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	content := make([]byte, 100+n*(largest-100)/12)
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	return content
}

func (c *client) picture() picture {
	config := fmt.Appendf(nil, `{"os":"linux","architecture":"amd64","author":"%s %d"}`, c.name, c.random.IntN(20))
	blobs := [][]byte{config}
	for range 1 + c.random.IntN(2) {
		blobs = append(blobs, layer(c.random.IntN(12)))
	}
	var layers []map[string]any
	for _, blob := range blobs[1:] {
		layers = append(layers, map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digestOf(blob), "size": len(blob)})
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digestOf(config), "size": len(config)},
		"layers": layers,
	})
	require.NoError(c.t, err)
	p := picture{manifest, blobs}
	c.images[digestOf(manifest)] = p
	return p
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// do sends a request to a replica. Status 0 means that the connection broke.
func (c *client) do(method, path string, body []byte) (status int, header http.Header, answer []byte) {
	r := c.replicas[c.random.IntN(len(c.replicas))]
	r.mu.RLock()
	target := r.url + path
	r.mu.RUnlock()
	if strings.HasPrefix(path, "http") {
		target = path
	}
	request, err := http.NewRequestWithContext(c.t.Context(), method, target, bytes.NewReader(body))
	require.NoError(c.t, err)
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Accept", manifestType)
	request.Header.Set("Content-Type", "application/octet-stream")
	if strings.Contains(path, "/manifests/") {
		request.Header.Set("Content-Type", manifestType)
	}
	c.quiet.RLock()
	defer c.quiet.RUnlock()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, nil
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, nil
	}
	return response.StatusCode, response.Header, answer
}

// upload puts a layer into the repository as a client does: it sends HEAD first, may mount, and otherwise uploads it.
func (c *client) upload(repository string, blob []byte) bool {
	d := digestOf(blob)
	if status, _, _ := c.do(http.MethodHead, "/v2/"+repository+"/blobs/"+d, nil); status == http.StatusOK {
		return true
	}
	start := "/v2/" + repository + "/blobs/uploads/"
	if c.random.IntN(2) == 0 {
		start += "?mount=" + url.QueryEscape(d) + "&from=" + url.QueryEscape(repositories[c.random.IntN(len(repositories))])
	}
	status, header, _ := c.do(http.MethodPost, start, nil)
	if status == http.StatusCreated {
		return true
	}
	if status != http.StatusAccepted {
		return false
	}
	u, err := url.Parse(header.Get("Location"))
	require.NoError(c.t, err)
	if c.random.IntN(8) == 0 { // It gives up.
		_, header, _ := c.do(http.MethodPatch, u.RequestURI(), blob[:len(blob)/2])
		if u, err := url.Parse(header.Get("Location")); err == nil && repository == "team/limited" { // Room is scarce there.
			c.do(http.MethodDelete, u.RequestURI(), nil)
		}
		return false
	}
	if c.random.IntN(2) == 0 { // In two requests, perhaps to two replicas.
		half := blob[:c.random.IntN(len(blob))]
		status, header, _ := c.do(http.MethodPatch, u.RequestURI(), half)
		if status != http.StatusAccepted {
			return false
		}
		if u, err = url.Parse(header.Get("Location")); err != nil {
			return false
		}
		blob = blob[len(half):]
	}
	q := u.Query()
	q.Set("digest", d)
	status, _, _ = c.do(http.MethodPut, u.Path+"?"+q.Encode(), blob)
	return status == http.StatusCreated
}

func (c *client) push(repository, tag string) {
	p := c.picture()
	for range 3 { // Unused data may be collected in between: everything is older than a day here.
		ok := true
		for _, blob := range p.blobs {
			ok = ok && c.upload(repository, blob)
		}
		if ok && c.put(repository, tag, p) {
			return
		}
	}
}

// put sets a tag, and reports whether no retry is necessary.
func (c *client) put(repository, tag string, p picture) bool {
	d := digestOf(p.manifest)
	key := repository + ":" + tag
	status, _, body := c.do(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, p.manifest)
	before := c.tags[key]
	fixed := repository == "team/fixed"
	switch {
	case status == http.StatusCreated:
		if fixed && !before[""] {
			require.True(c.t, before[d], "an immutable tag was changed")
		}
		c.tags[key] = tagState{d: true}
		c.counts["pushed"]++
		return true
	case status == http.StatusForbidden && fixed && !before[""]:
		return true
	case status >= 400 && status < 500:
		return status != http.StatusNotFound && !bytes.Contains(body, []byte("BLOB_UNKNOWN"))
	}
	if before == nil || before[""] || !fixed {
		after := tagState{d: true}
		for have := range before {
			after[have] = true
		}
		c.tags[key] = after
	}
	c.counts["broken"]++
	return false
}

func (c *client) delete(repository, tag string) {
	if repository == "team/fixed" {
		status, _, _ := c.do(http.MethodDelete, "/v2/"+repository+"/manifests/"+tag, nil)
		require.NotEqual(c.t, http.StatusAccepted, status, "an immutable tag was deleted")
		return
	}
	key := repository + ":" + tag
	reference := tag
	if c.random.IntN(2) == 0 {
		for d := range c.tags[key] {
			if d != "" {
				reference = d
			}
		}
	}
	status, _, _ := c.do(http.MethodDelete, "/v2/"+repository+"/manifests/"+reference, nil)
	if status == http.StatusNotFound || status == http.StatusForbidden || status == http.StatusBadRequest {
		return
	}
	for other, state := range c.tags {
		if other != key && !(strings.HasPrefix(other, repository+":") && state[reference]) {
			continue
		}
		if other == key && reference == tag && status == http.StatusAccepted {
			c.tags[other] = tagState{"": true}
			continue
		}
		after := tagState{"": true} // A deletion by digest removes only the tags that refer to it.
		for d := range state {
			if status != http.StatusAccepted || d != reference {
				after[d] = true
			}
		}
		c.tags[other] = after
	}
	c.counts["deleted"]++
}

// verify pulls the image of a tag, digest by digest, and compares it.
func (c *client) verify(key string) {
	repository, tag, _ := strings.Cut(key, ":")
	state := c.tags[key]
	var status int
	var manifest []byte
	for range 20 {
		if status, _, manifest = c.do(http.MethodGet, "/v2/"+repository+"/manifests/"+tag, nil); status > 0 && status < 500 && status != http.StatusTooManyRequests {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if status == http.StatusNotFound {
		require.True(c.t, state[""], "%s is gone; it was one of %v", key, state)
		c.tags[key] = tagState{"": true}
		return
	}
	require.Equal(c.t, http.StatusOK, status, key)
	d := digestOf(manifest)
	require.True(c.t, state[d], "%s names %s; it was one of %v", key, d, state)
	c.tags[key] = tagState{d: true}
	for _, blob := range c.images[d].blobs {
		var got []byte
		for range 20 {
			if status, _, got = c.do(http.MethodGet, "/v2/"+repository+"/blobs/"+digestOf(blob), nil); status > 0 && status < 500 {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		require.Equal(c.t, http.StatusOK, status, "%s of %s cannot be pulled", digestOf(blob), key)
		require.Equal(c.t, digestOf(blob), digestOf(got))
	}
	c.counts["pulled"]++
}

func (c *client) step() {
	repository := repositories[c.random.IntN(len(repositories))]
	tag := fmt.Sprintf("%s-%d", c.name, c.random.IntN(6))
	key := repository + ":" + tag
	if c.tags[key] == nil {
		c.tags[key] = tagState{"": true}
	}
	r := c.replicas[c.random.IntN(len(c.replicas))]
	switch n := c.random.IntN(100); {
	case n < 40:
		c.push(repository, tag)
	case n < 50: // Another tag for an image that exists or existed.
		for _, p := range c.images {
			c.put(repository, tag, p)
			break
		}
	case n < 62:
		c.delete(repository, tag)
	case n < 82:
		c.verify(key)
	case n < 90:
		r.mu.RLock()
		defer r.mu.RUnlock()
		_, err := r.registry.Images().Collect(c.t.Context())
		if !errors.Is(err, images.ErrCollecting) {
			require.NoError(c.t, err)
		}
		c.counts["collected"]++
	case n < 96:
		c.measure(r)
	case n < 97:
		c.crash(r)
		c.counts["crashed"]++
	}
}

// measure has a replica measure, and checks what is stored between the requests of all clients.
func (c *client) measure(r *siteReplica) {
	r.mu.RLock()
	err := r.registry.Images().Measure(c.t.Context())
	r.mu.RUnlock()
	require.NoError(c.t, err)
	c.quiet.Lock()
	defer c.quiet.Unlock()
	for _, r := range c.replicas { // After a crash, requests may still be in progress.
		r.mu.RLock()
		defer r.mu.RUnlock()
	}
	require.LessOrEqual(c.t, c.used(), int64(quota+smallFiles), "more is stored than the policy allows")
	c.counts["measured"]++
}

func (s *site) run(storage storagedriver.StorageDriver) {
	var wg sync.WaitGroup
	all := make([]*client, clients)
	for i := range all {
		all[i] = &client{
			site: s, random: rand.New(rand.NewPCG(s.seed, uint64(i))), name: fmt.Sprint("c", i),
			tags: make(map[string]tagState), images: make(map[string]picture), counts: make(map[string]int),
		}
		wg.Go(func() {
			for range operations() / clients {
				if s.t.Failed() {
					return
				}
				all[i].step()
			}
		})
	}
	wg.Wait()
	if s.t.Failed() {
		return
	}
	// No client is active. Two collections remove all unused data, and everything else stays. The replicas start again
	// first, because a process remembers for a day which data it has confirmed to clients.
	for _, r := range s.replicas {
		s.crash(r)
	}
	for range 2 {
		_, err := s.replicas[0].registry.Images().Collect(s.t.Context())
		require.NoError(s.t, err)
	}
	used := make(map[string]bool)
	for _, c := range all {
		for key := range c.tags {
			c.verify(key)
			for d := range c.tags[key] {
				if d != "" {
					used[d] = true
					for _, blob := range c.images[d].blobs {
						used[digestOf(blob)] = true
					}
				}
			}
		}
		s.t.Logf("%s: %v", c.name, c.counts)
	}
	files := 0
	err := storage.Walk(s.t.Context(), "/docker/registry/v2/blobs", func(info storagedriver.FileInfo) error {
		if !info.IsDir() {
			files++
			d := "sha256:" + filepath.Base(filepath.Dir(info.Path()))
			require.True(s.t, used[d], "%s is not used, and was not collected", info.Path())
		}
		return nil
	})
	require.NoError(s.t, err)
	require.Equal(s.t, len(used), files)
}

// TestProperties has several clients push, mount, abandon uploads, tag, delete, collect and measure at random while
// replicas crash. Acknowledged images can be pulled, immutable tags stay, quotas hold, and unused data is removed.
func TestProperties(t *testing.T) {
	t.Run("one replica", func(t *testing.T) {
		dir := t.TempDir()
		files := func() storagedriver.StorageDriver {
			return filesystem.New(filesystem.DriverParameters{RootDirectory: filepath.Join(dir, "images"), MaxThreads: 100})
		}
		s := newSite(t, 1, func() int64 { return usage(t, aged{files()}) }, func() systemregistry.Server { return systemregistry.Server{Dir: dir, Driver: aged{files()}} })
		s.run(files())
	})
	t.Run("three replicas", func(t *testing.T) {
		bucketURL := service(t)
		database := testtool.PostgreSQL(t)
		table, err := pgstore.Open(t.Context(), database.URL)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, table.Close()) })
		s := newSite(t, 3, func() int64 {
			driver, err := shared.New(context.Background(), aged{bucket(t, bucketURL)}, agedStore{table}, nil)
			require.NoError(t, err)
			return usage(t, driver)
		}, func() systemregistry.Server {
			return systemregistry.Server{Driver: aged{bucket(t, bucketURL)}, Store: agedStore{table}}
		})
		s.run(bucket(t, bucketURL))
	})
}
