package snippets

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// imports maps the name of each package that the documentation uses to its path.
var imports = map[string]string{
	"accounts":        "github.com/regcred/regcred/systemregistry/accounts",
	"acr":             "github.com/regcred/regcred/providers/acr",
	"attribute":       "go.opentelemetry.io/otel/attribute",
	"client":          "sigs.k8s.io/controller-runtime/pkg/client",
	"context":         "context",
	"credentialslog":  "github.com/regcred/regcred/credentials/credentialslog",
	"credentialsotel": "github.com/regcred/regcred/credentials/credentialsotel",
	"credentialsprom": "github.com/regcred/regcred/credentials/credentialsprom",
	"credentials":     "github.com/regcred/regcred/credentials",
	"custom":          "github.com/regcred/regcred/providers/custom",
	"dockerhub":       "github.com/regcred/regcred/providers/dockerhub",
	"ecr":             "github.com/regcred/regcred/providers/ecr",
	"ecrtest":         "github.com/regcred/regcred/providers/ecr/ecrtest",
	"egress":          "github.com/regcred/regcred/egress",
	"errors":          "errors",
	"fake":            "k8s.io/client-go/kubernetes/fake",
	"federated":       "github.com/regcred/regcred/providers/federated",
	"filepath":        "path/filepath",
	"filesystem":      "github.com/distribution/distribution/v3/registry/storage/driver/filesystem",
	"fmt":             "fmt",
	"fs":              "io/fs",
	"gcr":             "github.com/regcred/regcred/providers/gcr",
	"inject":          "github.com/regcred/regcred/inject",
	"injectotel":      "github.com/regcred/regcred/inject/injectotel",
	"injectprom":      "github.com/regcred/regcred/inject/injectprom",
	"json":            "encoding/json",
	"kube":            "github.com/regcred/regcred/inject/kube",
	"manager":         "sigs.k8s.io/controller-runtime/pkg/manager",
	"metric":          "go.opentelemetry.io/otel/metric",
	"mirrors":         "github.com/regcred/regcred/validate/mirrors",
	"os":              "os",
	"profilestore":    "github.com/regcred/regcred/registry/profilestore",
	"prometheus":      "github.com/prometheus/client_golang/prometheus",
	"providers":       "github.com/regcred/regcred/providers",
	"pullsecret":      "github.com/regcred/regcred/pullsecret",
	"regcred":         "github.com/regcred/regcred",
	"registry":        "github.com/regcred/regcred/registry",
	"registrytest":    "github.com/regcred/regcred/registry/registrytest",
	"slog":            "log/slog",
	"store":           "github.com/regcred/regcred/systemregistry/store",
	"subjects":        "github.com/regcred/regcred/providers/subjects",
	"synctest":        "testing/synctest",
	"systemregistry":  "github.com/regcred/regcred/systemregistry",
	"testing":         "testing",
	"time":            "time",
	"trace":           "go.opentelemetry.io/otel/trace",
	"http":            "net/http",
	"rest":            "k8s.io/client-go/rest",
	"corev1":          "k8s.io/api/core/v1",
	"kubernetes":      "k8s.io/client-go/kubernetes",
	"driver":          "github.com/distribution/distribution/v3/registry/storage/driver",
	"validate":        "github.com/regcred/regcred/validate",
	"workload":        "github.com/regcred/regcred/validate/workload",
	"orascredentials": "github.com/regcred/regcred/credentials/orascredentials",
	"ggcr":            "github.com/regcred/regcred/credentials/ggcr",
}

// named are the packages that snippets import themselves.
var named = []string{
	"github.com/distribution/distribution/v3/registry/storage/driver/factory",
	"github.com/distribution/distribution/v3/registry/storage/driver/s3-aws",
	"github.com/regcred/regcred/systemregistry/store/pgstore",
}

// variables maps the names that snippets leave to the reader's program to their types. A page may have others.
var variables = map[string]string{
	"account":          "*corev1.ServiceAccount",
	"body":             "[]byte",
	"bucket":           "driver.StorageDriver",
	"candidates":       "[]validate.Candidate",
	"cache":            "*credentials.Cache",
	"checker":          "*validate.Checker",
	"cluster":          "*kube.Cluster",
	"controller":       "*kube.Controller",
	"credential":       "credentials.Credential",
	"ctx":              "context.Context",
	"data":             "[]byte",
	"dataKey":          "credentials.Secret",
	"dir":              "string",
	"dockerconfigjson": "[]byte",
	"edited":           "registry.Profile",
	"endpoint":         "registry.Endpoint",
	"err":              "error",
	"findings":         "[]mirrors.Finding",
	"first":            "validate.Candidate",
	"image":            "registry.Image",
	"inCluster":        "*http.Client",
	"key":              "credentials.Key",
	"manifest":         "[]byte",
	"meter":            "metric.Meter",
	"mgr":              "manager.Manager",
	"name":             "string",
	"namespace":        "*corev1.Namespace",
	"namespaceOf":      "func(string) string",
	"namespaces":       "[]string",
	"names":            "func([]workload.Image) []string",
	"network":          "*registrytest.Server",
	"node":             "*mirrors.Node",
	"open":             "profilestore.Opener",
	"pipeline":         "*regcred.Pipeline",
	"profile":          "registry.Profile",
	"profiles":         "[]registry.Profile",
	"pullAll":          "[]accounts.Rule",
	"pushTeam":         "[]accounts.Rule",
	"registerer":       "prometheus.Registerer",
	"request":          "regcred.Request",
	"requests":         "[]validate.Request",
	"restConfig":       "*rest.Config",
	"route":            "mirrors.Route",
	"seal":             "profilestore.Sealer",
	"second":           "validate.Candidate",
	"shared":           "store.Store",
	"source":           "credentials.Source",
	"stored":           "registry.Profile",
	"syncer":           "*inject.Syncer",
	"t":                "*testing.T",
	"targets":          "[]inject.Target",
	"tenant":           "string",
	"tokens":           "providers.Subjects",
	"tracer":           "trace.Tracer",
	"w":                "http.ResponseWriter",
}

// pages has the variables of single pages, where a name means something else than elsewhere.
var pages = map[string]map[string]string{
	"docs/acr.md":             {"subjects": "providers.Subjects"},
	"docs/kubernetes.md":      {"client": "kubernetes.Interface"},
	"docs/keyless.md":         {"client": "kubernetes.Interface"},
	"docs/system-recovery.md": {"registry": "*systemregistry.Registry"},
}

// elsewhere are pages whose code is compared with an example, which is compiled.
var elsewhere = []string{"docs/controller.md", "docs/platform.md", "docs/provider.md"}

var (
	fence    = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	ellipsis = regexp.MustCompile(`(?m)^(\s*)\.\.\.`)
	omitted  = regexp.MustCompile(`\{ \.\.\. \}`)
	some     = regexp.MustCompile(`: \.\.\.([,}])`)
	header   = regexp.MustCompile(`(?s)\A(import \(.*?\n\)\n|import "[^"]*"\n)`)
)

// A snippet is code on a page.
type snippet struct {
	page string
	line int
	code string
}

func snippets(t *testing.T) []snippet {
	t.Helper()
	names, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	more, err := filepath.Glob("../../docs/*/*.md")
	require.NoError(t, err)
	var found []snippet
	for _, name := range slices.Concat(names, more) {
		page, err := filepath.Rel("../..", name)
		require.NoError(t, err)
		if slices.Contains(elsewhere, page) {
			continue
		}
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, m := range fence.FindAllSubmatchIndex(text, -1) {
			code := string(text[m[2]:m[3]])
			if strings.HasPrefix(code, "package ") { // A program: internal/doctest compiles it.
				continue
			}
			found = append(found, snippet{page, 1 + strings.Count(string(text[:m[2]]), "\n"), code})
		}
	}
	return found
}

// program returns the snippet as a file of package p. Parts that are left out (...) are empty, and names that are left to
// the reader's program are variables of the package.
func (s snippet) program(t *testing.T) string {
	t.Helper()
	head := header.FindString(s.code)
	code := strings.TrimPrefix(s.code, head)
	code = omitted.ReplaceAllString(code, "{}")
	code = some.ReplaceAllString(code, ": nil$1")
	code = ellipsis.ReplaceAllString(code, "$1")

	forms := []string{"%s", "func _() error {\n%s\npanic(0)\n}"} // Declarations, statements.
	if expr, err := parser.ParseExpr(code); err == nil {
		if _, literal := expr.(*ast.CompositeLit); literal {
			forms = []string{"var _ = %s"}
		}
	}
	var file string
	for _, form := range forms {
		file = fmt.Sprintf(form, code)
		if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+head+file, 0); err == nil {
			break
		}
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+head+file, 0)
	require.NoError(t, err, "%s:%d: not Go", s.page, s.line)

	// Names of packages are those before a dot, and all others may be variables.
	packages, used := make(map[string]bool), make(map[string]bool)
	note := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && imports[x.Name] != "" && pages[s.page][x.Name] == "" {
				packages[x.Name] = true
				return false
			}
		case *ast.Ident:
			used[n.Name] = true
		}
		return true
	}
	ast.Inspect(parsed, note)
	var b strings.Builder
	vars := maps.Clone(variables)
	maps.Copy(vars, pages[s.page])
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if used[name] && !packages[name] {
			declaration := "var " + name + " " + vars[name] + "\n"
			typed, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+declaration, 0)
			require.NoError(t, err)
			ast.Inspect(typed, note) // The packages of its type.
			b.WriteString(declaration)
		}
	}
	var top strings.Builder
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		if !strings.Contains(head, "/"+name+`"`) {
			fmt.Fprintf(&top, "import %s %q\n", name, imports[name])
		}
	}
	return "package p\n\n" + head + top.String() + "\n" + b.String() + "\n" + file
}

// TestSnippets compiles all Go code of the documentation. What only a whole program needs is not required: a variable may
// be unused, and assigned twice.
func TestSnippets(t *testing.T) {
	all := snippets(t)
	require.Greater(t, len(all), 30)
	exports := exportData(t)
	for _, s := range all {
		text := s.program(t)
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, "snippet.go", text, 0)
		require.NoError(t, err)
		config := types.Config{
			Importer: importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) {
				if exports[path] == "" {
					return nil, fmt.Errorf("add %s to imports or named", path)
				}
				return os.Open(exports[path])
			}),
			Error: func(err error) {
				var problem types.Error
				if errors.As(err, &problem) && !tolerated(problem) {
					t.Errorf("%s:%d: %s\n%s", s.page, s.line, problem.Msg, text)
				}
			},
		}
		_, _ = config.Check("p", set, []*ast.File{file}, nil) // Error has all errors.
	}
}

// exportData returns the file with the compiler's description of each package that the documentation may use.
func exportData(t *testing.T) map[string]string {
	t.Helper()
	arguments := slices.Concat([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}, slices.Collect(maps.Values(imports)), named)
	command := exec.CommandContext(t.Context(), "go", arguments...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	require.NoError(t, err)
	found := make(map[string]string)
	for line := range strings.Lines(string(output)) {
		if path, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			found[path] = file
		}
	}
	return found
}

// tolerated reports whether an error comes only from the snippet not being a whole program.
func tolerated(err types.Error) bool {
	return err.Soft || strings.Contains(err.Msg, "no new variables")
}
