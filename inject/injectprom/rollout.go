package injectprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcred/regcred/inject"
)

// A RolloutCollector is a [prometheus.Collector] for the rollout of some targets in several clusters. Create it with
// [NewRollout].
//
//	regcred_pullsecret_rollout_secrets{cluster,state}   published secrets that hold the "newest" credentials of all clusters, or "older" ones, and "missing" ones
//	regcred_pullsecret_rollout_expiry_seconds           the earliest expiry of these secrets, in seconds since 1970
//
// A [Collector] compares the secrets of its cluster with the credentials of its own Syncer, so it cannot detect that
// the cluster is behind others.
type RolloutCollector struct {
	syncers         map[string]*inject.Syncer
	which           func(inject.Target) bool
	secrets, expiry *prometheus.Desc
}

// NewRollout returns a collector for some targets in the clusters of these Syncers; see [inject.RolloutOf]. The keys
// of the map are the values of the label cluster. The function which selects the targets; if nil, all targets are
// selected. To distinguish targets or profiles, register a collector for each with [prometheus.WrapRegistererWith].
func NewRollout(syncers map[string]*inject.Syncer, which func(inject.Target) bool) *RolloutCollector {
	return &RolloutCollector{
		syncers: syncers, which: which,
		secrets: prometheus.NewDesc("regcred_pullsecret_rollout_secrets", "Published secrets by the age of their credentials in all clusters.", []string{"cluster", "state"}, nil),
		expiry:  prometheus.NewDesc("regcred_pullsecret_rollout_expiry_seconds", "When the first of the secrets in all clusters expires.", nil, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *RolloutCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.secrets
	descs <- c.expiry
}

// Collect implements [prometheus.Collector].
func (c *RolloutCollector) Collect(metrics chan<- prometheus.Metric) {
	rollout := inject.RolloutOf(c.syncers, c.which)
	older, missing := byCluster(rollout.Older), byCluster(rollout.Missing)
	for cluster := range c.syncers {
		for state, n := range map[string]int{"newest": rollout.NewestIn[cluster], "older": older[cluster], "missing": missing[cluster]} {
			metrics <- prometheus.MustNewConstMetric(c.secrets, prometheus.GaugeValue, float64(n), cluster, state)
		}
	}
	if at := rollout.ExpiresAt; !at.IsZero() {
		metrics <- prometheus.MustNewConstMetric(c.expiry, prometheus.GaugeValue, float64(at.UnixMilli())/1e3)
	}
}

func byCluster(places []inject.Place) map[string]int {
	count := make(map[string]int)
	for _, p := range places {
		count[p.Cluster]++
	}
	return count
}
