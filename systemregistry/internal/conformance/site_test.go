package conformance_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/catalog"
	"github.com/regcred/regcred/systemregistry/internal/shared"
	"github.com/regcred/regcred/systemregistry/store/pgstore"
)

// A place is where the replicas of a site keep their data: a folder that one of them uses, or a bucket and a database.
type place struct{ Dir, Bucket, Database string }

// storage returns the driver of the place, without a layer that changes times.
func (p place) storage() (storagedriver.StorageDriver, error) {
	if p.Dir != "" {
		return filesystem.New(filesystem.DriverParameters{RootDirectory: filepath.Join(p.Dir, "images"), MaxThreads: 100}), nil
	}
	return openBucket(p.Bucket)
}

// server returns the configuration of a replica. Its images are old from the start.
func (p place) server() (s systemregistry.Server, closeStore func() error, err error) {
	driver, err := p.storage()
	if err != nil {
		return s, nil, err
	}
	s = systemregistry.Server{
		Dir: p.Dir, Driver: aged{driver}, Policies: policies(), TokenLifetime: time.Hour, PasswordCost: 4, CollectEvery: -1,
		Admin: "root", AdminPassword: rootPassword, PlainHTTP: true, Addr: "127.0.0.1:0",
	}
	if p.Database == "" {
		return s, func() error { return nil }, nil
	}
	table, err := pgstore.Open(context.Background(), p.Database)
	if err != nil {
		return s, nil, err
	}
	s.Store = agedStore{table}
	return s, table.Close, nil
}

// A replica is a running registry.
type replica interface {
	url() string
	collect(ctx context.Context) error
	measure(ctx context.Context) error
	// crash ends the replica at once. It may be called during other calls.
	crash() error
}

// errCrashed reports that a replica crashed during a call.
var errCrashed = errors.New("the replica has crashed")

// threads is a replica in this process. A crash cuts its connections and closes it.
type threads struct {
	registry   *systemregistry.Registry
	http       *httptest.Server
	closeStore func() error
	mu         sync.RWMutex // Read-locked during calls.
	crashed    bool
}

func startThreads(p place) (replica, error) {
	server, closeStore, err := p.server()
	if err != nil {
		return nil, err
	}
	registry, err := server.Open(context.Background())
	if err != nil {
		return nil, err
	}
	return &threads{registry: registry, http: httptest.NewServer(registry), closeStore: closeStore}, nil
}

func (r *threads) url() string { return r.http.URL }

func (r *threads) collect(ctx context.Context) error {
	return r.call(func() error { _, err := r.registry.Images().Collect(ctx); return err })
}

func (r *threads) measure(ctx context.Context) error {
	return r.call(func() error { return r.registry.Images().Measure(ctx) })
}

func (r *threads) call(f func() error) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.crashed {
		return errCrashed
	}
	return f()
}

func (r *threads) crash() error {
	r.http.CloseClientConnections()
	r.http.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.crashed = true
	return errors.Join(r.registry.Close(), r.closeStore())
}

// process is a replica in a process of its own, which is killed. It runs a command for each line that it reads.
type process struct {
	address string
	command *exec.Cmd
	mu      sync.Mutex
	in      io.WriteCloser
	out     *bufio.Reader
}

// replicaEnv holds the place of a replica. If it is set, the test binary is that replica.
const replicaEnv = "REGCRED_TEST_REPLICA"

func startProcess(p place) (replica, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	r := &process{command: exec.Command(os.Args[0])}
	r.command.Env = append(os.Environ(), replicaEnv+"="+string(text))
	r.command.Stderr = os.Stderr
	if r.in, err = r.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := r.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.out = bufio.NewReader(out)
	if err := r.command.Start(); err != nil {
		return nil, err
	}
	line, err := r.out.ReadString('\n')
	r.address = strings.TrimSpace(line)
	if err == nil && !strings.HasPrefix(line, "http://") {
		err = errors.New(line)
	}
	if err != nil {
		return nil, errors.Join(err, r.crash())
	}
	return r, nil
}

func (r *process) url() string                       { return r.address }
func (r *process) collect(ctx context.Context) error { return r.call(ctx, "collect") }
func (r *process) measure(ctx context.Context) error { return r.call(ctx, "measure") }

func (r *process) call(_ context.Context, command string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := fmt.Fprintln(r.in, command); err != nil {
		return errCrashed
	}
	answer, err := r.out.ReadString('\n')
	switch answer = strings.TrimSpace(answer); {
	case err != nil:
		return errCrashed
	case answer == images.ErrCollecting.Error():
		return images.ErrCollecting
	case answer != "ok":
		return errors.New(answer)
	}
	return nil
}

func (r *process) crash() error {
	if err := r.command.Process.Kill(); err != nil { // SIGKILL ends it at once.
		return err
	}
	_, err := r.command.Process.Wait()
	return err
}

// serveReplica is the main function of a process. It returns when its parent has ended.
func serveReplica(text string) error {
	var p place
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	server, _, err := p.server()
	if err != nil {
		return err
	}
	ready := make(chan systemregistry.Ready, 1)
	server.OnReady = func(r systemregistry.Ready) { ready <- r }
	ended := make(chan error, 1)
	go func() { ended <- server.Run(context.Background()) }()
	var running systemregistry.Ready
	select {
	case running = <-ready:
	case err := <-ended:
		return err
	}
	fmt.Println(running.URL)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var err error
		if lines.Text() == "collect" {
			_, err = running.Registry.Images().Collect(context.Background())
		} else {
			err = running.Registry.Images().Measure(context.Background())
		}
		switch {
		case errors.Is(err, images.ErrCollecting):
			fmt.Println(images.ErrCollecting)
		case err != nil:
			fmt.Println(strings.ReplaceAll(err.Error(), "\n", "; "))
		default:
			fmt.Println("ok")
		}
	}
	return nil
}

// A site is one or several replicas over the same images, which crash and start again.
type site struct {
	t        *testing.T
	place    place
	start    func(place) (replica, error)
	replicas []*siteReplica
	token    string
	seed     uint64
	quiet    sync.RWMutex // Read-locked during each request, so that usage sees the storage between requests.
}

type siteReplica struct {
	mu sync.RWMutex // Locked while the replica starts again.
	replica
}

func (r *siteReplica) get() replica {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.replica
}

// crash ends the replica, and starts it again. Requests in flight may fail or succeed.
func (s *site) crash(r *siteReplica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NoError(s.t, r.replica.crash())
	var err error
	r.replica, err = s.start(s.place)
	require.NoError(s.t, err)
}

func newSite(t *testing.T, replicas int, p place, start func(place) (replica, error)) *site {
	seed := rand.Uint64()
	if text := os.Getenv("REGCRED_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("REGCRED_SEED=%d REGCRED_OPERATIONS=%d", seed, operations())
	s := &site{t: t, place: p, start: start, seed: seed}
	for range replicas {
		one, err := start(p)
		require.NoError(t, err)
		s.replicas = append(s.replicas, &siteReplica{replica: one})
	}
	t.Cleanup(func() {
		for _, r := range s.replicas {
			require.NoError(t, r.replica.crash())
		}
	})
	scopes := make([]string, len(repositories))
	for i, name := range repositories {
		scopes[i] = "repository:" + name + ":pull,push,delete"
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.replicas[0].url()+"/token?"+url.Values{"scope": scopes}.Encode(), nil)
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

// usage returns the bytes that the storage has for the limited repository. It counts links, data and
// unfinished uploads by itself, and no replica's counters. It also removes uploads that have been abandoned for a
// minute, because crashes leave many of them behind.
func (s *site) usage() int64 {
	const limited = "team/limited"
	t, ctx := s.t, context.Background()
	server, closeStore, err := s.place.server()
	require.NoError(t, err)
	defer func() { require.NoError(t, closeStore()) }()
	driver := server.Driver
	if server.Store != nil {
		driver, err = shared.New(ctx, driver, server.Store, nil)
		require.NoError(t, err)
	}
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
	var total int64
	held := make(map[string]bool)
	for _, records := range []map[string]shared.Record{scan.Layers, scan.Manifests, scan.Tags} {
		for _, r := range records {
			if name, _ := r.Split(); name == limited {
				total += entry
				held[r.Value] = true
			}
		}
	}
	for d := range held {
		total += scan.Blobs[shared.Blobs+d].Size
	}
	uploads := "/docker/registry/v2/repositories/" + limited + "/_uploads"
	started := make(map[string]bool)
	err = driver.Walk(ctx, uploads, func(file storagedriver.FileInfo) error {
		id, name, _ := strings.Cut(strings.TrimPrefix(file.Path(), uploads+"/"), "/")
		started[id] = true
		switch {
		case name == "data":
			total += file.Size()
		case strings.HasPrefix(name, "hashstates/") && !file.IsDir() && !strings.HasSuffix(name, "/0"):
			total += block
		}
		return nil
	})
	total += int64(len(started)) * entry
	if !errors.As(err, new(storagedriver.PathNotFoundError)) {
		require.NoError(t, err)
	}
	return total
}
