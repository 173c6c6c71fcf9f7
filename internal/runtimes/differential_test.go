package runtimes

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/scenario"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

var (
	scenarios = flag.Int("scenarios", 500, "how many generated scenarios the verdicts are compared on")
	firstSeed = flag.Uint64("seed", 1, "the seed of the first generated scenario")
	explain   = flag.String("scenario", "", "a scenario in JSON, whose verdicts are printed")
	keep      = flag.Bool("keep", false, "add each reduced disagreement to testdata")
)

// lines are the release lines that both the check and the oracle support, with their names in each.
var lines = []struct {
	oracle  string
	runtime validate.Runtime
	version string
}{
	{"containerd 1.7", validate.Containerd, "1.7"},
	{"containerd 2", validate.Containerd, "2"},
	{"CRI-O", validate.CRIO, ""},
	{"Docker", validate.Docker, ""},
	{"Docker 29", validate.DockerContainerd, ""},
}

// check returns the verdicts of package validate, by the oracle's names. Its pauses take no time.
func check(t *testing.T, s scenario.Scenario, salt string) (verdicts map[string]Verdict) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { verdicts = checkAll(t.Context(), s, salt) })
	return verdicts
}

func checkAll(ctx context.Context, s scenario.Scenario, salt string) map[string]Verdict {
	verdicts := make(map[string]Verdict)
	for _, r := range []validate.Runtime{validate.Containerd, validate.CRIO, validate.Docker, validate.DockerContainerd} {
		result, requests, err := checkFor(ctx, r, s, salt)
		for _, l := range lines {
			if l.runtime != r {
				continue
			}
			v := Verdict{Requests: requests}
			for _, one := range result.Runtimes {
				if one.Runtime == r && (one.Version == "" || strings.HasPrefix(one.Version, l.version)) {
					v.Pulls = one.Pulls == validate.Yes
					err = errors.Join(one.Err, err)
				}
			}
			for _, a := range result.Attempts {
				v.Logins = append(v.Logins, a.Username)
			}
			if err != nil {
				v.Error = err.Error()
			}
			verdicts[l.oracle] = v
		}
	}
	return verdicts
}

// checkFor checks the image for one runtime, and returns the requests that the registry received.
func checkFor(
	ctx context.Context, r validate.Runtime, s scenario.Scenario, salt string,
) (validate.Result, []scenario.Request, error) {
	served := scenario.NewRegistry(s, salt)
	pipeline := &regcred.Pipeline{Checker: validate.Checker{
		RoundTripper: registrytest.NewRoundTripper(served),
		Runtimes:     []validate.Runtime{r},
		Realms:       []string{scenario.OtherHost}, // Which runtimes send the login to if the registry redirects there.
		Platforms:    []validate.Platform{{OS: "linux", Architecture: "amd64"}},
		Deep:         true,
		MaxWait:      -1,
	}}
	if s.Pod != nil {
		var secrets []pullsecret.PodSecret
		for _, text := range s.Secrets() {
			secrets = append(secrets, pullsecret.PodSecret{Content: text})
		}
		results, err := pipeline.CheckPod(ctx, []string{scenario.Image}, secrets...)
		return results[0], served.Requests(), err
	}
	image, err := registry.ParseImage(scenario.Image)
	if err != nil {
		panic(err) // It is a constant.
	}
	var candidates []validate.Candidate
	if username, password := login(s); username != "" {
		candidates = append(candidates, validate.Candidate{Name: "secret", Source: credentials.Static(credentials.Credential{
			Username: username, Password: credentials.NewSecret(password),
		})})
	}
	result, err := pipeline.Checker.Image(ctx, image, candidates...)
	return result, served.Requests(), err
}

// A disagreement is a scenario for which a runtime and the check have different verdicts.
type disagreement struct {
	line     string
	scenario scenario.Scenario
}

// disagreements returns the lines on which the verdicts differ, without the known disagreements.
func (o *oracle) disagreements(t *testing.T, s scenario.Scenario, salt string) []string {
	want := o.verdicts(t, s, salt)
	got := check(t, s, salt)
	var found []string
	for _, l := range lines {
		sameLogins := s.Pod == nil || slices.Equal(longest(want, l.runtime), got[l.oracle].Logins)
		if want[l.oracle].Pulls == got[l.oracle].Pulls && sameLogins {
			continue
		}
		if k := known(l.oracle, s, want[l.oracle].Pulls); k != nil {
			o.suppressed[k]++
		} else {
			found = append(found, l.oracle)
		}
	}
	return found
}

// longest returns the logins that the line of a runtime tries which tries most: the check stops where all lines pull.
func longest(verdicts map[string]Verdict, runtime validate.Runtime) (logins []string) {
	for _, l := range lines {
		if v := verdicts[l.oracle]; l.runtime == runtime && len(v.Logins) > len(logins) {
			logins = v.Logins
		}
	}
	return logins
}

// reportLine is report for one line.
func (o *oracle) reportLine(t *testing.T, d disagreement) string {
	want, got := o.verdicts(t, d.scenario, "report"), check(t, d.scenario, "report")
	return fmt.Sprintf("%s\n  runtime %s\n  check %s", d.scenario, describe(want[d.line]), describe(got[d.line]))
}

func (o *oracle) report(t *testing.T, s scenario.Scenario) string {
	want, got := o.verdicts(t, s, "report"), check(t, s, "report")
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", s)
	for _, l := range lines {
		fmt.Fprintf(&b, "  %s %s\n  check for %s %s\n", l.oracle, describe(want[l.oracle]), l.oracle, describe(got[l.oracle]))
	}
	return b.String()
}

// TestExplain prints the verdicts on the scenario of flag -scenario.
func TestExplain(t *testing.T) {
	if *explain == "" {
		t.Skip("there is no scenario to explain; flag -scenario takes one in JSON")
	}
	var s scenario.Scenario
	require.NoError(t, json.Unmarshal([]byte(*explain), &s))
	t.Log(newOracle(t).report(t, s))
}

// TestVerdicts compares the verdicts of package validate with the runtimes' verdicts, on generated scenarios. It
// reduces each disagreement to its relevant deviations.
func TestVerdicts(t *testing.T) {
	var (
		next  atomic.Uint64
		mu    sync.Mutex
		found = make(map[string]disagreement) // By line and reduced scenario.
		kinds = make(map[*Known]int)
		seeds = make(map[string][]uint64)
		wait  sync.WaitGroup
	)
	for range 6 * runtime.GOMAXPROCS(0) { // Some of Docker's pulls wait.
		o := newOracle(t)
		wait.Go(func() {
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				for k, n := range o.suppressed {
					kinds[k] += n
				}
			}()
			for {
				n := next.Add(1) - 1
				if n >= uint64(*scenarios) {
					return
				}
				seed := *firstSeed + n
				for _, line := range o.disagreements(t, scenario.Generate(seed), fmt.Sprint(seed)) {
					small := scenario.Shrink(scenario.Generate(seed), func(s scenario.Scenario) bool {
						return slices.Contains(o.disagreements(t, s, fmt.Sprint(seed)), line)
					})
					key := line + " " + small.String()
					mu.Lock()
					found[key] = disagreement{line, small}
					seeds[key] = append(seeds[key], seed)
					mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
	for i := range Disagreements {
		t.Logf("%d of %d verdicts differ as intended: %s", kinds[&Disagreements[i]], *scenarios*len(lines), Disagreements[i].What)
	}
	o := newOracle(t)
	for _, key := range slices.SortedFunc(maps.Keys(found), func(a, b string) int { return len(seeds[b]) - len(seeds[a]) }) {
		d := found[key]
		t.Errorf("%s, seeds %v\n%s", d.line, seeds[key], o.reportLine(t, d))
		if *keep {
			keepScenario(t, d.scenario)
		}
	}
}

// keepScenario adds a scenario to the file of scenarios that are compared in each run.
func keepScenario(t testing.TB, s scenario.Scenario) {
	t.Helper()
	f, err := os.OpenFile(kept, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	require.NoError(t, err)
	_, err = f.WriteString(s.String() + "\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// kept has the reduced disagreements of earlier days, one per line.
const kept = "testdata/scenarios.jsonl"

// TestVerdictsOnRows compares the verdicts on the rows, and on the disagreements of earlier days, which testdata keeps.
func TestVerdictsOnRows(t *testing.T) {
	o := newOracle(t)
	all := make(map[string]scenario.Scenario)
	for _, row := range scenario.Rows() {
		all["row "+row.Name] = row.Scenario
	}
	text, err := os.ReadFile(kept)
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		var s scenario.Scenario
		require.NoError(t, json.Unmarshal([]byte(line), &s))
		all["kept "+line] = s
	}
	for name, s := range all {
		if found := o.disagreements(t, s, name); len(found) > 0 {
			t.Errorf("%s: %v\n%s", name, found, o.report(t, s))
		}
	}
}

// FuzzVerdicts lets a fuzzer choose the scenario.
func FuzzVerdicts(f *testing.F) {
	f.Add([]byte{0, 3, 1})
	f.Add([]byte{4, 30, 2, 11, 5, 9})
	o := newOracle(f)
	f.Fuzz(func(t *testing.T, choices []byte) {
		s := scenario.FromBytes(choices)
		if found := o.disagreements(t, s, "fuzz"); len(found) > 0 {
			small := scenario.Shrink(s, func(s scenario.Scenario) bool { return len(o.disagreements(t, s, "fuzz")) > 0 })
			t.Errorf("%v\n%s", found, o.report(t, small))
		}
	})
}
