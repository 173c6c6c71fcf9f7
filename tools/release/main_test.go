package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var day = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestChangelog(t *testing.T) {
	const text = "# Changelog\n\nWords.\n\n## Unreleased\n\n### Area\n\n- New.\n\n## 0.1.0 - 2025-01-01\n\n- First.\n"
	dated, err := datedChangelog(text, "v0.2.0", day)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(text, "Unreleased", "0.2.0 - 2026-01-02", 1); dated != want {
		t.Errorf("got %q: expected %q", dated, want)
	}
	opened := openedChangelog(dated)
	if want := strings.Replace(dated, "## 0.2.0", "## Unreleased\n\n## 0.2.0", 1); opened != want {
		t.Errorf("got %q: expected %q", opened, want)
	}
	for _, bad := range []string{opened, "# Changelog\n\n## 0.1.0\n\n- Old.\n"} {
		if _, err := datedChangelog(bad, "v0.3.0", day); err == nil {
			t.Errorf("there is nothing to release: %q", bad)
		}
	}
}

func TestTagged(t *testing.T) {
	for dir, want := range map[string]bool{
		"": true, "inject/kube": true, "systemregistry/store/pgstore": true, "internal/e2e": false, "tools": false,
		"systemregistry/internal/conformance": false, "examples/operator": false, "benchmarks/kube": false, "inject/tools": true,
	} {
		if tagged(dir) != want {
			t.Errorf("tagged(%q) is %t", dir, !want)
		}
	}
	if tag := (mod{dir: "inject/kube"}).tag("v0.1.0"); tag != "inject/kube/v0.1.0" {
		t.Error(tag)
	}
	if tag := (mod{}).tag("v0.1.0"); tag != "v0.1.0" {
		t.Error(tag)
	}
}

// GitHub starts no workflow for a tag that is pushed together with more than two others.
func TestPushes(t *testing.T) {
	got := pushes("trunk", "v0.1.0", []string{"v0.1.0", "a/v0.1.0", "a/b/v0.1.0", "c/v0.1.0"})
	want := []string{"git push --atomic origin trunk a/v0.1.0 a/b/v0.1.0 c/v0.1.0", "git push origin v0.1.0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q: expected %q", got, want)
	}
}

// A repository has three modules to release, and one that is not for import.
func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"LICENSE": "Free.\n", "m.go": "package m\n", "CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n- All.\n",
		"go.mod":        "module github.com/example/m\n\ngo 1.26\n",
		"a/go.mod":      "module github.com/example/m/a\n\ngo 1.26\n\nrequire github.com/example/m v0.0.0\n\nreplace github.com/example/m => ../\n",
		"a/a.go":        "package a\n\nimport _ \"github.com/example/m\"\n",
		"a/b/go.mod":    "module github.com/example/m/a/b\n\ngo 1.26\n\nrequire github.com/example/m/a v0.0.0\n\nrequire github.com/example/m v0.0.0 // indirect\n\nreplace (\n\tgithub.com/example/m => ../../\n\tgithub.com/example/m/a => ../\n)\n",
		"a/b/b.go":      "package b\n\nimport _ \"github.com/example/m/a\"\n",
		"tools/go.mod":  "module github.com/example/m/tools\n\ngo 1.26\n\nrequire github.com/example/m v0.0.0\n\nreplace github.com/example/m => ../\n",
		"tools/main.go": "package main\n\nimport _ \"github.com/example/m\"\n\nfunc main() {}\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=trunk"}, {"config", "user.name", "A"}, {"config", "user.email", "a@example.com"},
		{"add", "--all"}, {"commit", "--quiet", "--message", "first"},
	} {
		if _, err := git(t.Context(), dir, args...); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// newRelease returns the release of v0.1.0 after the steps that need nothing from a network.
func newRelease(t *testing.T, repo string) (*release, error) {
	t.Helper()
	t.Setenv("GOPROXY", "off")
	temp := t.TempDir()
	r := &release{
		version: "v0.1.0", repo: repo, tree: filepath.Join(temp, "tree"), temp: temp,
		proxy: proxy{dir: filepath.Join(temp, "proxy"), at: day},
	}
	for _, step := range []func(context.Context) error{r.clone, r.rewrite, r.commit, r.compareDirect, r.build, r.keep} {
		if err := step(t.Context()); err != nil {
			return r, err
		}
	}
	return r, nil
}

func TestRelease(t *testing.T) {
	repo := repository(t)
	if _, err := newRelease(t, repo); err != nil {
		t.Fatal(err)
	}
	show := func(object string) string {
		text, err := git(t.Context(), repo, "show", object)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	tags, err := git(t.Context(), repo, "tag")
	if err != nil || tags != "a/b/v0.1.0\na/v0.1.0\nv0.1.0" {
		t.Errorf("tags %q, %v", tags, err)
	}
	for name, want := range map[string][]string{
		"a/b/v0.1.0:a/b/go.mod":    {"github.com/example/m/a v0.1.0", "github.com/example/m v0.1.0 // indirect"},
		"a/b/v0.1.0:a/b/go.sum":    {"github.com/example/m v0.1.0 h1:", "github.com/example/m/a v0.1.0 h1:", "github.com/example/m/a v0.1.0/go.mod h1:"},
		"v0.1.0:CHANGELOG.md":      {"## 0.1.0 - 2026-01-02"},
		"v0.1.0:tools/go.mod":      {"github.com/example/m v0.1.0", "replace github.com/example/m => ../"},
		"trunk:a/b/go.mod":         {"github.com/example/m/a v0.1.0", "github.com/example/m => ../../"},
		"trunk:CHANGELOG.md":       {"## Unreleased\n\n## 0.1.0"},
		"trunk~2:a/go.mod":         {"v0.0.0"},
		"v0.1.0^{commit}^:m.go":    {"package m"},
		"trunk^:a/go.mod":          {"github.com/example/m v0.1.0"},
		"a/v0.1.0^{commit}:a/a.go": {"package a"},
	} {
		for _, part := range want {
			if text := show(name); !strings.Contains(text, part) {
				t.Errorf("%s has not %q:\n%s", name, part, text)
			}
		}
	}
	for _, name := range []string{"a/v0.1.0:a/go.mod", "a/b/v0.1.0:a/b/go.mod"} {
		if text := show(name); strings.Contains(text, "replace") {
			t.Errorf("%s has replace lines:\n%s", name, text)
		}
	}
	if status, err := git(t.Context(), repo, "status", "--porcelain"); err != nil || status != "" && status != "?? .cache/" {
		t.Errorf("the working tree has changes: %q, %v", status, err)
	}
	last, err := lastVersion(t.Context(), repo)
	if err != nil || last != "v0.1.0" || next(last) != "v0.2.0-rehearsal" {
		t.Errorf("the last version is %q, %v", last, err)
	}
	if err := check(t.Context(), repo, "v0.1.0", last, false); err == nil {
		t.Error("a version is released once")
	}
}

// A module that users would build from other code than the tests is not released.
func TestReleaseRefuses(t *testing.T) {
	for name, edit := range map[string][2]string{
		"replaces example.com/other": {"a/go.mod", "module github.com/example/m/a\n\ngo 1.26\n\nreplace example.com/other => ../other\n"},
		"which gets no tag":          {"a/go.mod", "module github.com/example/m/a\n\ngo 1.26\n\nrequire github.com/example/m/tools v0.0.0\n"},
		"has nothing below":          {"CHANGELOG.md", "# Changelog\n\n## Unreleased\n"},
	} {
		repo := repository(t)
		if err := os.WriteFile(filepath.Join(repo, edit[0]), []byte(edit[1]), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := check(t.Context(), repo, "v0.1.0", "", false); err == nil {
			t.Errorf("%s: the change is not committed", name)
		}
		if _, err := git(t.Context(), repo, "commit", "--quiet", "--all", "--message", "second"); err != nil {
			t.Fatal(err)
		}
		if _, err := newRelease(t, repo); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: expected %q", err, name)
		}
		if tags, err := git(t.Context(), repo, "tag"); err != nil || tags != "" {
			t.Errorf("tags %q, %v", tags, err)
		}
	}
}

// The end of the context ends what a program started as well: Wait waits for it, because it has the output, but not for
// longer than WaitDelay.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := interruptible(ctx, "sh", "-c", "sleep 30 & echo started; wait")
	cmd.WaitDelay = 10 * time.Second
	reader, writer := io.Pipe()
	cmd.Stdout = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(reader).ReadString('\n'); err != nil || line != "started\n" {
		t.Errorf("the program printed %q, %v", line, err)
	}
	cancel()
	began := time.Now()
	if err := cmd.Wait(); err == nil || err.Error() != "signal: terminated" {
		t.Errorf("the program ended with %v", err)
	}
	if time.Since(began) >= cmd.WaitDelay {
		t.Error("a process was left")
	}
}

func TestVersions(t *testing.T) {
	for _, bad := range []string{"0.1.0", "v0.1", "v2.0.0", "v0.1.0+build", ""} {
		if err := check(t.Context(), "", bad, "", true); err == nil {
			t.Errorf("%q is no version", bad)
		}
	}
	if err := check(t.Context(), "", "v0.1.9", "v0.2.0", true); err == nil {
		t.Error("a version is later than the last one")
	}
}
