package runtimes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/regcred/regcred/internal/scenario"
)

// The programs: modules of their own, because each runtime needs versions of shared dependencies that behave
// differently from the other runtimes'.
const (
	Containerd1 = "containerd1" // containerd 1.7.
	Docker28    = "docker28"    // Docker Engine with a graph driver.
	Docker29    = "docker29"    // Docker Engine with the containerd image store.
)

// A Program runs code in a separate process: it pulls with the code of a runtime, or finds logins with the code of a kubelet.
// Create it with [StartProgram], and close it when done. It answers one question at a time.
type Program struct {
	mu      sync.Mutex
	command *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

// Keyring is the program that finds the logins of a pod with the kubelet's code.
const Keyring = "keyring"

// BuildProgram builds a program into the folder, and returns its path. The working directory must be the folder of this
// package.
func BuildProgram(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = name
	if name == Keyring {
		build.Dir = "../kubeletmatch/keyring"
	}
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", name, err, output)
	}
	return path, nil
}

// StartProgram starts a program that [BuildProgram] built.
func StartProgram(path string) (*Program, error) {
	p := &Program{command: exec.Command(path)}
	p.command.Stderr = os.Stderr
	var err error
	if p.in, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.answers = json.NewDecoder(out)
	return p, p.command.Start()
}

// Close ends the program.
func (p *Program) Close() error {
	_ = p.in.Close() // The program ends at the end of its input.
	return p.command.Wait()
}

// Pull pulls the image of a scenario. Different salts result in different images.
func (p *Program) Pull(s scenario.Scenario, salt string, timeout time.Duration) (Verdict, error) {
	username, password := login(s)
	return p.pull(scenario.Pull{Scenario: s, Salt: salt, Username: username, Password: password, Timeout: timeout})
}

// Fetch reads the manifest of an image over the network, with containerd's folders of hosts in hostDir. Only
// [Containerd1] does that.
func (p *Program) Fetch(hostDir, image, username, password string, timeout time.Duration) error {
	v, err := p.pull(scenario.Pull{Image: image, HostDir: hostDir, Username: username, Password: password, Timeout: timeout})
	if err == nil && !v.Pulls {
		err = errors.New(v.Error)
	}
	return err
}

func (p *Program) pull(pull scenario.Pull) (Verdict, error) {
	var v Verdict
	err := p.ask(pull, &v)
	return v, err
}

// Logins are the logins of a pod.
type Logins struct {
	// Logins are those that the kubelet tries for the image, in order.
	Logins []Login
	// Error is the reason why the kubelet does not pull.
	Error string
}

// A Login is what the kubelet passes to the runtime.
type Login struct{ Username, Password string }

// Logins returns the logins of the scenario's pod. The program must be [Keyring].
func (p *Program) Logins(s scenario.Scenario) (Logins, error) {
	var l Logins
	err := p.ask(map[string]any{"Image": scenario.Image, "Secrets": s.Secrets()}, &l)
	return l, err
}

func (p *Program) ask(question, answer any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := json.NewEncoder(p.in).Encode(question); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(p.command.Path), err)
	}
	if err := p.answers.Decode(answer); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(p.command.Path), err)
	}
	return nil
}
