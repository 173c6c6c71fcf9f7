package kube_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/regcred/regcred/internal/testtool"
)

// A plane is an etcd and an API server for one test, which can kill and restart them with their data.
type plane struct {
	t         *testing.T
	dir, bin  string
	config    *rest.Config
	etcd, api *process
	peer      string
	client    string
	port      string
}

// A process is a running process. It is killed at the end of the test.
type process struct{ *exec.Cmd }

func (p *process) kill() {
	_ = p.Process.Kill()
	_ = p.Wait() // The error is that it was killed.
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	bin, why := testtool.ControlPlane()
	if why != nil {
		testtool.Missing(t, why.Error())
	}
	p := &plane{t: t, dir: t.TempDir(), bin: bin, port: testtool.FreePort(t)}
	p.client, p.peer = "http://127.0.0.1:"+testtool.FreePort(t), "http://127.0.0.1:"+testtool.FreePort(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "key.pem"), text, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "tokens.csv"), []byte("admin,admin,admin,system:masters\n"), 0o600))
	p.config = &rest.Config{
		Host: "https://127.0.0.1:" + p.port, BearerToken: "admin", Timeout: time.Minute,
		TLSClientConfig: rest.TLSClientConfig{Insecure: true}, // It creates a certificate of its own.
	}
	p.startEtcd()
	p.startAPI()
	t.Cleanup(func() {
		p.api.kill()
		p.etcd.kill()
	})
	return p
}

func (p *plane) run(program string, args ...string) *process {
	p.t.Helper()
	log, err := os.OpenFile(filepath.Join(p.dir, program+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer log.Close()
	command := exec.Command(filepath.Join(p.bin, program), args...)
	command.Stdout, command.Stderr = log, log
	require.NoError(p.t, command.Start())
	return &process{command}
}

// startEtcd starts etcd, and waits until it is healthy.
func (p *plane) startEtcd() {
	p.t.Helper()
	p.etcd = p.run("etcd", "--data-dir="+filepath.Join(p.dir, "etcd"), "--listen-client-urls="+p.client, "--advertise-client-urls="+p.client,
		"--listen-peer-urls="+p.peer, "--initial-advertise-peer-urls="+p.peer, "--initial-cluster=default="+p.peer)
	p.ready("etcd", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.client+"/health", nil)
		require.NoError(p.t, err)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK { // It has no leader yet.
			return errors.New(response.Status)
		}
		return nil
	})
}

func (p *plane) startAPI() {
	p.t.Helper()
	key := filepath.Join(p.dir, "key.pem")
	p.api = p.run("kube-apiserver",
		"--bind-address=127.0.0.1", "--secure-port="+p.port, "--cert-dir="+filepath.Join(p.dir, "certs"),
		"--etcd-servers="+p.client, "--service-cluster-ip-range=10.0.0.0/24",
		"--token-auth-file="+filepath.Join(p.dir, "tokens.csv"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://test", "--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		"--disable-admission-plugins=ServiceAccount")
	p.readyAPI()
}

// readyAPI waits until the API server is ready, which it is not without etcd.
func (p *plane) readyAPI() {
	p.t.Helper()
	client, err := kubernetes.NewForConfig(p.config)
	require.NoError(p.t, err)
	p.ready("kube-apiserver", func(ctx context.Context) error {
		return client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

func (p *plane) ready(program string, ask func(context.Context) error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 3*time.Minute)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(p.dir, program+".log"))
			require.FailNow(p.t, program+" does not start", fmt.Sprintf("%v\n%s", err, log[max(0, len(log)-4000):]))
		}
	}
}
