package validate_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/regcred/regcred/registry"
)

// A verdictPage is docs/verdicts.md.
type verdictPage struct{ rows []verdictRow }

type verdictRow struct {
	dialect, what, how      string
	verdict, answer, advice string
}

func (p *verdictPage) add(dialect string, s situation, how string, err error) {
	row := verdictRow{dialect: dialect, what: s.text, how: how, verdict: "can be pulled"}
	if e, ok := errors.AsType[*registry.Error](err); ok {
		row.verdict = "`" + string(e.Code) + "`"
		row.answer = inPage(shorter(e.Err.Error(), homes[dialect].host))
		row.advice = inPage(e.Advice())
	}
	p.rows = append(p.rows, row)
}

// The verdicts of most registries are in a section of their own.
func (p *verdictPage) bytes() []byte {
	var b bytes.Buffer
	b.WriteString(pageHead)
	usual, others := p.split()
	section(&b, usual)
	for len(others) > 0 {
		name := others[0].dialect
		n := slices.IndexFunc(others, func(r verdictRow) bool { return r.dialect != name })
		if n < 0 {
			n = len(others)
		}
		home := homes[name]
		fmt.Fprintf(&b, "\n## %s\n\n`%s`. From its vendor: <%s>\n", home.title, home.host, home.source)
		section(&b, others[:n])
		others = others[n:]
	}
	return b.Bytes()
}

// split separates the verdicts of most registries from the exceptions.
func (p *verdictPage) split() (usual, others []verdictRow) {
	type saying struct{ what, how, verdict, advice string }
	said, asked := map[saying]int{}, map[string]int{}
	for _, r := range p.rows {
		said[saying{r.what, r.how, r.verdict, r.advice}]++
		asked[r.what+r.how]++
	}
	listed := map[saying]bool{}
	for _, r := range p.rows {
		switch s := (saying{r.what, r.how, r.verdict, r.advice}); {
		case 2*said[s] <= asked[r.what+r.how]:
			others = append(others, r)
		case !listed[s]:
			listed[s] = true
			usual = append(usual, r)
		}
	}
	return usual, others
}

// section writes a table. Rows with the same verdict and advice are combined.
func section(b *bytes.Buffer, rows []verdictRow) {
	b.WriteString("\n| What happened | Verdict | What was answered | What to do |\n|---|---|---|---|\n")
	var merged []verdictRow
	for _, r := range rows {
		if r.how != "tag" {
			byTag := slices.IndexFunc(rows, func(o verdictRow) bool {
				return o.how == "tag" && o.what == r.what && o.verdict == r.verdict
			})
			if byTag >= 0 {
				continue
			}
			r.what += ", and the check is " + r.how
		}
		same := slices.IndexFunc(merged, func(o verdictRow) bool { return o.verdict == r.verdict && o.advice == r.advice })
		if same >= 0 {
			merged[same].what += ";<br>" + r.what
			continue
		}
		merged = append(merged, r)
	}
	for _, r := range merged {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", r.what, r.verdict, cmp.Or(r.answer, "&nbsp;"), cmp.Or(r.advice, "&nbsp;"))
	}
}

var digests = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// shorter removes the parts of a response that the reader of the page knows.
func shorter(answer, host string) string {
	e, _ := registry.ParseEndpoint(host)
	answer = strings.ReplaceAll(answer, "https://"+e.APIHost()+"/", "/")
	return digests.ReplaceAllStringFunc(answer, func(d string) string { return d[:13] + "..." })
}

func inPage(s string) string { return strings.ReplaceAll(s, "|", "&#124;") }

const pageHead = `<!-- Made by go test ./validate -run TestVerdicts -update. -->

# Verdicts

This page lists the verdict of an image check for each situation, registry by registry: see [validate](validate.md). The
verdict is a code of package registry, on which a program can switch. The response is the evidence for it. If several
situations are in one row, the registry does not distinguish them, and the row shows the response to the first. The
registries are the dialects of package registrytest. The verdicts apply to containerd; [runtimes.md](runtimes.md) has the
rules of each container runtime, and the codes below ` + "`incompatible`" + ` name the rule that a registry breaks.

## Most registries

These verdicts apply unless the section of a registry has others.
`
