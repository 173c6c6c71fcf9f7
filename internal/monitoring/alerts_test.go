package monitoring_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each scenario is a program with the real collectors; what Prometheus scrapes from it decides which alerts fire.
var scenarios = map[string]struct {
	alerts []string
	run    func(w *world)
}{
	"healthy for three days, with a restart": {nil, func(w *world) {
		w.targets = append(w.targets, target("dated", w.start.Add(60*24*time.Hour)))
		w.run(36 * time.Hour)
		w.restart()
		w.run(36 * time.Hour)
	}},
	"healthy for two days, with credentials for an hour": {nil, func(w *world) {
		w.issuer.Lifetime = time.Hour
		w.run(48 * time.Hour)
	}},
	"one renewal fails": {nil, func(w *world) {
		w.run(3 * time.Hour)
		for !w.issuerDown.Load() || w.issuer.Calls() < 2 {
			w.issuerDown.Store(true)
			w.run(5 * time.Minute)
		}
		w.issuerDown.Store(false)
		w.run(24 * time.Hour)
	}},
	"the issuer is down": {[]string{"RegcredCredentialExpiring", "RegcredIssuerFailing", "RegcredPullSecretExpiring", "RegcredTargetsNotReady"}, func(w *world) {
		w.run(time.Hour)
		w.issuerDown.Store(true)
		w.run(16 * time.Hour)
	}},
	"a new target has no credential": {[]string{"RegcredIssuerFailing", "RegcredPullSecretsMissing", "RegcredTargetsNotReady"}, func(w *world) {
		w.run(4 * time.Hour)
		w.issuerDown.Store(true)
		w.targets = append(w.targets, target("new", time.Time{}))
		w.run(time.Hour)
	}},
	"the cluster is out of reach": {[]string{"RegcredPassesFailing"}, func(w *world) {
		w.run(time.Hour)
		w.cluster.down.Store(true)
		w.run(time.Hour)
	}},
	"the program is stopped": {[]string{"RegcredDown"}, func(w *world) {
		w.run(time.Hour)
		w.down(time.Hour)
	}},
	"the program is restarted within ten minutes": {nil, func(w *world) {
		w.run(time.Hour)
		w.down(10 * time.Minute)
		w.restart()
		w.run(time.Hour)
	}},
	"the cluster is out of reach since the start": {[]string{"RegcredPassesFailing"}, func(w *world) {
		w.cluster.down.Store(true)
		w.run(time.Hour)
	}},
	"one of two clusters is out of reach during a renewal": {[]string{"RegcredClusterBehind"}, func(w *world) {
		w.run(time.Hour)
		w.edge.down.Store(true)
		w.run(10*time.Hour + 30*time.Minute)
	}},
	"a login expires in ten days": {[]string{"RegcredLoginExpiring"}, func(w *world) {
		w.targets = append(w.targets, target("dated", w.start.Add(10*24*time.Hour)))
		w.run(time.Hour)
	}},
	"a login expires tomorrow": {[]string{"RegcredLoginExpired"}, func(w *world) {
		w.targets = append(w.targets, target("dated", w.start.Add(24*time.Hour)))
		w.run(time.Hour)
	}},
	"a new process has no adoption key": {[]string{"RegcredAdoptionFailing"}, func(w *world) {
		w.run(2 * time.Hour)
		w.adoptionKey = ""
		w.restart()
		w.run(time.Hour)
	}},
	"a new process has another adoption key": {[]string{"RegcredAdoptionFailing"}, func(w *world) {
		w.run(2 * time.Hour)
		w.adoptionKey = "fedcba9876543210"
		w.restart()
		w.run(time.Hour)
	}},
}

func TestAlerts(t *testing.T) {
	list := readRules(t, "alerts.yaml")
	seen := make(map[string]bool)
	for name, scenario := range scenarios {
		t.Run(name, func(t *testing.T) {
			w := inWorld(t, scenario.run)
			got := fired(t, list, w.store(t), w.start, w.end(), time.Minute)
			t.Log(got)
			require.Equal(t, scenario.alerts, slices.Sorted(maps.Keys(got)))
			for alert := range got {
				seen[alert] = true
			}
		})
	}
	for _, r := range list {
		require.True(t, seen[r.Alert], "%s never fired", r.Alert)
	}
}
