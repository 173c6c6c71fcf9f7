package archtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/regcred/regcred"

// arrows lists the packages that each package of the root module may import beside the standard library. An arrow
// points at a package of this module, by its path from the root, or at all packages below a path of another module. "."
// is the root package, and * matches one part of a path.
const arrows = `
	field                          ->
	credentials                    -> field internal/option internal/panics internal/stray
	registry/internal/document     -> field credentials
	egress                         -> internal/option
	registry                       -> field credentials egress registry/internal/document internal/panics
	registry/profilestore          -> credentials registry registry/internal/document
	registry/vendors               -> registry
	registry/profilefile           -> field internal/stray registry registry/internal/document                      go.yaml.in/yaml/v3

	providers                      -> field credentials registry
	providers/dockerhub            -> field credentials registry providers
	providers/custom               -> field credentials registry providers
	providers/internal/cloud       -> registry internal/option
	providers/ecr                  -> field credentials registry providers providers/internal/cloud providers/internal/subject      github.com/aws
	providers/gcr                  -> field credentials registry providers providers/internal/cloud providers/internal/subject      golang.org/x/oauth2
	providers/internal/subject     -> field credentials registry providers internal/option providers/internal/cloud
	providers/subjects             -> credentials registry providers providers/internal/cloud
	providers/federated            -> field credentials registry providers providers/internal/cloud providers/internal/subject
	providers/acr                  -> field credentials registry providers providers/internal/cloud providers/internal/subject golang.org/x/oauth2
	providers/system               -> field credentials registry providers providers/internal/cloud internal/option
	validate                       -> credentials egress registry internal/option internal/panics                github.com/google/go-containerregistry golang.org/x/net
	validate/workload              -> registry                            go.yaml.in/yaml/v3
	pullsecret                     -> field credentials registry internal/stray
	inject                         -> field credentials registry pullsecret internal/option internal/panics

	.                              -> field credentials egress internal/option registry providers providers/dockerhub providers/custom providers/system validate pullsecret

	helper                         -> field credentials registry registry/profilestore providers pullsecret

	credentials/credentialslog     -> credentials
	credentials/dockerconfig       -> credentials registry                github.com/docker/cli github.com/docker/docker-credential-helpers
	credentials/ggcr               -> credentials registry internal/panics github.com/google/go-containerregistry
	credentials/oauth2source       -> credentials internal/panics         golang.org/x/oauth2

	credentials/credentialstest    -> credentials
	registry/registrytest          -> credentials registry internal/option internal/testcert
	registry/registrytest/probe    -> credentials registry registry/registrytest internal/option validate
	registry/registrytest/fakenet  -> registry registry/registrytest internal/testcert
	providers/providerstest        -> field credentials registry providers
	providers/issuertest           ->                                     github.com/go-jose/go-jose/v4
	providers/federated/federatedtest -> providers/issuertest registry/registrytest
	providers/acr/acrtest          -> credentials providers/issuertest registry/registrytest
	providers/ecr/ecrtest          -> credentials providers/issuertest internal/option providers/ecr registry/registrytest registry/registrytest/fakenet
	providers/gcr/gcrtest          -> credentials providers/issuertest registry registry/registrytest registry/registrytest/fakenet
	inject/injecttest              -> credentials registry pullsecret inject internal/option

	examples/*                     -> . * */* */*/*
	internal/archtest              ->
	internal/doctest               ->
	internal/option                ->
	internal/panics                ->
	internal/stray                 ->
	internal/scenario              ->
	internal/testcert              ->
	internal/testdns               ->
	internal/testtool              ->
`

// These packages depend only on the standard library and each other, including their indirect imports.
var standardLibraryOnly = []string{
	"./field", "./credentials", "./credentials/credentialslog", "./credentials/credentialstest", "./egress", "./registry",
	"./registry/profilestore", "./registry/vendors", "./providers", "./providers/dockerhub", "./providers/custom", "./providers/system",
	"./providers/federated", "./providers/subjects", "./providers/providerstest",
}

// The folders of the modules that may require a version of Kubernetes.
var kubernetesModules = []string{"inject/kube", "inject/kube/*", "examples/*", "internal/*", "internal/runtimes/*", "benchmarks/*"}

// A pkg is a package as printed by go list.
type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func goList(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e", "-json=ImportPath,Imports,Standard"}, args...)...)
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var list []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return list
		}
		require.NoError(t, err)
		list = append(list, p)
	}
}

// root returns the folder of the module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	return dir
}

// ignored reports whether the go command ignores a folder because of its name: it may hold anything.
func ignored(folder fs.DirEntry) bool {
	return strings.HasPrefix(folder.Name(), ".") || strings.HasPrefix(folder.Name(), "_")
}

// short returns the path of a package from the root of this module, and whether the package belongs to this module.
func short(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// table returns arrows by their starting points.
func table(t *testing.T) map[string][]string {
	t.Helper()
	allowed := make(map[string][]string)
	for line := range strings.Lines(arrows) {
		from, to, ok := strings.Cut(strings.TrimSpace(line), "->")
		if !ok {
			require.Empty(t, from)
			continue
		}
		allowed[strings.TrimSpace(from)] = strings.Fields(to)
	}
	return allowed
}

func matches(pattern, name string) bool {
	ok, _ := path.Match(pattern, name)
	return ok
}

func TestImports(t *testing.T) {
	allowed := table(t)
	for _, p := range goList(t, "./...") {
		name, ok := short(p.ImportPath)
		require.True(t, ok, p.ImportPath)
		var to []string
		found := false
		for from := range allowed {
			if matches(from, name) {
				to, found = allowed[from], true
			}
		}
		if !found {
			t.Errorf("package %s is not in the table of internal/archtest: say what it may import", name)
		}
		for _, imported := range p.Imports {
			if !mayImport(to, imported) {
				t.Errorf("package %s imports %s: the table of internal/archtest has no such arrow", name, imported)
			}
		}
	}
}

func mayImport(allowed []string, imported string) bool {
	if _, own := short(imported); !own && !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
		return true // The standard library.
	}
	return slices.ContainsFunc(allowed, func(arrow string) bool { return pointsAt(arrow, imported) })
}

func pointsAt(arrow, imported string) bool {
	if name, own := short(imported); own {
		return matches(arrow, name)
	}
	return imported == arrow || strings.HasPrefix(imported, arrow+"/")
}

// TestArrowsAreUsed rejects arrows that no code needs, or only tests need: tests may import any package.
func TestArrowsAreUsed(t *testing.T) {
	packages := goList(t, "./...")
	for from, to := range table(t) {
		for _, arrow := range to {
			used := slices.ContainsFunc(packages, func(p pkg) bool {
				name, _ := short(p.ImportPath)
				return matches(from, name) &&
					slices.ContainsFunc(p.Imports, func(imported string) bool { return pointsAt(arrow, imported) })
			})
			if !used {
				t.Errorf("no code of %s imports %s: the table of internal/archtest needs no such arrow", from, arrow)
			}
		}
	}
}

func TestMayImport(t *testing.T) {
	allowed := []string{".", "registry", "providers/*", "github.com/aws"}
	for imported, want := range map[string]bool{
		"net/http":                    true,
		"C":                           true,
		module:                        true,
		module + "/registry":          true,
		module + "/providers/ecr":     true,
		"github.com/aws/smithy-go":    true,
		module + "/registry/internal": false,
		module + "/providers":         false,
		module + "/credentials":       false,
		"github.com/awslabs/x":        false,
		"golang.org/x/sync":           false,
	} {
		require.Equal(t, want, mayImport(allowed, imported), imported)
	}
}

func TestStandardLibraryOnly(t *testing.T) {
	for _, pattern := range standardLibraryOnly {
		deps := goList(t, "-deps", pattern)
		require.Greater(t, len(deps), 1, "no package %s", pattern)
		for _, dep := range deps {
			if _, own := short(dep.ImportPath); !own && !dep.Standard {
				t.Errorf("package %s compiles %s", pattern, dep.ImportPath)
			}
		}
	}
}

// TestModules rejects requirements that would force a version of Kubernetes on users in all but a few modules, and
// replacements in the root module, which users would not get.
func TestModules(t *testing.T) {
	err := filepath.WalkDir(root(t), func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && file != root(t) && ignored(entry) {
			return fs.SkipDir
		}
		if entry.Name() != "go.mod" {
			return nil
		}
		dir, err := filepath.Rel(root(t), filepath.Dir(file))
		if err != nil {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		mayNameKubernetes := slices.ContainsFunc(kubernetesModules, func(pattern string) bool { return matches(pattern, filepath.ToSlash(dir)) })
		if strings.Contains(string(text), "k8s.io/") && !mayNameKubernetes {
			t.Errorf("%s/go.mod names k8s.io: its versions break users (docs/decisions.md)", dir)
		}
		if dir == "." && strings.Contains(string(text), "replace ") {
			t.Error("the root's go.mod replaces a module: its users do not")
		}
		return nil
	})
	require.NoError(t, err)
}

// TestNoWorkspace rejects a go.work file, which would select one version of each dependency for all modules.
func TestNoWorkspace(t *testing.T) {
	_, err := os.Stat(filepath.Join(root(t), "go.work"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}
