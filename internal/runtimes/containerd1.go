package runtimes

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/regcred/regcred/internal/scenario"
)

// A Containerd1 pulls with containerd 1.7, in a separate process. Create it with [NewContainerd1], and close it when
// done. It pulls one image at a time.
type Containerd1 struct {
	mu      sync.Mutex
	command *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

// BuildContainerd1 builds the program into the folder, and returns its path. The working directory must be the folder
// of this package.
func BuildContainerd1(dir string) (string, error) {
	path := filepath.Join(dir, "containerd1")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = "containerd1"
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building containerd1: %w: %s", err, output)
	}
	return path, nil
}

// NewContainerd1 starts the program.
func NewContainerd1(program string) (*Containerd1, error) {
	c := &Containerd1{command: exec.Command(program)}
	c.command.Stderr = os.Stderr
	var err error
	if c.in, err = c.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.answers = json.NewDecoder(out)
	return c, c.command.Start()
}

// Close ends the program.
func (c *Containerd1) Close() error {
	_ = c.in.Close() // The program ends at the end of its input.
	return c.command.Wait()
}

// Pull pulls the image of a scenario. Different salts result in different images.
func (c *Containerd1) Pull(s scenario.Scenario, salt string) (Verdict, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	username, password := login(s)
	question := map[string]any{"Scenario": s, "Salt": salt, "Username": username, "Password": password}
	if err := json.NewEncoder(c.in).Encode(question); err != nil {
		return Verdict{}, fmt.Errorf("containerd1: %w", err)
	}
	var v Verdict
	if err := c.answers.Decode(&v); err != nil {
		return Verdict{}, fmt.Errorf("containerd1: %w", err)
	}
	return v, nil
}
