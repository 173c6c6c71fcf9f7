package validate_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

var update = flag.Bool("update", false, "write testdata/verdicts.txt and docs/verdicts.md again; then read what changed")

const (
	verdictsTable = "testdata/verdicts.txt"
	verdictsPage  = "../docs/verdicts.md"
)

// Every registry is put into every situation, and an image is checked by tag, by digest, and deep.
// testdata/verdicts.txt has the expected results; docs/verdicts.md is generated from the same run.
func TestVerdicts(t *testing.T) {
	data, err := os.ReadFile(verdictsTable)
	require.NoError(t, err)
	want := sectionsOf(string(data))
	table := tableHead
	page := &verdictPage{}
	for _, d := range registrytest.Dialects() {
		section := d.Name + "\n"
		for _, s := range situations {
			if s.skip != nil && s.skip(d) {
				continue
			}
			var codes []string
			for _, how := range []string{"tag", "digest", "deep"} {
				synctest.Test(t, func(t *testing.T) {
					_, err := s.meet(t, d, how)
					codes = append(codes, cmp.Or(string(registry.CodeOf(err)), "pullable"))
					page.add(d.Name, s, how, err)
				})
			}
			section += fmt.Sprintf("  %-26s%s\n", s.name+":", inShort(codes))
		}
		if !*update {
			require.Equal(t, want[d.Name], section)
		}
		delete(want, d.Name)
		table += "\n" + section
	}
	if *update {
		require.NoError(t, os.WriteFile(verdictsTable, []byte(table), 0o644))
		require.NoError(t, os.WriteFile(verdictsPage, page.bytes(), 0o644))
		return
	}
	require.Empty(t, slices.Sorted(maps.Keys(want)), "the table has registries that there are not")
	have, err := os.ReadFile(verdictsPage)
	require.NoError(t, err)
	require.Equal(t, string(page.bytes()), string(have), "the page is out of date: go test ./validate -run TestVerdicts -update")
}

// inShort returns the codes by tag, by digest and deep in a short form.
func inShort(codes []string) string {
	switch {
	case codes[0] == codes[1] && codes[1] == codes[2]:
		return codes[0]
	case codes[0] == codes[1]:
		return codes[0] + ", deep " + codes[2]
	}
	return "tag " + codes[0] + ", digest " + codes[1] + ", deep " + codes[2]
}

func sectionsOf(table string) map[string]string {
	all := make(map[string]string)
	for section := range strings.SplitSeq(table, "\n\n") {
		if name, _, _ := strings.Cut(section, "\n"); !strings.HasPrefix(name, "#") {
			all[name] = strings.TrimRight(section, "\n") + "\n"
		}
	}
	return all
}

const tableHead = `# The codes that a check must report, registry by registry, in the situations of situations_test.go. One code is for all three kinds of check: by tag, by digest, deep.
# -update writes the codes that it does report.
`
