package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A release is made in a clone of the repository.
type release struct {
	version, repo, tree, temp string
	branch                    string
	settings                  []string // Variables of the go command.
	proxy                     proxy
	modules                   []mod // Each after those that it requires.
	hashes                    map[string]string
}

func (r *release) released() []mod {
	var list []mod
	for _, m := range r.modules {
		if tagged(m.dir) {
			list = append(list, m)
		}
	}
	return list
}

func (r *release) siblings() map[string]mod {
	found := make(map[string]mod)
	for _, m := range r.modules {
		found[m.path] = m
	}
	return found
}

var identity = regexp.MustCompile(`^(.*) <(.*)> \d+ [+-]\d+$`)

// clone makes a clone that shares the objects of the repository, with the branch and the identity of the caller.
func (r *release) clone(ctx context.Context) (err error) {
	if r.branch, err = git(ctx, r.repo, "branch", "--show-current"); err != nil {
		return err
	}
	if _, err := git(ctx, r.temp, "clone", "--quiet", "--shared", "--no-tags", r.repo, r.tree); err != nil {
		return err
	}
	ident, err := git(ctx, r.repo, "var", "GIT_COMMITTER_IDENT")
	if err != nil {
		return err
	}
	if m := identity.FindStringSubmatch(ident); m != nil {
		for key, value := range map[string]string{"user.name": m[1], "user.email": m[2]} {
			if _, err := git(ctx, r.tree, "config", key, value); err != nil {
				return err
			}
		}
	}
	if r.modules, err = readModules(ctx, r.tree); err != nil {
		return err
	}
	return r.findSettings(ctx)
}

// rewrite makes the tree that is tagged. The modules that others require come first, because the go.sum of the others
// has their hashes.
func (r *release) rewrite(ctx context.Context) error {
	if err := r.changelog(func(text string) (string, error) { return datedChangelog(text, r.version, r.proxy.at) }); err != nil {
		return err
	}
	if err := r.forgetModules(); err != nil {
		return err
	}
	siblings := r.siblings()
	r.hashes = make(map[string]string)
	for _, m := range r.modules {
		if err := r.writeGoMod(m, siblings, tagged(m.dir)); err != nil {
			return err
		}
		if !tagged(m.dir) {
			continue
		}
		dir := filepath.Join(r.tree, m.dir)
		if len(m.requires) > 0 {
			// It adds the hashes of the siblings to go.sum.
			if _, err := r.goTool(ctx, dir, "mod", "tidy"); err != nil {
				return err
			}
		}
		if err := r.checkRequirements(m, siblings); err != nil {
			return err
		}
		if _, err := git(ctx, r.tree, "add", "--all"); err != nil {
			return err
		}
		tree, err := git(ctx, r.tree, "write-tree")
		if err != nil {
			return err
		}
		if r.hashes[m.path], err = r.proxy.add(m.at(r.version), r.tree, tree, m.dir); err != nil {
			return err
		}
		fmt.Println(m.tag(r.version), r.hashes[m.path])
	}
	return nil
}

// checkRequirements fails if a go.mod that is to be tagged names a sibling in another version, or replaces anything, or
// if its go.sum has not the hash of each sibling.
func (r *release) checkRequirements(m mod, siblings map[string]mod) error {
	file, err := readGoMod(r.tree, filepath.Join(m.dir, "go.mod"))
	if err != nil {
		return err
	}
	if len(file.Replace) > 0 {
		return fmt.Errorf("%s has replace lines", m.path)
	}
	var sums []byte
	if len(m.requires) > 0 {
		if sums, err = os.ReadFile(filepath.Join(r.tree, m.dir, "go.sum")); err != nil {
			return err
		}
	}
	for _, required := range file.Require {
		if _, own := siblings[required.Mod.Path]; !own {
			continue
		}
		if required.Mod.Version != r.version {
			return fmt.Errorf("%s requires %s", m.path, required.Mod)
		}
		line := required.Mod.Path + " " + r.version + " " + r.hashes[required.Mod.Path] + "\n"
		if !strings.Contains(string(sums), line) {
			return fmt.Errorf("go.sum of %s has not the line %s", m.path, line)
		}
	}
	return nil
}

func (r *release) writeGoMod(m mod, siblings map[string]mod, forUsers bool) error {
	name := filepath.Join(m.dir, "go.mod")
	file, err := readGoMod(r.tree, name)
	if err != nil {
		return err
	}
	if err := require(file, siblings, r.version, forUsers); err != nil {
		return err
	}
	data, err := file.Format()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.tree, name), data, 0o644)
}

func (r *release) changelog(edit func(string) (string, error)) error {
	name := filepath.Join(r.tree, "CHANGELOG.md")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	edited, err := edit(string(text))
	if err != nil {
		return err
	}
	return os.WriteFile(name, []byte(edited), 0o644)
}

// commit makes the commit that is tagged, and after it the one that development continues from: with the same
// requirements, so that go get works at a branch too, and with the replacements again.
func (r *release) commit(ctx context.Context) error {
	run := func(args ...string) error {
		_, err := git(ctx, r.tree, args...)
		return err
	}
	if err := run("commit", "--quiet", "--all", "--message", "release: "+r.version); err != nil {
		return err
	}
	for _, m := range r.released() {
		if err := run("tag", "--annotate", "--message", m.path+" "+r.version, m.tag(r.version)); err != nil {
			return err
		}
	}
	siblings := r.siblings()
	for _, m := range r.released() {
		if len(m.requires) == 0 {
			continue
		}
		for _, name := range []string{m.dir + "/go.mod", m.dir + "/go.sum"} {
			if err := run("checkout", "--quiet", "HEAD^", "--", name); err == nil {
				continue
			}
			if err := run("rm", "--quiet", "--force", "--", name); err != nil { // It had no go.sum.
				return err
			}
		}
		if err := r.writeGoMod(m, siblings, false); err != nil {
			return err
		}
	}
	if err := r.changelog(func(text string) (string, error) { return openedChangelog(text), nil }); err != nil {
		return err
	}
	if err := run("commit", "--quiet", "--all", "--message", "release: continue after "+r.version,
		"--message", "The relative replace lines, which the tagged commit has not, are back."); err != nil {
		return err
	}
	for _, m := range r.modules { // The commit for development is tidy.
		if len(m.requires) == 0 {
			continue
		}
		if _, err := output(ctx, filepath.Join(r.tree, m.dir), []string{"GOWORK=off"}, "go", "mod", "tidy", "-diff"); err != nil {
			return err
		}
	}
	return run("checkout", "--quiet", r.version)
}

// compareDirect downloads each module from its tag, as a module proxy does, and compares the hashes with those in
// go.sum.
func (r *release) compareDirect(ctx context.Context) error {
	root := r.modules[0].path
	env := append(r.env(), "GONOPROXY="+root, "GOMODCACHE="+filepath.Join(r.temp, "direct"),
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://"+r.tree+".insteadOf", "GIT_CONFIG_VALUE_0=https://"+root)
	for _, m := range r.released() {
		out, err := output(ctx, r.temp, env, "go", "mod", "download", "-json", m.at(r.version).String())
		if err != nil {
			return err
		}
		var got struct{ Sum string }
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			return err
		}
		if got.Sum != r.hashes[m.path] {
			return fmt.Errorf("%s has the hash %s at its tag, and %s in go.sum", m.path, got.Sum, r.hashes[m.path])
		}
	}
	return nil
}

// build builds and vets each released module, with its siblings from the proxy.
func (r *release) build(ctx context.Context) error {
	for _, m := range r.released() {
		fmt.Println(m.path)
		for _, command := range []string{"build", "vet"} {
			if _, err := r.goTool(ctx, filepath.Join(r.tree, m.dir), command, "-mod=readonly", "./..."); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep takes the commits and tags over into the repository.
func (r *release) keep(ctx context.Context) error {
	if _, err := git(ctx, r.repo, "fetch", "--quiet", "--no-tags", r.tree, r.branch); err != nil {
		return err
	}
	if _, err := git(ctx, r.repo, "merge", "--quiet", "--ff-only", "FETCH_HEAD"); err != nil {
		return err
	}
	args := []string{"fetch", "--quiet", "--no-tags", r.tree}
	var tags []string
	for _, m := range r.released() {
		tag := m.tag(r.version)
		tags = append(tags, tag)
		args = append(args, "refs/tags/"+tag+":refs/tags/"+tag)
	}
	if _, err := git(ctx, r.repo, args...); err != nil {
		return err
	}
	fmt.Printf("\nThe commits are on %s. Nothing was pushed. To publish, run\n\n\t%s\n", r.branch, strings.Join(pushes(r.branch, r.version, tags), "\n\t"))
	return nil
}

// pushes returns the commands that publish a release. The root's tag, which the release workflow waits for, is pushed
// last and alone: GitHub creates no events for tags when more than three of them are pushed at once.
// https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows#push
func pushes(branch, root string, tags []string) []string {
	nested := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return tag == root })
	first := append([]string{"git push --atomic origin", branch}, nested...)
	return []string{strings.Join(first, " "), "git push origin " + root}
}
