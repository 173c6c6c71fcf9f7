package conformance_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/accounts"
)

// daemon runs a program until the test ends, and waits until ready returns true.
func daemon(t *testing.T, ready func() bool, program string, args ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skipf("%s wants to be run by root", program)
	}
	var log bytes.Buffer
	command := exec.Command(testtool.Need(t, program), args...)
	command.Stdout, command.Stderr = &log, &log
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for until := time.Now().Add(time.Minute); !ready(); time.Sleep(100 * time.Millisecond) {
		require.True(t, time.Now().Before(until), "%s is not ready", program)
	}
}

// logins are the logins that may pull team/app, and those that may not.
type logins struct {
	name   string
	secret credentials.Secret
	may    bool
}

func team(t *testing.T, r running) map[string]logins {
	t.Helper()
	book := r.Registry.Accounts()
	may := func(tenant string, actions ...accounts.Action) []accounts.Rule {
		return []accounts.Rule{{Repositories: tenant + "/**", Actions: actions}}
	}
	robot := func(tenant, name string, a accounts.Account) logins {
		a.Name, a.Tenant, a.Rules = accounts.RobotName(tenant, name), tenant, may(tenant, accounts.Pull)
		secret, err := book.CreateRobot(t.Context(), a)
		require.NoError(t, err)
		return logins{a.Name, secret, tenant == "team"}
	}
	ann := accounts.Account{Name: "ann", Tenant: "team", Rules: may("team", accounts.Pull, accounts.Push)}
	require.NoError(t, book.Create(t.Context(), ann, credentials.NewSecret("password of ann")))
	expired := robot("team", "expired", accounts.Account{ExpiresAt: time.Now().Add(-time.Hour)})
	revoked := robot("team", "revoked", accounts.Account{})
	require.NoError(t, book.Delete(t.Context(), revoked.name))
	expired.may, revoked.may = false, false
	return map[string]logins{
		"a person":                {"ann", credentials.NewSecret("password of ann"), true},
		"a robot":                 robot("team", "ci", accounts.Account{}),
		"a wrong password":        {"ann", credentials.NewSecret("wrong"), false},
		"an expired robot":        expired,
		"a robot that is gone":    revoked,
		"a robot of another team": robot("other", "ci", accounts.Account{}),
	}
}

func TestSkopeo(t *testing.T) {
	r := start(t, systemregistry.Server{})
	push(t, r, "team/app:1")
	for name, l := range team(t, r) {
		t.Run(name, func(t *testing.T) {
			out, err := testtool.Run(t, []string{"SSL_CERT_FILE=" + r.CAFile}, "skopeo", "copy",
				"--src-creds", l.name+":"+l.secret.Reveal(), "docker://"+r.Host+"/team/app:1", "dir:"+t.TempDir())
			if l.may {
				require.NoError(t, err, out)
			} else {
				require.Error(t, err, out)
			}
		})
	}
}

func TestDocker(t *testing.T) {
	r := start(t, systemregistry.Server{})
	dir, socket := t.TempDir(), filepath.Join(t.TempDir(), "docker.sock")
	docker := func(stdin string, args ...string) (string, error) {
		args = append([]string{"--config", filepath.Join(dir, "config"), "-H", "unix://" + socket}, args...)
		command := exec.CommandContext(t.Context(), testtool.Need(t, "docker"), args...)
		command.Stdin = strings.NewReader(stdin)
		out, err := command.CombinedOutput()
		return string(out), err
	}
	// The folder of the daemon's certificate authorities cannot be configured.
	certs := "/etc/docker/certs.d/" + r.Host
	daemon(t, func() bool { _, err := docker("", "version"); return err == nil }, "dockerd", "-H", "unix://"+socket,
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs",
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"))
	require.NoError(t, os.MkdirAll(certs, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(certs)) })
	ca, err := os.ReadFile(r.CAFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(certs, "ca.crt"), ca, 0o644))

	all := team(t, r)
	image := r.Host + "/team/app:1"
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "hello", Mode: 0o644, Size: 5}))
	_, err = w.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	out, err := docker(files.String(), "import", "-", image)
	require.NoError(t, err, out)

	out, err = docker("", "push", image)
	require.Error(t, err, "without a login: %s", out)
	out, err = docker("password of ann", "login", "-u", "ann", "--password-stdin", r.Host)
	require.NoError(t, err, out)
	out, err = docker("", "push", image)
	require.NoError(t, err, out)
	out, err = docker("", "logout", r.Host)
	require.NoError(t, err, out)

	for name, l := range all {
		t.Run(name, func(t *testing.T) {
			_, _ = docker("", "rmi", "-f", image)
			loginOut, loginErr := docker(l.secret.Reveal(), "login", "-u", l.name, "--password-stdin", r.Host)
			out, err := docker("", "pull", image)
			if l.may {
				require.NoError(t, loginErr, loginOut)
				require.NoError(t, err, out)
			} else {
				require.Error(t, err, out)
			}
			out, err = docker("", "logout", r.Host)
			require.NoError(t, err, out)
		})
	}
}

func TestContainerd(t *testing.T) {
	r := start(t, systemregistry.Server{})
	push(t, r, "team/app:1")
	dir := t.TempDir()
	socket := filepath.Join(dir, "c.sock")
	config := filepath.Join(dir, "config.toml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = %q
`, dir+"/root", dir+"/state", socket), 0o600))
	hosts := filepath.Join(dir, "certs.d", r.Host)
	require.NoError(t, os.MkdirAll(hosts, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(hosts, "hosts.toml"), fmt.Appendf(nil, `
server = %[1]q
[host.%[1]q]
capabilities = ["pull", "resolve"]
ca = %[2]q
`, r.URL, r.CAFile), 0o600))
	ctr := func(args ...string) (string, error) {
		return testtool.Run(t, nil, "ctr", append([]string{"--address", socket, "--namespace", "test"}, args...)...)
	}
	daemon(t, func() bool { _, err := ctr("version"); return err == nil }, "containerd", "--config", config)

	image := r.Host + "/team/app:1"
	for name, l := range team(t, r) {
		t.Run(name, func(t *testing.T) {
			out, err := ctr("content", "fetch", "--hosts-dir", filepath.Dir(hosts), "--user", l.name+":"+l.secret.Reveal(), image)
			if l.may {
				require.NoError(t, err, out)
			} else {
				require.Error(t, err, out)
			}
			_, _ = ctr("images", "rm", "--sync", image)
		})
	}
}
