package validate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

const (
	ociIndexType  = "application/vnd.oci.image.index.v1+json"
	ociConfigType = "application/vnd.oci.image.config.v1+json"
)

// An indexGraph serves manifests, indexes and configs by their digests. The tag 1 is root.
type indexGraph struct {
	types, bodies map[string]string
	root          string
	requests      atomic.Int64
	served        func(digest string) // If not nil, it is called with each digest that is served.
}

// An edge is an entry of an index.
type edge map[string]any

func newIndexGraph() *indexGraph {
	return &indexGraph{types: make(map[string]string), bodies: make(map[string]string)}
}

func (g *indexGraph) put(mediaType string, content any) edge {
	body, err := json.Marshal(content)
	if err != nil {
		panic(err)
	}
	digest := digestText(string(body))
	g.types[digest], g.bodies[digest] = mediaType, string(body)
	return edge{"mediaType": mediaType, "digest": digest, "size": len(body)}
}

func (g *indexGraph) index(note string, entries ...edge) edge {
	if entries == nil {
		entries = []edge{}
	}
	return g.put(ociIndexType, map[string]any{
		"schemaVersion": 2, "mediaType": ociIndexType, "manifests": entries, "annotations": map[string]string{"note": note},
	})
}

func (g *indexGraph) image(os, architecture string) edge {
	config := g.put(ociConfigType, map[string]any{
		"os": os, "architecture": architecture, "rootfs": map[string]any{"type": "layers", "diff_ids": []string{}},
	})
	return g.put(manifestType, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": []any{},
	})
}

// with returns the edge with the platform.
func (e edge) with(os, architecture string) edge {
	named := edge{"platform": map[string]string{"os": os, "architecture": architecture}}
	for k, v := range e {
		named[k] = v
	}
	return named
}

func (g *indexGraph) RoundTrip(req *http.Request) (*http.Response, error) {
	g.requests.Add(1)
	w := httptest.NewRecorder()
	if req.URL.Path == "/v2/" {
		return w.Result(), nil
	}
	part := strings.Split(req.URL.Path, "/")
	digest := part[len(part)-1]
	if digest == "1" {
		digest = g.root
	}
	body, ok := g.bodies[digest]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return w.Result(), nil
	}
	if g.served != nil {
		g.served(digest)
	}
	w.Header().Set("Content-Type", g.types[digest])
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	if req.Method == http.MethodGet {
		_, _ = w.WriteString(body)
	}
	return w.Result(), nil
}

// chain makes each index name the next one in all its entries, and returns the digest of the last index.
func (g *indexGraph) chain(levels, entries int, name bool) string {
	next := g.index("end")
	end := next["digest"].(string)
	for level := range levels {
		same := make([]edge, entries)
		for i := range same {
			same[i] = next
			if name {
				same[i] = next.with("linux", "amd64")
			}
		}
		next = g.index(fmt.Sprint(level), same...)
	}
	g.root = next["digest"].(string)
	return end
}

// A meter is a context that counts how often a program checks whether it was canceled.
type meter struct {
	context.Context
	checks atomic.Int64
}

func (m *meter) Err() error {
	m.checks.Add(1)
	return m.Context.Err()
}

// A depth is how much of an image is checked.
type depth struct {
	deep      bool
	platforms []validate.Platform
}

func (g *indexGraph) check(ctx context.Context, t testing.TB, d depth, runtime validate.Runtime) validate.Result {
	t.Helper()
	c := &validate.Checker{
		RoundTripper: g, Runtimes: []validate.Runtime{runtime}, Deep: d.deep, Platforms: d.platforms,
	}
	got, _ := c.Image(ctx, image(t, "a.example.com/team/app:1"))
	return got
}

var (
	allRuntimes = []validate.Runtime{validate.Containerd, validate.CRIO, validate.Docker, validate.DockerContainerd}
	indexChecks = map[string]depth{
		"deep":               {deep: true},
		"platform":           {platforms: []validate.Platform{{OS: "linux", Architecture: "amd64"}}},
		"deep and platforms": {deep: true, platforms: []validate.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}},
	}
)

// Indexes whose entries all name the same next index are read once each.
func TestChainOfIndexesEnds(t *testing.T) {
	for name, d := range indexChecks {
		for _, runtime := range allRuntimes {
			for _, named := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s %s %t", name, runtime, named), func(t *testing.T) {
					g := newIndexGraph()
					g.chain(8, 256, named)
					ctx := &meter{Context: t.Context()}
					g.check(ctx, t, d, runtime)
					require.Less(t, ctx.checks.Load(), int64(20_000))
					require.Less(t, g.requests.Load(), int64(30))
				})
			}
		}
	}
}

// A canceled check visits no further entry.
func TestChainOfIndexesIsCanceled(t *testing.T) {
	for name, d := range indexChecks {
		for _, runtime := range []validate.Runtime{validate.Containerd, validate.Docker} {
			t.Run(name+" "+string(runtime), func(t *testing.T) {
				g := newIndexGraph()
				end := g.chain(7, 256, true)
				parent, cancel := context.WithCancel(t.Context())
				ctx := &meter{Context: parent}
				var before int64
				g.served = func(digest string) {
					if digest == end {
						cancel()
						before = ctx.checks.Load()
					}
				}
				got := g.check(ctx, t, d, runtime)
				require.ErrorIs(t, got.Err, registry.ErrCanceled, "%v", got.Err)
				require.Less(t, ctx.checks.Load()-before, int64(50))
			})
		}
	}
}

// A hostile registry of any graph of indexes ends the check within the budgets.
func TestAnyGraphOfIndexesEnds(t *testing.T) {
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 1))
		g := newIndexGraph()
		levels := [][]edge{{g.index("end"), g.image("linux", "amd64"), g.image("linux", "arm64")}}
		for level := range 8 {
			var here []edge
			for node := range 12 {
				below := levels[r.IntN(len(levels))]
				if r.IntN(4) > 0 {
					below = levels[len(levels)-1]
				}
				entries := make([]edge, 1+r.IntN(256))
				for i := range entries {
					entries[i] = below[r.IntN(len(below))]
					if r.IntN(2) == 0 {
						entries[i] = entries[i].with("linux", []string{"amd64", "arm64", "x86_64", "386"}[r.IntN(4)])
					}
				}
				here = append(here, g.index(fmt.Sprint(level, node), entries...))
			}
			levels = append(levels, here)
		}
		g.root = levels[len(levels)-1][0]["digest"].(string)
		for name, d := range indexChecks {
			for _, runtime := range allRuntimes {
				ctx := &meter{Context: t.Context()}
				g.requests.Store(0)
				g.check(ctx, t, d, runtime)
				require.LessOrEqual(t, g.requests.Load(), int64(4200), "%d %s %s", seed, name, runtime)
				require.LessOrEqual(t, ctx.checks.Load(), int64(1<<16+20*4200), "%d %s %s", seed, name, runtime)
			}
		}
	}
}

// A check ends if the indexes of an image have more entries than any honest image, although it sends few requests.
func TestBudgetOfVisits(t *testing.T) {
	g := newIndexGraph()
	below := []edge{g.index("end").with("linux", "amd64")}
	for level := range 7 {
		var here []edge
		for node := range 40 {
			entries := make([]edge, 256)
			for i := range entries {
				entries[i] = below[i%len(below)]
			}
			here = append(here, g.index(fmt.Sprint(level, node), entries...).with("linux", "amd64"))
		}
		below = here
	}
	g.root = g.index("root", below...)["digest"].(string)
	for _, name := range []string{"deep", "platform"} {
		for _, runtime := range []validate.Runtime{validate.Containerd, validate.Docker} {
			g.requests.Store(0)
			got := g.check(t.Context(), t, indexChecks[name], runtime)
			require.ErrorIs(t, got.Err, registry.ErrTooLarge, "%s %s", name, runtime)
			require.Less(t, g.requests.Load(), int64(500))
		}
	}
}

// Indexes that are shared have the same verdict as copies of them.
func TestSharedIndexesHaveTheVerdictOfCopies(t *testing.T) {
	images := [][2]string{{"linux", "amd64"}, {"linux", "arm64"}, {"windows", "amd64"}}
	verdicts := make(map[string]int)
	for seed := range uint64(150) {
		var copies int
		// build makes the same graph for the same seed. If shared is false, each use of an index is a copy of its own.
		build := func(shared bool) *indexGraph {
			g := newIndexGraph()
			depths := []int{2, 3, 4, 11}
			top := depths[seed%4]
			width := 3
			if top == 11 {
				width = 2
			}
			var node func(id uint64, level int) edge
			node = func(id uint64, level int) edge {
				r := rand.New(rand.NewPCG(seed, uint64(level)<<8|id))
				if level == 0 || r.IntN(8) == 0 && level < top {
					i := images[r.IntN(len(images))]
					return g.image(i[0], i[1])
				}
				entries := make([]edge, 1+r.IntN(width))
				for i := range entries {
					entries[i] = node(r.Uint64N(2), max(0, level-1-r.IntN(2)))
					if r.IntN(12) == 0 {
						entries[i]["digest"] = digestText("missing")
					}
					if r.IntN(3) > 0 {
						p := images[r.IntN(len(images))]
						entries[i] = entries[i].with(p[0], p[1])
					}
				}
				note := fmt.Sprint(level, id)
				if !shared {
					copies++
					note += fmt.Sprint(" copy ", copies)
				}
				index := g.index(note, entries...)
				if r.IntN(12) == 0 && level < top {
					index["size"] = 7
				}
				return index
			}
			g.root = node(0, top)["digest"].(string)
			return g
		}
		for name, d := range indexChecks {
			for _, runtime := range allRuntimes {
				shared, copied := build(true).check(t.Context(), t, d, runtime), build(false).check(t.Context(), t, d, runtime)
				verdict := func(r validate.Result) (all []string) {
					all = append(all, fmt.Sprint(registry.CodeOf(r.Err)), fmt.Sprint(r.Pulls, r.Runs, r.Size, r.Platforms))
					for _, l := range r.Runtimes {
						all = append(all, fmt.Sprint(l.Runtime, l.Pulls, l.Runs, registry.CodeOf(l.Err)))
					}
					return all
				}
				require.Equal(t, verdict(copied), verdict(shared), "seed %d, %s, %s", seed, name, runtime)
				verdicts[fmt.Sprint(registry.CodeOf(shared.Err))]++
			}
		}
	}
	require.Greater(t, len(verdicts), 3, "%v", verdicts)
	t.Log(verdicts)
}

// A check ends if the manifests of an image are longer together than those of any honest image.
func TestBudgetOfBytes(t *testing.T) {
	g := newIndexGraph()
	config := g.put(ociConfigType, map[string]any{"os": "linux", "architecture": "amd64"})
	var entries []edge
	for i := range 40 {
		entries = append(entries, g.put(manifestType, map[string]any{
			"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": []any{},
			"annotations": map[string]string{"note": fmt.Sprint(i) + strings.Repeat("x", 4<<20)},
		}))
	}
	g.root = g.index("root", entries...)["digest"].(string)
	got := g.check(t.Context(), t, indexChecks["deep"], validate.Docker)
	require.ErrorIs(t, got.Err, registry.ErrTooLarge, "%v", got.Err)
	require.Less(t, g.requests.Load(), int64(70))
}
