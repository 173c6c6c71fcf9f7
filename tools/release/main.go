// Command release makes the commits and the tags of a release of every module that is meant for import, and pushes
// nothing. All of it happens in a temporary clone, where it is tested as users will get it; only what passed is
// fetched into the repository. With -rehearse, nothing is.
//
// scripts/release runs it. docs/decisions.md has the design.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/semver"
)

func main() {
	repo := flag.String("repo", ".", "the `folder` of the repository")
	rehearse := flag.Bool("rehearse", false, "leave nothing behind; without a VERSION, one that is next")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: release [-repo DIR] [-rehearse] VERSION")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 1 || flag.NArg() == 0 && !*rehearse {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the program at once.
	err := run(ctx, *repo, flag.Arg(0), *rehearse)
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, repo, version string, rehearse bool) (err error) {
	if repo, err = filepath.Abs(repo); err != nil {
		return err
	}
	last, err := lastVersion(ctx, repo)
	if err != nil {
		return err
	}
	if version == "" {
		version = next(last)
	}
	if err := check(ctx, repo, version, last, rehearse); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "regcred-release-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	r := &release{
		version: version, repo: repo, tree: filepath.Join(temp, "tree"), temp: temp,
		proxy: proxy{dir: filepath.Join(temp, "proxy"), at: time.Now().UTC()},
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"clone", r.clone},
		{"rewrite go.mod, go.sum and CHANGELOG.md, and pack the modules", r.rewrite},
		{"commit and tag", r.commit},
		{"compare with what the go command gets from the tags", r.compareDirect},
		{"build and vet each module as it is tagged", r.build},
		{"consumer: the program of README.md", r.program},
		{"consumer: a controller with the oldest controller-runtime", r.oldController},
		{"consumer: a controller with the newest controller-runtime", r.newController},
		{"consumer: a test without a network", r.test},
	} {
		start := time.Now()
		fmt.Printf("=== %s\n", step.name)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Printf("--- %.1f s\n", time.Since(start).Seconds())
	}
	if rehearse {
		fmt.Printf("%s of %d modules passed; nothing was kept\n", version, len(r.released()))
		return nil
	}
	return r.keep(ctx)
}

// check fails if the repository is not ready for the version.
func check(ctx context.Context, repo, version, last string, rehearse bool) error {
	if !semver.IsValid(version) || semver.Canonical(version) != version || semver.Major(version) > "v1" {
		return fmt.Errorf("%q is not a version like v0.1.0; a v2 needs other module paths", version)
	}
	if last != "" && semver.Compare(version, last) <= 0 {
		return fmt.Errorf("%s is not later than the last release, %s", version, last)
	}
	if rehearse {
		return nil
	}
	if tags, err := git(ctx, repo, "tag", "--list", version, "*/"+version); err != nil || tags != "" {
		return errors.Join(err, fmt.Errorf("there are tags of %s: %s", version, strings.ReplaceAll(tags, "\n", " ")))
	}
	changed, err := git(ctx, repo, "status", "--porcelain")
	if err != nil {
		return err
	}
	if changed != "" {
		return fmt.Errorf("there are changes that are not committed:\n%s", changed)
	}
	if branch, err := git(ctx, repo, "branch", "--show-current"); err != nil || branch == "" {
		return errors.Join(err, errors.New("check out the branch to release from: the commits are added to it"))
	}
	if last == "" {
		return nil
	}
	cmd := interruptible(ctx, filepath.Join(repo, "scripts", "api"), "-check", "-next", version)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// lastVersion returns the highest version that the root module is tagged with, or "".
func lastVersion(ctx context.Context, repo string) (string, error) {
	tags, err := git(ctx, repo, "tag", "--list", "v*")
	if err != nil {
		return "", err
	}
	last := ""
	for _, tag := range strings.Fields(tags) {
		if semver.IsValid(tag) && semver.Compare(tag, last) > 0 {
			last = tag
		}
	}
	return last, nil
}

// next returns the version of a rehearsal.
func next(last string) string {
	if last == "" {
		return "v0.1.0-rehearsal"
	}
	var minor int
	if _, err := fmt.Sscanf(strings.TrimPrefix(semver.MajorMinor(last), semver.Major(last)+"."), "%d", &minor); err != nil {
		return last // Which is refused.
	}
	return fmt.Sprintf("%s.%d.0-rehearsal", semver.Major(last), minor+1)
}

// git runs git in a folder and returns its output without the last line break.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	return output(ctx, dir, nil, "git", args...)
}

// killAfter is the time that an interrupted program has to end what it started, such as an API server.
const killAfter = time.Minute

// interruptible returns a command in a process group of its own, which gets SIGTERM when ctx ends, so that no process that it
// started is left. A Ctrl-C at the terminal reaches the group through ctx.
func interruptible(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	return cmd
}

// output runs a program with more variables in its environment. Its error has what the program wrote.
func output(ctx context.Context, dir string, env []string, program string, args ...string) (string, error) {
	cmd := interruptible(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", program, strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimRight(string(out), "\n"), nil
}
