package monitoring_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"
)

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, W int }
	Targets                  []struct{ Expr, LegendFormat string }
	Datasource               struct{ UID string }
}

type dashboard struct {
	Title, UID string
	Panels     []panel
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "dashboard.json"))
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(data, &d))
	require.NotEmpty(t, d.Title)
	return d
}

var (
	variable = regexp.MustCompile(`\$\{?([a-z_]+)\}?`)
	legend   = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
)

// filledIn returns a query with a value for each variable, as Grafana sends it.
func filledIn(t *testing.T, d dashboard, query string) string {
	t.Helper()
	query = strings.ReplaceAll(query, "$__rate_interval", "5m")
	return variable.ReplaceAllStringFunc(query, func(name string) string {
		for _, v := range d.Templating.List {
			if v.Name == variable.FindStringSubmatch(name)[1] {
				return ".*"
			}
		}
		t.Errorf("%s: there is no variable %s", query, name)
		return name
	})
}

// registrySeries stand for a System registry in the tests of the dashboard.
const registrySeries = `load 1m
	regcred_registry_storage_full_total{job="r"} 0x200
	regcred_registry_fullest_quota_ratio{job="r"} 0.5x200
	regcred_registry_requests_total{job="r",operation="registry",method="GET",code="200"} 0+600x200
	regcred_registry_request_seconds_bucket{job="r",operation="registry",le="+Inf"} 0+600x200
	regcred_registry_request_seconds_bucket{job="r",operation="registry",le="0.1"} 0+500x200
	regcred_registry_sent_bytes_total{job="r"} 0+1000x200
	regcred_registry_last_collection_timestamp_seconds{job="r"} 0x50 3000x150
	regcred_registry_logins_total{job="r",result="accepted"} 0+600x200`

// Each query of the dashboard can be parsed, names real metrics and labels, and returns something for a program and a
// registry that are in use.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	known := exported(t)
	for _, v := range d.Templating.List {
		if v.Definition == "" {
			continue
		}
		metric, _, _ := strings.Cut(strings.TrimPrefix(v.Definition, "label_values("), ",")
		require.Contains(t, known, metric)
	}
	w := inWorld(t, func(w *world) {
		w.targets = append(w.targets, target("dated", w.start.Add(60*24*time.Hour)))
		w.run(2 * time.Hour)
		w.targets = append(w.targets, target("new", time.Time{}))
		w.issuerDown.Store(true)
		w.run(10 * time.Minute)
	})
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1_000_000)
	program, registry := w.store(t), promqltest.LoadedStorage(t, registrySeries)
	covered := make(map[string]bool)
	ids := make(map[int]bool)
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], "%s has the ID of another panel", p.Title)
		ids[p.ID] = true
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		if p.Type == "row" {
			continue
		}
		require.NotEmpty(t, p.Description, p.Title)
		require.NotEmpty(t, p.Targets, p.Title)
		require.Equal(t, "${datasource}", p.Datasource.UID, p.Title)
		for _, target := range p.Targets {
			query := filledIn(t, d, target.Expr)
			expr := parse(t, query)
			require.Empty(t, unknown(expr, known), p.Title)
			data, at := program, w.end()
			parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
				if selector, ok := node.(*parser.VectorSelector); ok {
					covered[selector.Name] = true
					if strings.HasPrefix(selector.Name, "regcred_registry_") {
						data, at = registry, time.Unix(12000, 0)
					}
				}
				return nil
			})
			q, err := engine.NewInstantQuery(t.Context(), data, nil, query, at)
			require.NoError(t, err)
			vector, err := q.Exec(t.Context()).Vector()
			require.NoError(t, err, query)
			require.NotEmpty(t, vector, "%s: %s returns nothing", p.Title, query)
			for _, m := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				require.True(t, vector[0].Metric.Has(m[1]), "%s: the result has no label %s", p.Title, m[1])
			}
			q.Close()
		}
	}
	for name := range known { // A metric that nothing shows is one that nobody sees.
		if !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") && name != "regcred_registry_collections_total" {
			require.True(t, covered[name], "no panel has %s", name)
		}
	}
}
