package monitoring_test

import (
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const folder = "../../monitoring"

// readRules returns the rules of a PrometheusRule, after promtool's checks.
func readRules(t *testing.T, name string) []rulefmt.Rule {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, name))
	require.NoError(t, err)
	var object struct {
		APIVersion, Kind string
		Metadata         struct{ Name string }
		Spec             yaml.Node
	}
	require.NoError(t, yaml.Unmarshal(data, &object))
	require.Equal(t, "PrometheusRule", object.Kind)
	require.NotEmpty(t, object.Metadata.Name)
	spec, err := yaml.Marshal(&object.Spec)
	require.NoError(t, err)
	groups, problems := rulefmt.Parse(spec, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.Default())
	require.Empty(t, problems)
	var list []rulefmt.Rule
	for _, g := range groups.Groups {
		list = append(list, g.Rules...)
	}
	return list
}

var templated = regexp.MustCompile(`\$labels\.([a-z_]+)`)

func TestRulesNameRealMetrics(t *testing.T) {
	known := exported(t)
	for _, name := range []string{"alerts.yaml", "registry-alerts.yaml"} {
		list := readRules(t, name)
		require.GreaterOrEqual(t, len(list), 7)
		for _, rule := range list {
			expr := parse(t, rule.Expr)
			require.Empty(t, unknown(expr, known), rule.Alert)
			require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
			require.Contains(t, []string{"critical", "warning", "info"}, rule.Labels["severity"], rule.Alert)
			// A label in a text is one of the expression's metrics.
			var present []string
			parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
				if selector, ok := node.(*parser.VectorSelector); ok {
					present = append(present, known[selector.Name]...)
				}
				return nil
			})
			for _, text := range rule.Annotations {
				for _, m := range templated.FindAllStringSubmatch(text, -1) {
					require.Contains(t, present, m[1], rule.Alert)
				}
			}
		}
	}
}

// fired evaluates rules at each step, and returns how long after the start each began to fire.
func fired(t *testing.T, list []rulefmt.Rule, series storage.Queryable, start, end time.Time, step time.Duration) map[string]time.Duration {
	t.Helper()
	query := rules.EngineQueryFunc(promqltest.NewTestEngine(t, false, 5*time.Minute, 1_000_000), series)
	found := make(map[string]time.Duration)
	for _, r := range list {
		rule := rules.NewAlertingRule(r.Alert, parse(t, r.Expr), time.Duration(r.For), time.Duration(r.KeepFiringFor),
			labels.FromMap(r.Labels), labels.FromMap(r.Annotations), labels.EmptyLabels(), "", true, slog.Default())
		for now := start; !now.After(end); now = now.Add(step) {
			_, err := rule.Eval(t.Context(), 0, now, query, &url.URL{}, 0)
			require.NoError(t, err, r.Alert)
			for _, alert := range rule.ActiveAlerts() {
				require.NotContains(t, alert.Annotations.Get("summary"), "error expanding")
				require.NotContains(t, alert.Annotations.Get("summary"), "no value")
				if _, already := found[r.Alert]; !already && alert.State == rules.StateFiring {
					found[r.Alert] = now.Sub(start)
				}
			}
		}
	}
	return found
}

// The registry's alerts, on series that are written down here. TestRulesNameRealMetrics compares the names.
func TestRegistryAlerts(t *testing.T) {
	list := readRules(t, "registry-alerts.yaml")
	const healthy = `
		regcred_registry_storage_full_total{job="r",instance="1"} 0x5000
		node_filesystem_avail_bytes{instance="n",mountpoint="/var/lib/registry"} 1000000+0x5000
		regcred_registry_fullest_quota_ratio{job="r",instance="1"} 0.5+0x5000
		regcred_registry_requests_total{job="r",instance="1",operation="registry",method="GET",code="200"} 0+600x5000
		regcred_registry_requests_total{job="r",instance="1",operation="registry",method="GET",code="503"} 0+1x5000
		regcred_registry_collections_total{job="r",instance="1",result="done"} 0x720 1x1440 2x1440 3x1400
		regcred_registry_collections_total{job="r",instance="1",result="failed"} 0x5000
		regcred_registry_last_collection_timestamp_seconds{job="r",instance="1"} 0x720 43200x1440 129600x1440 216000x1400
		regcred_registry_logins_total{job="r",instance="1",result="accepted"} 0+600x5000
		regcred_registry_logins_total{job="r",instance="1",result="refused"} 0+10x5000
		regcred_registry_logins_total{job="r",instance="1",result="not checked"} 0x5000
	`
	run := func(series string) map[string]time.Duration {
		start := time.Unix(0, 0).UTC()
		return fired(t, list, promqltest.LoadedStorage(t, "load 1m\n"+strings.TrimSpace(series)), start, start.Add(5000*time.Minute), 10*time.Minute)
	}
	require.Empty(t, run(healthy))
	// Collections by another replica count, and a registry that does not collect has no such series.
	const last = `regcred_registry_last_collection_timestamp_seconds{job="r",instance="1"}`
	require.Empty(t, run(strings.TrimSpace(healthy)+"\n"+strings.Replace(last, `"1"`, `"2"`, 1)+" 0x5000"))
	require.Empty(t, run(regexp.MustCompile(`\s*`+regexp.QuoteMeta(last)+".*").ReplaceAllLiteralString(healthy, "")))
	seen := make(map[string]bool)
	for _, c := range []struct{ name, from, to string }{
		{"RegistryStorageFull", "storage_full_total{job=\"r\",instance=\"1\"} 0x5000", "storage_full_total{job=\"r\",instance=\"1\"} 0x600 1x4400"},
		{"RegistryDiskFillsUp", "1000000+0x5000", "1000000-400x2499 0x2500"},
		{"RegistryQuotaFull", "0.5+0x5000", "0.5x600 0.95x4400"},
		{"RegistryErrors", `code="503"} 0+1x5000`, `code="503"} 0+10x5000`},
		{"RegistryCollectionFailing", "0x720 1x1440 2x1440 3x1400\n\t\tregcred_registry_collections_total{job=\"r\",instance=\"1\",result=\"failed\"} 0x5000",
			"0x5000\n\t\tregcred_registry_collections_total{job=\"r\",instance=\"1\",result=\"failed\"} 0x720 1x1440 2x1440 3x1400"},
		{"RegistryNotCollected", "0x720 43200x1440 129600x1440 216000x1400", "0x60 3600x4940"},
		{"RegistryNotCollected", "0x720 43200x1440 129600x1440 216000x1400", "0x5000"}, // Never: restarted too often.
		{"RegistryDown", `regcred_registry_storage_full_total{job="r",instance="1"} 0x5000`, `regcred_registry_storage_full_total{job="r",instance="1"} 0x600`},
		{"RegistryLoginsGuessed", "0+10x5000", "0+120x5000"},
	} {
		changed := regexp.MustCompile(regexp.QuoteMeta(c.from)).ReplaceAllLiteralString(healthy, c.to)
		require.NotEqual(t, healthy, changed, c.name)
		got := run(changed)
		require.Len(t, got, 1, c.name)
		require.Contains(t, got, c.name)
		seen[c.name] = true
	}
	for _, r := range list {
		require.True(t, seen[r.Alert], "%s never fired", r.Alert)
	}
}
