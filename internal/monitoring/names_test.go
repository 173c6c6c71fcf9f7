package monitoring_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialsprom"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injectprom"
	"github.com/regcred/regcred/systemregistry"
)

// others are metrics that other programs export, with their labels.
var others = map[string][]string{
	"process_start_time_seconds":  nil,            // The process collector of client_golang.
	"node_filesystem_avail_bytes": {"mountpoint"}, // The node exporter.
}

// histograms are the metrics that have buckets. A description does not tell.
var histograms = []string{"regcred_credential_call_seconds", "regcred_registry_request_seconds"}

// added are labels that Prometheus adds when it scrapes.
var added = []string{"job", "instance", "namespace"}

var description = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", .* variableLabels: \{([^}]*)\}\}$`)

// exported returns the labels of each metric that the library exports, by the name of the metric.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	registry, err := systemregistry.Server{}.Open(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, registry.Close()) })
	found := make(map[string][]string)
	for _, c := range []prometheus.Collector{
		credentialsprom.New(new(credentials.Cache)), injectprom.New(new(inject.Syncer)), injectprom.NewRollout(nil, nil), registry,
	} {
		descs := make(chan *prometheus.Desc, 100)
		c.Describe(descs)
		close(descs)
		for d := range descs {
			m := description.FindStringSubmatch(d.String())
			require.NotNil(t, m, d.String())
			names := strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' })
			if !slices.Contains(histograms, m[1]) {
				found[m[1]] = names
				continue
			}
			found[m[1]+"_bucket"] = append(slices.Clone(names), "le")
			found[m[1]+"_sum"], found[m[1]+"_count"] = names, names
		}
	}
	require.Greater(t, len(found), 20)
	return found
}

func parse(t *testing.T, query string) parser.Expr {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	require.NoError(t, err, query)
	return expr
}

// unknown returns the metrics and labels of a query that do not exist.
func unknown(expr parser.Expr, known map[string][]string) []string {
	var wrong, present []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		names, exists := known[selector.Name]
		if !exists {
			names, exists = others[selector.Name]
		}
		if !exists {
			wrong = append(wrong, selector.Name)
			return nil
		}
		present = append(present, names...)
		for _, m := range selector.LabelMatchers {
			if m.Name != model.MetricNameLabel && !slices.Contains(names, m.Name) && !slices.Contains(added, m.Name) {
				wrong = append(wrong, selector.Name+"{"+m.Name+"}")
			}
		}
		return nil
	})
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		var used []string
		switch node := node.(type) {
		case *parser.AggregateExpr:
			used = node.Grouping
		case *parser.BinaryExpr:
			if node.VectorMatching != nil {
				used = append(node.VectorMatching.MatchingLabels, node.VectorMatching.Include...)
			}
		}
		for _, name := range used {
			if !slices.Contains(present, name) && !slices.Contains(added, name) {
				wrong = append(wrong, "label "+name)
			}
		}
		return nil
	})
	return wrong
}

func TestUnknown(t *testing.T) {
	known := map[string][]string{"m_total": {"a"}}
	for query, want := range map[string][]string{
		`sum by (a, job) (rate(m_total{a="1"}[5m]))`: nil,
		`m_total{b="1"}`:             {"m_total{b}"},
		`sum without (b) (m_total)`:  {"label b"},
		`n_total`:                    {"n_total"},
		`m_total / on (b) m_total`:   {"label b"},
		`m_total / on (job) m_total`: nil,
	} {
		require.Equal(t, want, unknown(parse(t, query), known), query)
	}
}
