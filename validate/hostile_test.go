package validate_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// A list whose page has no valid name ends when it is canceled.
func TestNamesOfAPageAreCanceled(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	ctx := &meter{Context: parent}
	var before int64
	c := &validate.Checker{RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		if req.URL.Path != "/v2/" {
			names := strings.Repeat(`"valid","",`, 100_000)
			_, _ = w.WriteString(`{"tags":[` + names + `"last"]}`)
		}
		return w.Result(), nil
	})}
	names := 0
	for name, err := range c.Tags(ctx, image(t, "a.example.com/team/app:1"), validate.Candidate{}) {
		if names == 3 {
			require.ErrorIs(t, err, registry.ErrCanceled)
			break
		}
		require.NoError(t, err)
		require.Equal(t, "valid", name)
		if names++; names == 3 {
			cancel()
			before = ctx.checks.Load()
		}
	}
	require.Equal(t, 3, names)
	require.Less(t, ctx.checks.Load()-before, int64(10))
}

// The manifest of an image with more layers than any runtime stacks is rejected by their number, without a request for
// each.
func TestManyLayers(t *testing.T) {
	g := newIndexGraph()
	layers := make([]edge, 40_000)
	for i := range layers {
		layers[i] = edge{"digest": fmt.Sprintf("sha256:%064d", i), "size": 1}
	}
	config := g.put(ociConfigType, map[string]any{"os": "linux", "architecture": "amd64"})
	g.root = g.put(manifestType, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": layers,
	})["digest"].(string)
	got := g.check(t.Context(), t, indexChecks["deep"], validate.Docker)
	require.ErrorIs(t, got.Err, registry.ErrUnavailable, "%v", got.Err)
	require.ErrorContains(t, got.Err, "parts")
	require.Less(t, g.requests.Load(), int64(10))
}
