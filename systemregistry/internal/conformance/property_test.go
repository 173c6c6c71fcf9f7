package conformance_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/systemregistry/images"
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
	// block is what a quota counts for a file or folder, and entry for each tag, link and unfinished upload of
	// "team/limited".
	block   = 4096
	entry   = 9 * block
	quota   = 25*entry + 80_000
	largest = 20_000
	clients = 4
)

func policies() []images.Policy {
	return []images.Policy{
		{Repositories: "**", KeepUntagged: time.Hour}, // All images are older than that, see aged.
		{Repositories: "team/fixed", Immutable: true},
		{Repositories: "team/limited", MaxBytes: quota},
	}
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
	target := r.get().url() + path
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

// patience is the longest time for which a pull is repeated that the server could not answer.
const patience = 30 * time.Second

// verify pulls the image of a tag, digest by digest, and compares it.
func (c *client) verify(key string) {
	repository, tag, _ := strings.Cut(key, ":")
	state := c.tags[key]
	var status int
	var manifest []byte
	for began := time.Now(); time.Since(began) < patience; {
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
		for began := time.Now(); time.Since(began) < patience; {
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
		err := r.get().collect(c.t.Context())
		if !errors.Is(err, images.ErrCollecting) && !errors.Is(err, errCrashed) {
			require.NoError(c.t, err)
		}
		c.counts["collected"]++
	case n < 96:
		c.measure(r)
	case n < 98:
		c.crash(r)
		c.counts["crashed"]++
	}
}

// measure has a replica measure, and checks what is stored between the requests of all clients.
func (c *client) measure(r *siteReplica) {
	if err := r.get().measure(c.t.Context()); !errors.Is(err, errCrashed) {
		require.NoError(c.t, err)
	}
	c.quiet.Lock()
	defer c.quiet.Unlock()
	for _, r := range c.replicas { // During a crash, requests may still be in progress.
		r.mu.RLock()
		defer r.mu.RUnlock()
	}
	require.LessOrEqual(c.t, c.usage(), int64(quota), "more is stored than the policy allows")
	c.counts["measured"]++
}

func (s *site) run() {
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
		require.NoError(s.t, s.replicas[0].collect(s.t.Context()))
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
	storage, err := s.place.storage()
	require.NoError(s.t, err)
	err = storage.Walk(s.t.Context(), "/docker/registry/v2/blobs", func(info storagedriver.FileInfo) error {
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
// replicas crash; a process is killed wherever it is. Acknowledged images can be pulled, immutable tags stay, quotas
// hold, and unused data is removed.
func TestProperties(t *testing.T) {
	t.Run("one replica", func(t *testing.T) { newSite(t, 1, place{Dir: t.TempDir()}, startThreads).run() })
	t.Run("one process that is killed", func(t *testing.T) { newSite(t, 1, place{Dir: t.TempDir()}, startProcess).run() })
	t.Run("three replicas", func(t *testing.T) {
		newSite(t, 3, place{Bucket: service(t), Database: testtool.PostgreSQL(t).URL}, startThreads).run()
	})
	t.Run("three processes that are killed", func(t *testing.T) {
		newSite(t, 3, place{Bucket: service(t), Database: testtool.PostgreSQL(t).URL}, startProcess).run()
	})
}
