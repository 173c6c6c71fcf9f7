package runtimes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/regcred/regcred/internal/scenario"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

// A daemon is a runtime's own program. It pulls one image at a time.
type daemon struct {
	network *fakenet.Network
	dir     string // Its folder; the log is in daemon.log.
	pull    func(ctx context.Context, username, password string) error
}

// verdict pulls the image of a scenario with the daemon.
func (d *daemon) verdict(s scenario.Scenario, salt string, patience time.Duration) Verdict {
	registry := scenario.NewRegistry(s, salt)
	for _, host := range []string{scenario.Host, scenario.AuthHost, scenario.OtherHost, scenario.StorageHost} {
		d.network.Handle(host, registry)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	username, password := login(s)
	return scenario.NewVerdict(d.pull(ctx, username, password), registry)
}

// newDaemon starts a program in its own namespaces. It can reach registries only through a network of this test.
//
// The files are written into its folder, by name. In them and in the command, ${DIR} stands for that folder.
func newDaemon(t *testing.T, files map[string]string, command ...string) *daemon {
	t.Helper()
	if os.Getuid() != 0 {
		testtool.Missing(t, "only root can run "+command[0]+", so nothing was tried with it")
	}
	d := newNetwork(t)
	for name, text := range files {
		text = strings.ReplaceAll(text, "${DIR}", d.dir)
		require.NoError(t, os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600))
	}
	for i := range command {
		command[i] = strings.ReplaceAll(command[i], "${DIR}", d.dir)
	}
	script, err := filepath.Abs("testdata/daemon.sh")
	require.NoError(t, err)
	c := exec.Command("sh", append([]string{script, d.dir}, command...)...)
	c.Env = append(os.Environ(), d.environment()...)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	var complaint bytes.Buffer
	c.Stderr = &complaint
	if err := c.Start(); err != nil {
		t.Skipf("this machine lets nobody make namespaces, so nothing was tried with %s: %v", command[0], err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(d.dir, "daemon.log"))
			t.Logf("%s: %s%s", command[0], complaint.Bytes(), text[max(0, len(text)-4000):])
		}
	})
	return d
}

// newNetwork returns a daemon that has a folder and a network.
func newNetwork(t *testing.T) *daemon {
	t.Helper()
	network, err := fakenet.New()
	require.NoError(t, err)
	t.Cleanup(network.Close)
	d := &daemon{network: network, dir: t.TempDir()}
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "ca.crt"), []byte(network.CA), 0o600))
	return d
}

// environment routes the requests for every registry to the network.
func (d *daemon) environment() []string {
	return []string{"HTTPS_PROXY=" + d.network.URL, "https_proxy=" + d.network.URL, "NO_PROXY=", "no_proxy=", "SSL_CERT_FILE=" + filepath.Join(d.dir, "ca.crt")}
}

// socket blocks until the daemon listens.
func (d *daemon) socket(t *testing.T) string {
	t.Helper()
	path := filepath.Join(d.dir, "daemon.sock")
	require.Eventually(t, func() bool {
		c, err := net.Dial("unix", path)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, time.Minute, 50*time.Millisecond, "the daemon listens")
	return path
}

// startContainerd starts containerd with its CRI, which pulls with the same AuthConfig as a kubelet sends.
func startContainerd(t *testing.T, program, config string) *daemon {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", config))
	require.NoError(t, err)
	d, pull := startContainerdWith(t, program, string(text))
	d.pull = func(ctx context.Context, username, password string) error {
		return pull(ctx, scenario.Image, username, password)
	}
	return d
}

// startContainerdWith starts containerd with the configuration, and returns a function that pulls an image.
func startContainerdWith(t *testing.T, program, config string) (*daemon, func(ctx context.Context, image, username, password string) error) {
	t.Helper()
	d := newDaemon(t, map[string]string{"config.toml": config}, program, "--config", "config.toml")
	connection, err := grpc.NewClient("unix:"+d.socket(t), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	service := cri.NewImageServiceClient(connection)
	require.Eventually(t, func() bool {
		_, err := service.ImageFsInfo(context.Background(), &cri.ImageFsInfoRequest{})
		return err == nil
	}, time.Minute, 100*time.Millisecond, "CRI is served")
	return d, func(ctx context.Context, image, username, password string) error {
		request := &cri.PullImageRequest{Image: &cri.ImageSpec{Image: image}}
		if username != "" {
			request.Auth = &cri.AuthConfig{Username: username, Password: password}
		}
		_, err := service.PullImage(ctx, request)
		return err
	}
}

// startDocker starts the Docker engine with a graph driver, which pulls as for cri-dockerd.
func startDocker(t *testing.T) *daemon {
	t.Helper()
	d, pull := startDockerWith(t, map[string]string{"daemon.json": "{}"})
	d.pull = func(ctx context.Context, username, password string) error {
		return pull(ctx, scenario.Host+"/"+scenario.Repository, scenario.Tag, username, password)
	}
	return d
}

// startDockerWith starts the engine with the files in its folder, and returns a function that pulls an image by a tag
// or digest. The folder may have a daemon.json.
func startDockerWith(t *testing.T, files map[string]string) (*daemon, func(ctx context.Context, name, reference, username, password string) error) {
	t.Helper()
	d := newDaemon(t, files, testtool.Need(t, "dockerd"), "--host", "unix://${DIR}/daemon.sock", "--data-root", "${DIR}/data",
		"--exec-root", "${DIR}/exec", "--pidfile", "${DIR}/pid", "--storage-driver", "vfs", "--iptables=false", "--bridge=none",
		"--config-file", "${DIR}/daemon.json")
	return d, dockerPull(d.socket(t))
}

func dockerPull(socket string) func(ctx context.Context, name, reference, username, password string) error {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	return func(ctx context.Context, name, reference, username, password string) error {
		query := url.Values{"fromImage": {name}, "tag": {reference}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://docker/images/create?"+query.Encode(), nil)
		if err != nil {
			return err
		}
		if username != "" {
			auth, err := json.Marshal(map[string]string{"username": username, "password": password})
			if err != nil {
				return err
			}
			req.Header.Set("X-Registry-Auth", base64.URLEncoding.EncodeToString(auth))
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(res.Body)
			return errors.New(string(text))
		}
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			var line struct{ Error string }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				return err
			}
			if line.Error != "" {
				return errors.New(line.Error)
			}
		}
		return ctx.Err()
	}
}

// newPodman pulls with podman, one process for each pull.
func newPodman(t *testing.T) *daemon {
	t.Helper()
	program := testtool.Need(t, "podman")
	d := newNetwork(t)
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "policy.json"), []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "registries.conf"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "auth.json"), []byte("{}"), 0o600))
	d.pull = func(ctx context.Context, username, password string) error {
		args := []string{
			"--root", filepath.Join(d.dir, "root"), "--runroot", filepath.Join(d.dir, "run"), "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
			"pull", "--quiet", "--signature-policy", filepath.Join(d.dir, "policy.json"), "--authfile", filepath.Join(d.dir, "auth.json"),
		}
		if username != "" {
			args = append(args, "--creds", username+":"+password)
		}
		c := exec.CommandContext(ctx, program, append(args, scenario.Image)...)
		c.Env = append(os.Environ(), d.environment()...)
		c.Env = append(c.Env, "CONTAINERS_REGISTRIES_CONF="+filepath.Join(d.dir, "registries.conf"))
		output, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, output)
		}
		return nil
	}
	return d
}
