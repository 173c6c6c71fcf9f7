// Package testtool finds the programs and ports that tests need: real third-party clients and servers. It installs
// nothing; scripts/setup does.
package testtool

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
)

// Need returns the path of a program. If the program is missing, Need skips the test with the reason, or fails it if
// REGCRED_REQUIRE_TOOLS is set.
func Need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		// Debian installs daemons here, and PATH may not include it.
		path, err = exec.LookPath("/usr/sbin/" + program)
	}
	if err != nil {
		Missing(t, program+" is not installed, so nothing was tried with it; scripts/setup installs it")
	}
	return path
}

// Missing skips a test for a reason that scripts/setup would fix. It fails the test if REGCRED_REQUIRE_TOOLS is set.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("REGCRED_REQUIRE_TOOLS") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// Run runs a program to its end, with environment added to this process's own, and returns its output.
func Run(t testing.TB, environment []string, program string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), Need(t, program), args...)
	command.Env = append(os.Environ(), environment...)
	output, err := command.CombinedOutput()
	return string(output), err
}

// lastPort starts at a random port and increases, so that no two calls return the same.
var lastPort = rand.Uint32()

// FreePort returns a port of 127.0.0.1 that is not in use, for a program that cannot report the port that it chose. The
// port is below Linux's range for outgoing connections, from 32768 on: a connection could otherwise take it before the
// program does, or while the program restarts.
func FreePort(t testing.TB) string {
	t.Helper()
	var err error
	for range 100 {
		port := strconv.Itoa(10_000 + int(atomic.AddUint32(&lastPort, 1)%20_000))
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:"+port); err == nil && l.Close() == nil {
			return port
		}
	}
	t.Fatal("no port is free: ", err)
	return ""
}

// ControlPlane returns the folder with the programs of a Kubernetes control plane, for envtest. If there is none, its
// error is a reason for [Missing].
func ControlPlane() (string, error) {
	if folder := os.Getenv("KUBEBUILDER_ASSETS"); folder != "" {
		return folder, nil
	}
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	found, _ := filepath.Glob(filepath.Join(folder, "regcred", "kubernetes-*", "bin", "kube-apiserver"))
	if len(found) == 0 {
		return "", errors.New("there is no API server, so nothing was tried with it; scripts/kubernetes builds one")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// Built returns the path of a program that a script of this repository builds into the cache: the newest match of the
// pattern there. If there is none, it skips or fails the test like [Missing].
func Built(t testing.TB, pattern, script string) string {
	t.Helper()
	folder, err := os.UserCacheDir()
	if err != nil {
		Missing(t, err.Error())
	}
	found, _ := filepath.Glob(filepath.Join(folder, "regcred", pattern))
	if len(found) == 0 {
		Missing(t, "there is no "+filepath.Base(pattern)+", so nothing was tried with it; "+script+" builds it")
	}
	return found[len(found)-1]
}
