package runtimes

import (
	"context"
	"errors"
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

// programs are built once for all tests.
var programs = map[string]func() (string, error){
	Containerd1: built(Containerd1), Docker28: built(Docker28), Docker29: built(Docker29),
	Keyring: built(Keyring),
}

func built(name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "regcred-runtimes-")
		if err != nil {
			return "", err
		}
		return BuildProgram(dir, name)
	})
}

// startProgram builds a program if needed, and starts it.
func startProgram(t testing.TB, name string) *Program {
	t.Helper()
	path, err := programs[name]()
	require.NoError(t, err)
	p, err := StartProgram(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// An oracle has one of each runtime, and a kubelet's keyring.
type oracle struct {
	programs map[string]*Program // By the name of the runtime.
	crio     *CRIO
	keyring  *Program

	suppressed map[*Known]int // The number of disagreements of each known kind.
}

func newOracle(t testing.TB) *oracle {
	t.Helper()
	crio, err := NewCRIO()
	require.NoError(t, err)
	t.Cleanup(crio.Close)
	return &oracle{map[string]*Program{
		"containerd 1.7": startProgram(t, Containerd1), "Docker": startProgram(t, Docker28), "Docker 29": startProgram(t, Docker29),
	}, crio, startProgram(t, Keyring), make(map[*Known]int)}
}

// patience is the timeout of a pull: long enough for a busy machine.
const patience = time.Minute

// verdicts returns the verdicts of all runtimes, by name. For a pod, each login is a whole pull, until one succeeds. The
// kubelet finds the logins, and pulls without one only if it finds none.
func (o *oracle) verdicts(t testing.TB, s scenario.Scenario, salt string) map[string]Verdict {
	t.Helper()
	if s.Pod == nil {
		return o.pulls(t, s, salt)
	}
	found, err := o.keyring.Logins(s)
	require.NoError(t, err)
	if found.Error == "" && len(found.Logins) == 0 {
		found.Logins = []Login{{}}
	}
	all := make(map[string]Verdict)
	for _, l := range lines {
		all[l.oracle] = Verdict{Error: found.Error}
	}
	for _, login := range found.Logins {
		for name, v := range o.pulls(t, s.WithLogin(login.Username, login.Password), salt) {
			if known := all[name]; !known.Pulls {
				v.Requests = append(known.Requests, v.Requests...)
				v.Logins = append(known.Logins, login.Username)
				all[name] = v
			}
		}
	}
	return all
}

// pulls returns the verdicts of all runtimes on one login. The runtimes pull at the same time.
func (o *oracle) pulls(t testing.TB, s scenario.Scenario, salt string) map[string]Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var (
		mu   sync.Mutex
		wait sync.WaitGroup
		errs []error
		all  = make(map[string]Verdict)
	)
	pull := func(name string, f func() (Verdict, error)) {
		wait.Go(func() {
			v, err := f()
			mu.Lock()
			defer mu.Unlock()
			all[name], errs = v, append(errs, err)
		})
	}
	pull("containerd 2", func() (Verdict, error) { return Containerd2(ctx, s, salt), nil })
	pull("CRI-O", func() (Verdict, error) { return o.crio.Pull(ctx, s, salt), nil })
	for name, p := range o.programs {
		pull(name, func() (Verdict, error) { return p.Pull(s, salt, patience) })
	}
	wait.Wait()
	require.NoError(t, errors.Join(errs...))
	return all
}

func describe(v Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "pulls: %v", v.Pulls)
	if v.Logins != nil {
		fmt.Fprintf(&b, ", logins %q", v.Logins)
	}
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
			for name, want := range map[string]bool{
				"containerd 1.7": row.Containerd1, "containerd 2": row.Containerd2, "CRI-O": row.CRIO, "Docker": row.Docker, "Docker 29": row.Docker29,
			} {
				if got := verdicts[name]; got.Pulls != want {
					t.Errorf("%s: want pulls: %v\n%s\n%s", name, want, row.Scenario, describe(got))
				}
			}
		})
	}
}
