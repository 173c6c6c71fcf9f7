package systemregistry_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
)

// serveEnv names a folder. If it is set, the test binary serves a registry over that folder, as a process that can be
// killed.
const serveEnv = "REGCRED_TEST_SERVE"

func serve(dir string) {
	err := systemregistry.Server{
		Dir: dir, Addr: "127.0.0.1:0", PlainHTTP: true, Admin: "root", AdminPassword: password("root"), PasswordCost: fastCost,
		OnReady: func(r systemregistry.Ready) { fmt.Println(r.URL) },
	}.Run(context.Background())
	fmt.Println(err)
}

// process starts a registry in a process of its own, and returns a function that kills it.
func process(t *testing.T, dir string) (*running, func()) {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), serveEnv+"="+dir)
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	kill := sync.OnceFunc(func() {
		_ = command.Process.Kill() // SIGKILL ends it at once.
		_ = command.Wait()
	})
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	url := strings.TrimSpace(line)
	require.True(t, strings.HasPrefix(url, "http://"), url)
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return &running{URL: url, Client: &http.Client{Transport: transport, Timeout: time.Minute}}, kill
}

// tryPushAs pushes like push, to a registry that may die at any time; it reports whether the image was acknowledged.
func (r *running) tryPushAs(t *testing.T, name, repository, tag, layer string) bool {
	manifest, config := manifestOf(layer)
	send := func(method, path, body string, change ...func(*http.Request)) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), method, r.URL+path, strings.NewReader(body))
		if err != nil {
			return nil
		}
		for _, c := range change {
			c(req)
		}
		resp, err := r.Client.Do(req)
		if err != nil {
			return nil
		}
		_ = resp.Body.Close()
		return resp
	}
	token, err := r.tryToken(t, name, password(name), "repository:"+repository+":pull,push")
	if err != nil {
		return false
	}
	for _, blob := range []string{layer, config} {
		begun := send("POST", "/v2/"+repository+"/blobs/uploads/", "", bearer(token))
		if begun == nil || begun.StatusCode != http.StatusAccepted {
			return false
		}
		done := send("PUT", begun.Header.Get("Location")+"&digest="+digestOf(blob), blob, bearer(token), header("Content-Type", "application/octet-stream"))
		if done == nil || done.StatusCode != http.StatusCreated {
			return false
		}
	}
	resp := send("PUT", "/v2/"+repository+"/manifests/"+tag, manifest, bearer(token), header("Content-Type", ociManifest))
	return resp != nil && resp.StatusCode == http.StatusCreated
}

// A registry is killed in the middle of pushes, again and again. All acknowledged images are there, complete, and it
// starts without repair. REGCRED_KILLS is the number of kills; the result in docs/system.md is from 50.
func TestKill(t *testing.T) {
	kills := 5
	if n, err := strconv.Atoi(os.Getenv("REGCRED_KILLS")); err == nil {
		kills = n
	}
	dir := t.TempDir()
	acknowledged := make(map[string]string) // Layers by tag.
	for round := range kills {
		r, kill := process(t, dir)
		var mu sync.Mutex
		var wg sync.WaitGroup
		first := make(chan struct{})
		acknowledge := sync.OnceFunc(func() { close(first) })
		for worker := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					tag := fmt.Sprintf("r%d-w%d-%d", round, worker, i)
					layer := strings.Repeat(tag, 20_000)
					if !r.tryPushAs(t, "root", "team/app", tag, layer) {
						return
					}
					mu.Lock()
					acknowledged[tag] = layer
					mu.Unlock()
					acknowledge()
				}
			})
		}
		select {
		case <-first:
		case <-time.After(2 * time.Minute):
			t.Fatal("nothing was pushed")
		}
		time.Sleep(time.Duration(37*(round%10)) * time.Millisecond) // A different moment each time.
		kill()
		wg.Wait()
	}
	require.NotEmpty(t, acknowledged)
	t.Logf("%d images were acknowledged in %d rounds", len(acknowledged), kills)

	r, _ := process(t, dir)
	token := r.token(t, "root", password("root"), "repository:team/app:pull")
	for tag, layer := range acknowledged {
		manifest, config := manifestOf(layer)
		resp, body := r.do(t, "GET", "/v2/team/app/manifests/"+tag, "", bearer(token), header("Accept", ociManifest))
		require.Equal(t, http.StatusOK, resp.StatusCode, body)
		require.Equal(t, manifest, body)
		for _, blob := range []string{layer, config} {
			resp, body := r.do(t, "GET", "/v2/team/app/blobs/"+digestOf(blob), "", bearer(token))
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Equal(t, digestOf(blob), digestOf(body))
		}
	}
}
