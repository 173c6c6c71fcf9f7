package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// newestControllerRuntime is the newest release of controller-runtime that a consumer is built with. The oldest one is
// the one that inject/kube requires.
const newestControllerRuntime = "v0.25.2"

// A consumer is a module of a user in a folder of its own, which has the released modules from the proxy.
type consumer struct {
	release *release
	dir     string
}

func (r *release) consumer(ctx context.Context, name string, files map[string]string) (*consumer, error) {
	c := &consumer{release: r, dir: filepath.Join(r.temp, name)}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	_, err := c.run(ctx, "mod", "init", "example.com/"+name)
	return c, err
}

func (c *consumer) run(ctx context.Context, args ...string) (string, error) {
	return c.release.goTool(ctx, c.dir, args...)
}

// get adds modules as a user does, and then what the program imports.
func (c *consumer) get(ctx context.Context, modules ...string) error {
	if _, err := c.run(ctx, append([]string{"get"}, modules...)...); err != nil {
		return err
	}
	_, err := c.run(ctx, "mod", "tidy")
	return err
}

// expect fails if the consumer's build has a module in another version.
func (c *consumer) expect(ctx context.Context, module, version string) error {
	got, err := c.run(ctx, "list", "-m", module)
	if err != nil {
		return err
	}
	if got != module+" "+version {
		return fmt.Errorf("the consumer gets %s: expected %s", got, version)
	}
	return nil
}

// read returns the text of a file of the release.
func (r *release) read(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(r.tree, name))
	return string(text), err
}

var (
	goProgram = regexp.MustCompile("(?ms)^```go\n(package main\n.*?)^```")
	goGet     = regexp.MustCompile(`(?m)^ {4}go get (\S+)`)
)

// program follows README.md: it gets the module with the command there, and runs the program there. The program finds
// a registry at the host that it names, through a proxy.
func (r *release) program(ctx context.Context) (err error) {
	readme, err := r.read("README.md")
	if err != nil {
		return err
	}
	source, command := goProgram.FindStringSubmatch(readme), goGet.FindStringSubmatch(readme)
	if source == nil || command == nil {
		return errors.New("README.md has no program or no go get command")
	}
	user, err := r.consumer(ctx, "program", map[string]string{"main.go": source[1]})
	if err != nil {
		return err
	}
	if err := user.get(ctx, command[1]+"@"+r.version); err != nil {
		return err
	}
	if _, err := user.run(ctx, "build", "-o", "program", "."); err != nil {
		return err
	}
	network, err := r.read("tools/release/testdata/network/main.go")
	if err != nil {
		return err
	}
	fake, err := r.consumer(ctx, "network", map[string]string{"main.go": network})
	if err != nil {
		return err
	}
	if err := fake.get(ctx, r.modules[0].at(r.version).String()); err != nil {
		return err
	}
	if _, err := fake.run(ctx, "build", "-o", "network", "."); err != nil {
		return err
	}
	// The network ends when its input does.
	cmd := interruptible(ctx, filepath.Join(fake.dir, "network"), "ca.pem")
	cmd.Dir, cmd.Stderr = fake.dir, os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stdin.Close(), cmd.Wait()) }()
	proxy, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return err
	}
	manifest, err := output(ctx, user.dir, []string{
		"HTTPS_PROXY=" + strings.TrimSpace(proxy), "NO_PROXY=", "no_proxy=", "SSL_CERT_FILE=" + filepath.Join(fake.dir, "ca.pem"), "TOKEN=s3cret",
	}, filepath.Join(user.dir, "program"))
	if err != nil {
		return err
	}
	if !strings.Contains(manifest, "kind: Secret\n") || !strings.Contains(manifest, ".dockerconfigjson: ") {
		return fmt.Errorf("the program printed no secret:\n%s", manifest)
	}
	return nil
}

// oldController has the versions of Kubernetes' libraries that inject/kube requires at least.
func (r *release) oldController(ctx context.Context) error {
	file, err := readGoMod(r.tree, "inject/kube/go.mod")
	if err != nil {
		return err
	}
	versions := make(map[string]string)
	for _, required := range file.Require {
		versions[required.Mod.Path] = required.Mod.Version
	}
	return r.controller(ctx, "oldcontroller", versions["sigs.k8s.io/controller-runtime"], versions["k8s.io/client-go"])
}

// newController has the version of client-go that the newest controller-runtime requires, or a later one.
func (r *release) newController(ctx context.Context) error {
	file, err := readGoMod(r.tree, "internal/newest/go.mod")
	if err != nil {
		return err
	}
	for _, required := range file.Require {
		if required.Mod.Path == "k8s.io/client-go" {
			return r.controller(ctx, "newcontroller", newestControllerRuntime, required.Mod.Version)
		}
	}
	return errors.New("internal/newest requires no client-go")
}

// controller is examples/embed in a module of a user's own, which has a manager of controller-runtime already. It runs
// on a real API server.
func (r *release) controller(ctx context.Context, name, controllerRuntime, clientGo string) error {
	files := make(map[string]string)
	for target, source := range map[string]string{
		"main.go": "examples/embed/main.go", "objects.go": "examples/embed/objects.go",
		"main_test.go": "tools/release/testdata/controller/main_test.go",
	} {
		text, err := r.read(source)
		if err != nil {
			return err
		}
		files[target] = text
	}
	c, err := r.consumer(ctx, name, files)
	if err != nil {
		return err
	}
	own := map[string]string{"sigs.k8s.io/controller-runtime": controllerRuntime, "k8s.io/client-go": clientGo}
	var modules []string
	for path, version := range own {
		modules = append(modules, path+"@"+version)
	}
	if _, err := c.run(ctx, append([]string{"get"}, modules...)...); err != nil {
		return err
	}
	guide, err := r.read("docs/kubernetes.md")
	if err != nil {
		return err
	}
	command := goGet.FindStringSubmatch(guide)
	if command == nil {
		return errors.New("docs/kubernetes.md has no go get command")
	}
	if err := c.get(ctx, command[1]+"@"+r.version); err != nil {
		return err
	}
	for path, version := range own { // The versions that the user has do not change.
		if err := c.expect(ctx, path, version); err != nil {
			return err
		}
	}
	programs, err := output(ctx, r.repo, nil, filepath.Join(r.repo, "scripts", "kubernetes"))
	if err != nil {
		return err
	}
	// Not by go test, which an interruption would end before the test has stopped its API server.
	if _, err := c.run(ctx, "test", "-c", "-o", "controller.test", "."); err != nil {
		return err
	}
	_, err = output(ctx, c.dir, append(r.env(), "KUBEBUILDER_ASSETS="+programs), filepath.Join(c.dir, "controller.test"), "-test.timeout=10m")
	return err
}

// test runs the examples of the root package, which have registries and a cloud in memory, as tests of a user.
func (r *release) test(ctx context.Context) error {
	text, err := r.read("example_test.go")
	if err != nil {
		return err
	}
	c, err := r.consumer(ctx, "test", map[string]string{"shop_test.go": text})
	if err != nil {
		return err
	}
	if err := c.get(ctx, r.modules[0].at(r.version).String()); err != nil {
		return err
	}
	out, err := c.run(ctx, "test", "-count=1", "-v", "./...")
	if err != nil {
		return err
	}
	if !strings.Contains(out, "--- PASS: Example_withoutNetwork") {
		return fmt.Errorf("the example did not run:\n%s", out)
	}
	return nil
}
