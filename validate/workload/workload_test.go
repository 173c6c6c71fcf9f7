package workload_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate/workload"
)

func Example() {
	manifest := []byte(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      imagePullSecrets: [{name: regcred}]
      initContainers:
      - {name: migrate, image: ghcr.io/shop/migrate:7}
      containers:
      - {name: web, image: "ghcr.io/shop/web:1.4"}
      - {name: cache, image: redis}
`)
	images, err := workload.Images(manifest)
	if err != nil {
		panic(err)
	}
	for _, i := range images {
		fmt.Println(i.Image, "in", i.Place)
	}
	// Output:
	// ghcr.io/shop/migrate:7 in Deployment shop/web, spec.template.spec.initContainers[0].image, line 10
	// ghcr.io/shop/web:1.4 in Deployment shop/web, spec.template.spec.containers[0].image, line 12
	// docker.io/library/redis:latest in Deployment shop/web, spec.template.spec.containers[1].image, line 13
}

// testdata/all.yaml has every kind that creates pods, and objects that only look like one.
func TestPods(t *testing.T) {
	data, err := os.ReadFile("testdata/all.yaml")
	require.NoError(t, err)
	pods, err := workload.Pods(data)
	require.NoError(t, err)
	var got []string
	for _, p := range pods {
		at := p.Place
		got = append(got, fmt.Sprintf("%d %s %s %s [%s] %q",
			at.Document, at.Kind, at.Name, at.Path, p.ServiceAccount, p.PullSecrets))
		for _, i := range p.Images {
			got = append(got, "  "+i.Name+" "+i.Place.Path)
			line := strings.Split(string(data), "\n")[i.Place.Line-1]
			require.True(t, strings.Contains(line, i.Name) || strings.Contains(line, "&web"), "%s is not in line %d: %s", i.Name, i.Place.Line, line)
		}
	}
	want, err := os.ReadFile("testdata/all.txt")
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(want)), strings.Join(got, "\n"))
}

func TestJSON(t *testing.T) {
	for name, manifest := range map[string]string{
		"one":      `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"a.example.com/x:1"}]}}`,
		"tabs":     "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\",\n\t\"spec\": {\"containers\": [\n\t\t{\"name\": \"c\", \"image\": \"a.example.com/x:1\"}]}}",
		"a stream": `{"apiVersion":"v1","kind":"Secret","data":{}}` + "\n" + `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"c","image":"a.example.com/x:1"}]}}`,
		"flow":     `{apiVersion: v1, kind: Pod, spec: {containers: [{name: c, image: "a.example.com/x:1"}]}}`,
	} {
		images, err := workload.Images([]byte(manifest))
		require.NoError(t, err, name)
		require.Len(t, images, 1, name)
		require.Equal(t, "a.example.com/x:1", images[0].Image.String())
		require.Contains(t, strings.Split(manifest, "\n")[images[0].Place.Line-1], "a.example.com")
	}
}

func TestErrors(t *testing.T) {
	const good = "apiVersion: v1\nkind: Pod\nmetadata: {name: good}\nspec: {containers: [{name: c, image: good}]}\n---\n"
	for name, tc := range map[string]struct {
		manifest string
		line     int
		want     error
		images   int
	}{
		"bad name":       {good + "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: c, image: UPPER/Case}, {name: d, image: alpine}]}", 8, registry.ErrInvalid, 2},
		"not a name":     {good + "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: c, image: {a: b}}]}", 8, nil, 1},
		"not YAML":       {good + "kind: Secret\nstringData:\n  password: \"hunter2\nx", 9, nil, 1},
		"a template":     {good + "{{- if .Values.web }}\nkind: Pod\n", 6, nil, 1},
		"unknown anchor": {good + "kind: *hunter2\n", 0, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			images, err := workload.Images([]byte(tc.manifest))
			require.Error(t, err)
			require.Len(t, images, tc.images, "what could be read was lost")
			e, ok := errors.AsType[*workload.Error](err)
			require.True(t, ok)
			require.Equal(t, 2, e.Place.Document)
			require.InDelta(t, tc.line, e.Place.Line, 1)
			require.NotContains(t, err.Error(), "hunter2")
			if tc.want != nil {
				require.ErrorIs(t, err, tc.want)
			}
		})
	}
}

// Manifests that a gate must not pass, because no image was found in them.
func TestNothingIsSkipped(t *testing.T) {
	for name, tc := range map[string]struct {
		manifest string
		want     string
	}{
		"compose":           {"services:\n  web:\n    image: nginx\n", "line 1: is a compose file: expected a manifest of Kubernetes objects"},
		"compose, second":   {"apiVersion: v1\nkind: Namespace\n---\nname: shop\nservices: {web: {image: nginx}}\n", "line 4: is a compose file"},
		"values":            {"image:\n  repository: nginx\n", "line 1: is no Kubernetes object, because kind or apiVersion is missing"},
		"no kind":           {"apiVersion: v1\nspec: {containers: [{name: a, image: b}]}\n", "line 1: is no Kubernetes object"},
		"text":              {"Error: template failed\n", "line 1: is no Kubernetes object"},
		"words":             {"Error\n", "line 1: is no Kubernetes object"},
		"empty object":      {"{}", "line 1: is no Kubernetes object"},
		"no name":           {"apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - image: nginx\n", "Pod web, spec.containers[0], line 6: is a container without a name"},
		"no image":          {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n", "Deployment web, spec.template.spec.containers[0], line 8: is a container without an image"},
		"empty image":       {"apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: \"\"}]}\n", "is a container without an image"},
		"init without name": {"apiVersion: v1\nkind: Pod\nspec: {initContainers: [{image: a}], containers: [{name: a, image: b}]}\n", "spec.initContainers[0], line 3: is a container without a name"},
		"no containers":     {"apiVersion: batch/v1\nkind: Job\nmetadata: {name: job}\nspec: {template: {spec: {}}}\n", "Job job, spec.template.spec, line 4: has no containers"},
		"no spec":           {"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: job}\n", "CronJob job, spec, line 1: has no containers"},
		"indented wrongly":  {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    containers: [{name: a, image: b}]\n", "Deployment web, spec.template.spec, line 1: has no containers"},
		"volume":            {"apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: b}], volumes: [{name: v, image: {}}]}\n", "is a volume of an image without a reference"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := workload.Images([]byte(tc.manifest))
			require.ErrorContains(t, err, tc.want)
		})
	}

	// In a custom resource an operator may set either; a container with an image counts.
	images, err := workload.Images([]byte("apiVersion: monitoring.coreos.com/v1\nkind: Prometheus\nspec: {containers: [{name: prometheus, args: [a]}]}\n---\n" +
		"apiVersion: example.com/v1\nkind: Job\nspec: {containers: [{image: nginx}, {image: redis}]}\n"))
	require.NoError(t, err)
	require.Len(t, images, 2)
}

// A few lines that expand to billions, or refer to themselves.
func TestBombs(t *testing.T) {
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 20 {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	_, err := workload.Images([]byte(bomb))
	require.ErrorIs(t, err, workload.ErrManifestTooLarge)

	bomb = "a: &a {containers: [" + strings.Repeat("{name: x, image: y}, ", 1000) + "]}\nb: [" + strings.Repeat("*a, ", 1000) + "]\n"
	_, err = workload.Images([]byte(bomb))
	require.ErrorIs(t, err, workload.ErrManifestTooLarge)

	for _, manifest := range []string{"a: &a {b: *a}\n", "a: &a [*a]\n", "a: &a {<<: *a, containers: *a}\n", strings.Repeat("[", 100_000)} {
		_, err = workload.Images([]byte(manifest))
		require.Error(t, err, manifest[:min(len(manifest), 20)])
	}
	for _, manifest := range []string{"", "---\n---\n", "null", "[]", "# nothing\n"} {
		images, err := workload.Images([]byte(manifest))
		require.NoError(t, err)
		require.Empty(t, images)
	}
}

func FuzzImages(f *testing.F) {
	data, err := os.ReadFile("testdata/all.yaml")
	require.NoError(f, err)
	for document := range strings.SplitSeq(string(data), "---\n") {
		f.Add([]byte(document))
	}
	f.Add([]byte("a: &a {<<: *a, containers: *a}\n"))
	f.Add([]byte("{\"kind\":\t\"Pod\"}{}"))
	f.Fuzz(func(t *testing.T, manifest []byte) {
		images, _ := workload.Images(manifest)
		lines := 1
		for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
			lines += strings.Count(string(manifest), end)
		}
		for _, i := range images {
			again, err := registry.ParseImage(i.Name)
			require.NoError(t, err)
			require.Equal(t, again, i.Image)
			require.NotEmpty(t, i.Place.Path)
			require.True(t, 1 <= i.Place.Line && i.Place.Line <= lines, "line %d of %d", i.Place.Line, lines)
		}
	})
}
