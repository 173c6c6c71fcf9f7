// Command apicheck judges the incompatible changes of the API since the last release, which scripts/api -check finds.
// Its input has a line "module PATH" for each module, and below it the output of apidiff -m -incompatible.
//
//   - Before v1, a minor version may change the API, if CHANGELOG.md declares it: below "### Breaking" in the sections
//     since the last release, it names the path of each package with an incompatible change in backquotes.
//   - A patch version, and any version from v1 on, has no incompatible change.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

func main() {
	last := flag.String("last", "", "the last `version`")
	next := flag.String("next", "", "the `version` to release; if empty, one that may have any number")
	changelog := flag.String("changelog", "CHANGELOG.md", "the `file`")
	root := flag.String("root", "", "the `path` of the root module")
	flag.Parse()
	text, err := os.ReadFile(*changelog)
	if err == nil {
		err = check(os.Stdin, os.Stdout, *root, *last, *next, string(text))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "apicheck:", err)
		os.Exit(1)
	}
}

func check(changes io.Reader, out io.Writer, root, last, next, changelog string) error {
	found, err := read(changes, root)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		fmt.Fprintf(out, "no incompatible changes since %s\n", last)
		return nil
	}
	var packages []string
	for _, c := range found {
		fmt.Fprintf(out, "%s: %s\n", c.pkg, c.text)
		if !slices.Contains(packages, c.pkg) {
			packages = append(packages, c.pkg)
		}
	}
	if semver.Compare(last, "v1.0.0") >= 0 {
		return fmt.Errorf("the API of %s is stable: undo the incompatible changes, or give the modules other paths", last)
	}
	if next != "" && semver.MajorMinor(next) == semver.MajorMinor(last) {
		return fmt.Errorf("%s has incompatible changes since %s: release a minor version", next, last)
	}
	breaking := breaking(changelog, last)
	var missing []string
	for _, p := range packages {
		if !strings.Contains(breaking, "`"+p+"`") {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("CHANGELOG.md has to say below \"### Breaking\" what users of these packages change; it does not name `%s`",
			strings.Join(missing, "`, `"))
	}
	return nil
}

// A change is an incompatible one in a package, which has its path below the root module, or that module's last element.
type change struct{ pkg, text string }

func read(changes io.Reader, root string) ([]change, error) {
	if root == "" {
		return nil, errors.New("-root is missing")
	}
	var found []change
	module := ""
	scanner := bufio.NewScanner(changes)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if name, ok := strings.CutPrefix(scanner.Text(), "module "); ok {
			module = name
			continue
		}
		text, ok := strings.CutPrefix(scanner.Text(), "- ")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(text, ": ")
		full := module
		if removed, ok := strings.CutPrefix(name, "package "); ok {
			full = removed
		} else if inside, ok := strings.CutPrefix(name, "./"); ok {
			slash := strings.LastIndex(inside, "/") + 1
			last, _, _ := strings.Cut(inside[slash:], ".")
			full = path.Join(module, inside[:slash]+last)
		}
		pkg := strings.TrimPrefix(full, root+"/")
		if full == root {
			pkg = path.Base(root)
		}
		found = append(found, change{pkg, text})
	}
	return found, scanner.Err()
}

// breaking returns the text below "### Breaking" in the sections above the section of the last version.
func breaking(changelog, last string) string {
	recent, _, _ := strings.Cut(changelog, "\n## "+strings.TrimPrefix(last, "v"))
	var b strings.Builder
	inside := false
	for line := range strings.Lines(recent) {
		if strings.HasPrefix(line, "#") {
			inside = strings.HasPrefix(line, "### Breaking")
		} else if inside {
			b.WriteString(line)
		}
	}
	return b.String()
}
