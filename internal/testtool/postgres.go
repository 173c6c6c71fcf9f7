//go:build unix

package testtool

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A Database is a PostgreSQL server for one test, on a loopback port. It ends with the test.
type Database struct {
	// URL connects to the server as a superuser, without a password.
	URL string

	t                   testing.TB
	bin, dir, log, port string
	credential          *syscall.Credential // The user of the server's process. Nil means this process's user.
	running             *exec.Cmd
}

// PostgreSQL starts a server with an empty cluster. It skips the test if the programs are missing; see [Missing].
func PostgreSQL(t testing.TB) *Database {
	t.Helper()
	// Debian installs them outside of PATH, in one folder for each version.
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil && len(found) == 0 {
		found = []string{path}
	}
	if len(found) == 0 {
		Missing(t, "PostgreSQL is not installed, so nothing was tried with it; scripts/setup installs it")
	}
	// Not t.TempDir, because the user that the server runs as cannot access its parent.
	dir, err := os.MkdirTemp("", "regcred-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &Database{t: t, bin: filepath.Dir(found[len(found)-1]), dir: filepath.Join(dir, "data"), log: filepath.Join(dir, "log"), port: FreePort(t)}
	d.URL = "postgres://regcred@127.0.0.1:" + d.port + "/postgres?sslmode=disable"
	if os.Getuid() == 0 { // PostgreSQL does not run as root.
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		d.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	initialize := d.command("initdb", "--pgdata", d.dir, "--username", "regcred", "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C")
	if out, err := initialize.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	d.Start()
	t.Cleanup(func() { d.stop(syscall.SIGINT) }) // "Fast shutdown": connections are closed.
	return d
}

func (d *Database) command(program string, args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(d.bin, program), args...)
	command.Dir = filepath.Dir(d.dir)
	command.SysProcAttr = &syscall.SysProcAttr{Credential: d.credential}
	return command
}

// Start starts the server, which must have been stopped, and blocks until it accepts connections.
func (d *Database) Start() {
	d.t.Helper()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	// No socket file. Without fsync, a crash of the machine could lose data, but a crash of the server does not.
	d.running = d.command("postgres", "-D", d.dir, "-h", "127.0.0.1", "-p", d.port, "-k", "", "-c", "fsync=off", "-c", "max_connections=100")
	d.running.Stdout, d.running.Stderr = log, log
	if err := d.running.Start(); err != nil {
		d.t.Fatal(err)
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		check := d.command("pg_isready", "--host", "127.0.0.1", "--port", d.port)
		if check.Run() == nil {
			return
		}
		if time.Now().After(until) {
			text, _ := os.ReadFile(d.log)
			d.t.Fatalf("PostgreSQL does not start:\n%s", text)
		}
	}
}

// Crash stops the server immediately, like a crash; see Start.
func (d *Database) Crash() { d.stop(syscall.SIGQUIT) } // "Immediate shutdown": nothing is written.

func (d *Database) stop(how syscall.Signal) {
	if d.running == nil {
		return
	}
	_ = d.running.Process.Signal(how)
	_ = d.running.Wait() // It returns the signal's status.
	d.running = nil
}
