package runtimes

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/scenario"
	"github.com/regcred/regcred/internal/testtool"
)

var daemonScenarios = flag.Int("daemon-scenarios", 50, "how many generated scenarios each daemon pulls from")

// TestDaemons pulls the rows and generated scenarios with the runtimes' own programs. The expected verdicts of the
// generated ones come from the runtimes' code in this process.
func TestDaemons(t *testing.T) {
	t.Run("containerd 1.6", func(t *testing.T) {
		t.Parallel()
		d := startContainerd(t, testtool.Need(t, "containerd"), "containerd1.toml")
		rows(t, d, func(r scenario.Row) bool {
			return r.Containerd1 && r.Scenario.Content.ConfigText == "" // 1.6 counts layers of unknown types, and 1.7 does not.
		})
	})
	t.Run("containerd 2.4", func(t *testing.T) {
		t.Parallel()
		d := startContainerd(t, testtool.Built(t, "runtimes/bin/containerd-2.*[0-9]", "scripts/runtimes"), "containerd2.toml")
		rows(t, d, func(r scenario.Row) bool { return r.Containerd2 })
		generated(t, d, func(ctx context.Context, s scenario.Scenario, salt string) Verdict { return Containerd2(ctx, s, salt) }, nil)
	})
	t.Run("Docker 20.10", func(t *testing.T) {
		t.Parallel()
		d := startDocker(t)
		rows(t, d, func(r scenario.Row) bool { return r.Docker20 })
		program := startProgram(t, Docker28)
		generated(t, d, func(ctx context.Context, s scenario.Scenario, salt string) Verdict {
			end, _ := ctx.Deadline()
			v, err := program.Pull(s, salt, time.Until(end))
			require.NoError(t, err)
			return v
		}, func(s scenario.Scenario) bool {
			return changedSince20(s) || len(s.Blob.First) > 0 // The daemon repeats requests for layers, the code in process does not.
		})
	})
	t.Run("podman", func(t *testing.T) {
		t.Parallel()
		d := newPodman(t)
		rows(t, d, func(r scenario.Row) bool { return r.CRIO && !artifact(r.Scenario) })
		crio, err := NewCRIO()
		require.NoError(t, err)
		t.Cleanup(crio.Close)
		generated(t, d, func(ctx context.Context, s scenario.Scenario, salt string) Verdict {
			v := crio.Pull(ctx, s, salt)
			v.Pulls = v.Pulls && !artifact(s)
			return v
		}, func(s scenario.Scenario) bool {
			// podman repeats the whole pull after a temporary error; CRI-O leaves retries to the kubelet.
			return len(s.Manifest.First) > 0 || len(s.Blob.First) > 0
		})
	})
}

// changedSince20 reports whether Docker 20.10 treats the scenario otherwise than later versions with a graph driver: see
// docs/runtimes.md. It also crashes for a platform in capitals.
func changedSince20(s scenario.Scenario) bool {
	return s.Manifest.Head.Digest == "other" || slices.ContainsFunc(s.Content.Index, func(e scenario.Entry) bool {
		return e.Content.Index != nil || e.Content.EmptyIndex ||
			slices.Contains([]string{"none", "null", "{}", `{"os":"","architecture":""}`, `{"architecture":"","os":""}`}, e.Platform) ||
			strings.Contains(e.Platform+e.Content.Platform, "v2") || strings.Contains(e.Platform, "v3") || strings.Contains(e.Platform, "AMD64") ||
			strings.Contains(e.Platform, "os.features")
	})
}

// artifact reports whether CRI-O falls back to what it calls an OCI artifact, which podman does not have.
func artifact(s scenario.Scenario) bool {
	return s.Content.ConfigType == "application/vnd.cncf.helm.config.v1+json"
}

// daemonPatience is the timeout of a daemon's pull. Only a daemon that waits before a retry needs longer.
const daemonPatience = 8 * time.Second

// longPatience is the timeout of a second attempt, which is made only where the first one may have been too slow.
const longPatience = time.Minute

// pulls returns the verdict of a daemon. If it does not pull what it should, it gets one more attempt with more time.
func pulls(d *daemon, s scenario.Scenario, salt string, want bool) Verdict {
	v := d.verdict(s, salt, daemonPatience)
	if want && !v.Pulls {
		v = d.verdict(s, salt+" again", longPatience)
	}
	return v
}

func rows(t *testing.T, d *daemon, want func(scenario.Row) bool) {
	t.Helper()
	for i, row := range scenario.Rows() {
		v := pulls(d, row.Scenario, fmt.Sprintf("%s row %d", t.Name(), i), want(row))
		if v.Pulls != want(row) {
			t.Errorf("row %s: want pulls: %v\n%s\n%s", row.Name, want(row), row.Scenario, describe(v))
		}
	}
}

func generated(t *testing.T, d *daemon, oracle func(context.Context, scenario.Scenario, string) Verdict, skip func(scenario.Scenario) bool) {
	t.Helper()
	for seed := range uint64(*daemonScenarios) {
		s, salt := scenario.Generate(seed), fmt.Sprintf("%s seed %d", t.Name(), seed)
		if skip != nil && skip(s) {
			continue
		}
		ask := func(salt string, patience time.Duration) Verdict {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			return oracle(ctx, s, salt)
		}
		want := ask(salt, daemonPatience)
		got := pulls(d, s, salt, want.Pulls)
		if got.Pulls && !want.Pulls { // The code may have been too slow, just like a daemon.
			want = ask(salt+" again", longPatience)
		}
		if got.Pulls != want.Pulls {
			t.Errorf("seed %d: %s\nthe code: %s\nthe daemon: %s", seed, s, describe(want), describe(got))
		}
	}
}
