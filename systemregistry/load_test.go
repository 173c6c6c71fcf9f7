package systemregistry_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/store"
)

// 200 clients push and pull at once while images are collected all the time.
func TestManyAtOnce(t *testing.T) {
	r := start(t, systemregistry.Server{Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	var collecting sync.WaitGroup
	collecting.Go(func() {
		for ctx.Err() == nil {
			if _, err := r.Images().Collect(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			repository := fmt.Sprintf("team/app%d", i%10)
			pushed := false
			for try := 0; try < 5 && !pushed; try++ { // A push that waited too long for a collection fails and is retried.
				pushed = r.tryPushAs(t, "ann", repository, fmt.Sprint("t", i), fmt.Sprint("layer ", i))
			}
			if !pushed {
				t.Errorf("push %d was refused", i)
				return
			}
			if status := r.pull(t, "ann", password("ann"), repository, fmt.Sprint("t", i)); status != http.StatusOK {
				t.Errorf("pull %d: %d", i, status)
			}
		})
	}
	wg.Wait()
	cancel()
	collecting.Wait()
}

// TestTwoReplicas runs two servers over one folder and one store. A client alternates between them, as behind a load
// balancer.
func TestTwoReplicas(t *testing.T) {
	folder := filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 10}
	table := new(store.Memory)
	a := start(t, systemregistry.Server{Driver: filesystem.New(folder), Store: table})
	b := start(t, systemregistry.Server{Driver: filesystem.New(folder), Store: table})
	require.Equal(t, a.CA(), b.CA())
	token := a.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	manifest, config := manifestOf("layer")
	for _, blob := range []string{"layer", config} { // Begun at one, continued at the other, ended at the first.
		resp, _ := a.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
		require.Equal(t, http.StatusAccepted, resp.StatusCode)
		resp, body := b.do(t, "PATCH", resp.Header.Get("Location"), blob, bearer(token), header("Content-Type", "application/octet-stream"))
		require.Equal(t, http.StatusAccepted, resp.StatusCode, body)
		resp, body = a.do(t, "PUT", resp.Header.Get("Location")+"&digest="+digestOf(blob), "", bearer(token))
		require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	}
	resp, body := b.put(t, token, "team/app", "1", manifest)
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	require.Equal(t, http.StatusOK, a.pull(t, "ann", password("ann"), "team/app", "1"))

	require.NoError(t, a.Accounts().SetPassword(t.Context(), "ann", credentials.NewSecret("another password")))
	resp, _ = b.do(t, "GET", "/v2/team/app/manifests/1", "", bearer(token))
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode, "what one replica was told, the other knows at once")
}

// fullDisk is a storage that has room for a limited number of bytes. It wraps all methods of a driver that write.
type fullDisk struct {
	storagedriver.StorageDriver
	mu   sync.Mutex
	room int
}

func (d *fullDisk) take(n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n > d.room {
		return syscall.ENOSPC
	}
	d.room -= n
	return nil
}

func (d *fullDisk) PutContent(ctx context.Context, path string, content []byte) error {
	if err := d.take(len(content)); err != nil {
		return err
	}
	return d.StorageDriver.PutContent(ctx, path, content)
}

func (d *fullDisk) Writer(ctx context.Context, path string, more bool) (storagedriver.FileWriter, error) {
	w, err := d.StorageDriver.Writer(ctx, path, more)
	return &fullWriter{w, d}, err
}

type fullWriter struct {
	storagedriver.FileWriter
	disk *fullDisk
}

func (w *fullWriter) Write(p []byte) (int, error) {
	if err := w.disk.take(len(p)); err != nil {
		return 0, err
	}
	return w.FileWriter.Write(p)
}

func (w *fullWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w}, r)
}

func TestDiskFull(t *testing.T) {
	disk := &fullDisk{StorageDriver: filesystem.New(filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 10}), room: 200_000}
	r := start(t, systemregistry.Server{Driver: disk})
	kept := make(map[string]string)
	refused := 0
	for i := range 30 {
		tag, layer := fmt.Sprint("t", i), strings.Repeat(fmt.Sprint("layer ", i), 2000)
		if r.tryPushAs(t, "ann", "team/app", tag, layer) {
			kept[tag] = layer
		} else {
			refused++
		}
	}
	require.NotEmpty(t, kept)
	require.Positive(t, refused)
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	resp, body := r.upload(t, token, "team/app", strings.Repeat("x", 100_000))
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, body)
	require.Contains(t, body, "the storage is full")
	for tag, layer := range kept {
		require.Equal(t, http.StatusOK, r.pull(t, "ann", password("ann"), "team/app", tag))
		_, body := r.do(t, "GET", "/v2/team/app/blobs/"+digestOf(layer), "", bearer(token))
		require.Equal(t, digestOf(layer), digestOf(body))
	}
	disk.mu.Lock()
	disk.room = 1 << 30
	disk.mu.Unlock()
	r.push(t, "ann", password("ann"), "team/app", "after", "it works again when there is room")
}

// Clients that send nothing, or half of a request, do not block others, or the shutdown of the registry.
func TestSlowClients(t *testing.T) {
	r, stop := startStop(t, systemregistry.Server{PlainHTTP: true, ShutdownTimeout: 100 * time.Millisecond})
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	var idle []net.Conn
	for i := range 50 {
		conn, err := net.Dial("tcp", r.Host)
		require.NoError(t, err)
		idle = append(idle, conn)
		request := []string{"", "GET /v2/ HTTP/1.1\r\n", "PUT /v2/team/app/manifests/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 1000\r\n\r\n{"}[i%3]
		_, err = conn.Write([]byte(request))
		require.NoError(t, err)
	}
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	began := time.Now()
	stop()
	require.Less(t, time.Since(began), time.Minute)
	for _, conn := range idle {
		require.NoError(t, conn.Close())
	}
}

// A client guesses passwords of many names. A person behind the same address, who has not logged in since the start, is
// rejected with a time to wait, and can log in soon afterwards while the guesses go on.
func TestGuessesOfManyNames(t *testing.T) {
	r := start(t, systemregistry.Server{})
	guess := func(name string, secret credentials.Secret) int {
		request := httptest.NewRequest("GET", "/token", nil)
		basic(name, secret)(request)
		answer := httptest.NewRecorder()
		r.ServeHTTP(answer, request)
		return answer.Code
	}
	// An attempt comes back each second. A person who asks just after a guess has used it is rejected, unless the
	// machine pauses in between; then another person asks.
	person, status := "", 0
	for i := 0; status != http.StatusTooManyRequests; i++ {
		require.Less(t, i, 20, "nobody was rejected")
		person = fmt.Sprint("person", i)
		r.person(t, person, "")
		for n := 0; guess(fmt.Sprint("name", i, "-", n), credentials.NewSecret("wrong")) != http.StatusTooManyRequests; n++ {
			require.Less(t, n, 10_000, "the guesses are not throttled")
		}
		for n := 0; guess(fmt.Sprint("again", i, "-", n), credentials.NewSecret("wrong")) == http.StatusTooManyRequests; n++ {
			time.Sleep(time.Millisecond)
		}
		status = guess(person, password(person))
	}
	began := time.Now()
	for i := 0; status != http.StatusOK && time.Since(began) < 2*time.Minute; i++ {
		for j := range 20 {
			require.NotEqual(t, http.StatusOK, guess(fmt.Sprint("other", i, j), credentials.NewSecret("wrong")))
		}
		time.Sleep(10 * time.Millisecond)
		status = guess(person, password(person))
	}
	require.Equal(t, http.StatusOK, status)
	require.NotEqual(t, http.StatusOK, guess(person, credentials.NewSecret("wrong")))
}

// 10,000 wrong logins do not block correct ones. They come without TLS, which would be most of the work.
func TestWrongLogins(t *testing.T) {
	r := start(t, systemregistry.Server{})
	robot, secret := r.robot(t, "team", "ci", rule("team/**", "pull"))
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := make(map[int]int)
	for range 20 {
		wg.Go(func() {
			for range 500 {
				request := httptest.NewRequest("GET", "/token", nil)
				basic("ann", credentials.NewSecret("wrong"))(request)
				answer := httptest.NewRecorder()
				r.ServeHTTP(answer, request)
				mu.Lock()
				count[answer.Code]++
				mu.Unlock()
			}
		})
	}
	var failed error
	for range 20 {
		for name, s := range map[string]credentials.Secret{"ann": password("ann"), robot: secret} {
			if _, err := r.tryToken(t, name, s, "repository:team/app:pull"); err != nil {
				failed = err
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	wg.Wait()
	require.NoError(t, failed)
	require.Equal(t, 10_000, count[http.StatusUnauthorized]+count[http.StatusTooManyRequests])
	require.Less(t, count[http.StatusUnauthorized], 100, "how many guesses were looked at")
}
