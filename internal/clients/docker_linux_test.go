package clients

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
)

// dockerd starts docker's daemon in namespaces of its own, which end with it, and returns its socket.
func (w *world) dockerd(t *testing.T) (socket string) {
	t.Helper()
	program := testtool.Need(t, "dockerd")
	if os.Getuid() != 0 {
		testtool.Missing(t, "only root can run dockerd, so nothing was pulled with docker")
	}
	script, err := filepath.Abs("../runtimes/testdata/daemon.sh")
	require.NoError(t, err)
	socket = w.path("docker.sock")
	command := exec.Command("sh", script, w.dir, program, "--host", "unix://"+socket, "--data-root", w.path("docker-data"),
		"--exec-root", w.path("docker-exec"), "--pidfile", w.path("docker.pid"), "--storage-driver", "vfs", "--iptables=false", "--bridge=none")
	command.Env = w.environment()
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		t.Skipf("this machine lets nobody make namespaces, so nothing was pulled with docker: %v", err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(w.path("daemon.log"))
			t.Logf("dockerd: %s", text[max(0, len(text)-4000):])
		}
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, time.Minute, 50*time.Millisecond, "the daemon listens")
	return socket
}
