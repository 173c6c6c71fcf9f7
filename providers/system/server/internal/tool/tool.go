// Package tool finds the programs that tests want.
//
// [Need] returns where one is, and [Run] runs it. It installs nothing.
package tool

import (
	"os"
	"os/exec"
	"testing"
)

// Need returns the path of a program. Where it is missing, the test is skipped, with the reason; or fails, if
// REGCRED_REQUIRE_TOOLS is 1.
func Need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		// Where Debian keeps daemons, which is not in everybody's path.
		if path, err = exec.LookPath("/usr/sbin/" + program); err == nil {
			return path
		}
		if os.Getenv("REGCRED_REQUIRE_TOOLS") == "1" {
			t.Fatalf("%s is not installed", program)
		}
		t.Skipf("%s is not installed", program)
	}
	return path
}

// Run runs a program to its end, with the environment beside the own one, and returns what it printed.
func Run(t testing.TB, environment []string, program string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), Need(t, program), args...)
	command.Env = append(os.Environ(), environment...)
	output, err := command.CombinedOutput()
	return string(output), err
}
