package runtimes

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/scenario"
)

func TestMain(m *testing.M) {
	log.L.Logger.SetLevel(logrus.PanicLevel) // containerd's own lines about each failure.
	os.Exit(m.Run())
}

// program builds containerd1 once for all tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "regcred-runtimes-")
	if err != nil {
		return "", err
	}
	return BuildContainerd1(dir)
})

// An oracle has one of each runtime.
type oracle struct {
	containerd1 *Containerd1
	crio        *CRIO
}

func newOracle(t testing.TB) *oracle {
	t.Helper()
	path, err := program()
	require.NoError(t, err)
	containerd1, err := NewContainerd1(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, containerd1.Close()) })
	crio, err := NewCRIO()
	require.NoError(t, err)
	t.Cleanup(crio.Close)
	return &oracle{containerd1, crio}
}

// patience is the timeout of a pull. It is short if a registry responds with 429, because CRI-O then waits for minutes,
// and otherwise long enough for a busy machine.
func patience(s scenario.Scenario) time.Duration {
	if strings.Contains(s.String(), ":429") {
		return 3 * time.Second
	}
	return time.Minute
}

// verdicts returns the verdicts of all runtimes, by name.
func (o *oracle) verdicts(t testing.TB, s scenario.Scenario, salt string) map[string]Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience(s))
	defer cancel()
	first, err := o.containerd1.Pull(s, salt)
	require.NoError(t, err)
	return map[string]Verdict{"containerd 1.7": first, "containerd 2": Containerd2(ctx, s, salt), "CRI-O": o.crio.Pull(ctx, s, salt)}
}

func describe(v Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "pulls: %v", v.Pulls)
	if v.Error != "" {
		fmt.Fprintf(&b, ", %s", v.Error)
	}
	for _, r := range v.Requests {
		fmt.Fprintf(&b, "\n    %s", r)
	}
	return b.String()
}

// TestRows compares the code of the runtimes with the recorded verdicts of their daemons.
func TestRows(t *testing.T) {
	o := newOracle(t)
	for i, row := range scenario.Rows() {
		t.Run(row.Name, func(t *testing.T) {
			verdicts := o.verdicts(t, row.Scenario, fmt.Sprint(i))
			for name, want := range map[string]bool{"containerd 1.7": row.Containerd1, "containerd 2": row.Containerd2, "CRI-O": row.CRIO} {
				if got := verdicts[name]; got.Pulls != want {
					t.Errorf("%s: want pulls: %v\n%s\n%s", name, want, row.Scenario, describe(got))
				}
			}
		})
	}
}
