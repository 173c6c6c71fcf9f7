package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// A mod is a module of the repository.
type mod struct {
	path     string // As in its go.mod.
	dir      string // From the root of the repository; "" for the root module.
	requires []string
}

// tagged reports whether a module in a folder is meant for import, so that it gets a tag.
func tagged(dir string) bool {
	for i, element := range strings.Split(dir, "/") {
		if element == "internal" || i == 0 && (element == "tools" || element == "benchmarks" || element == "examples") {
			return false
		}
	}
	return true
}

func (m mod) tag(version string) string { return path.Join(m.dir, version) }

// readModules returns the modules of a tree whose paths begin with the path of the root, each after those that it
// requires.
func readModules(ctx context.Context, tree string) ([]mod, error) {
	files, err := git(ctx, tree, "ls-files", "--", "go.mod", "*/go.mod")
	if err != nil {
		return nil, err
	}
	found := make(map[string]mod)
	root := ""
	for _, name := range strings.Fields(files) {
		file, err := readGoMod(tree, name)
		if err != nil {
			return nil, err
		}
		m := mod{path: file.Module.Mod.Path, dir: strings.TrimSuffix(strings.TrimSuffix(name, "go.mod"), "/")}
		if m.dir == "" {
			root = m.path
		}
		for _, r := range file.Require {
			m.requires = append(m.requires, r.Mod.Path)
		}
		found[m.path] = m
	}
	// A module with another path replaces a dependency.
	maps.DeleteFunc(found, func(p string, m mod) bool { return p != root && p != root+"/"+m.dir })
	for p, m := range found {
		m.requires = slices.DeleteFunc(m.requires, func(r string) bool { return found[r].path == "" })
		found[p] = m
	}
	return sorted(found)
}

// sorted returns the modules, each after those that it requires.
func sorted(all map[string]mod) ([]mod, error) {
	var list []mod
	done := make(map[string]bool)
	for len(list) < len(all) {
		before := len(list)
		var names []string
		for p, m := range all {
			if !done[p] && !slices.ContainsFunc(m.requires, func(r string) bool { return !done[r] }) {
				names = append(names, p)
			}
		}
		slices.Sort(names)
		for _, p := range names {
			done[p] = true
			list = append(list, all[p])
		}
		if len(list) == before {
			return nil, errors.New("modules require each other in a circle")
		}
	}
	return list, nil
}

func readGoMod(tree, name string) (*modfile.File, error) {
	data, err := os.ReadFile(filepath.Join(tree, name))
	if err != nil {
		return nil, err
	}
	return modfile.Parse(name, data, nil)
}

// require sets the version of each sibling that a go.mod requires. If it is for users, it removes the replacements,
// which must all be of siblings: a user's build ignores them, so anything else would be built from other code here.
func require(file *modfile.File, siblings map[string]mod, version string, forUsers bool) error {
	for _, r := range slices.Clone(file.Require) {
		sibling, own := siblings[r.Mod.Path]
		if !own {
			continue
		}
		if forUsers && !tagged(sibling.dir) {
			return fmt.Errorf("%s requires %s, which gets no tag", file.Module.Mod.Path, r.Mod.Path)
		}
		if err := file.AddRequire(r.Mod.Path, version); err != nil {
			return err
		}
	}
	if forUsers {
		for _, r := range slices.Clone(file.Replace) {
			if _, own := siblings[r.Old.Path]; !own {
				return fmt.Errorf("%s replaces %s: its users do not", file.Module.Mod.Path, r.Old.Path)
			}
			if err := file.DropReplace(r.Old.Path, r.Old.Version); err != nil {
				return err
			}
		}
	}
	file.Cleanup()
	return nil
}

func (m mod) at(version string) module.Version { return module.Version{Path: m.path, Version: version} }
