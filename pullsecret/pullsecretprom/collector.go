// Package pullsecretprom counts for Prometheus what a [pullsecret.Syncer] does.
//
// Make a [Collector] of the Syncer, have it told of each pass, and register it. There is a series for each profile; none
// has a namespace or a login in it.
package pullsecretprom

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// A Collector is a [prometheus.Collector] for one Syncer. Make one with [New].
//
//	regcred_pullsecret_passes_total{result}                       passes; result is "finished" or "cut_short"
//	regcred_pullsecret_changes_total{action,result}               changes that were tried: "made", "conflict" or "failed"
//	regcred_pullsecret_problems{reason}                           what the last pass over all could not mend: alert on it
//	regcred_pullsecret_expiry_seconds                             when the first published secret expires: alert on it
//	regcred_pullsecret_credential_expiry_seconds{kind,profile}    when the credential of a profile expires
//	regcred_pullsecret_credentials_total{kind,profile,result}     credentials that were handed out: "new" or "failed"
//
// Instants are in seconds since 1970. What never expires has no series.
type Collector struct {
	passes, changes                              *prometheus.CounterVec
	problems, first, credentialExpiry, handedOut *prometheus.Desc

	mu       sync.Mutex
	profiles map[profile]*handouts
	reasons  map[string]int
	expires  time.Time
}

type profile struct{ kind, name string }

// handouts are what a profile was given.
type handouts struct {
	last           credentials.Credential // Without its secret.
	issued, failed int                    // How many new ones, and how often none.
	asked          bool                   // Since the last pass over all.
}

// New returns a collector for the Syncer, and joins itself to its Credential and OnChange. Call it before the Syncer is
// used, and [Collector.Pass] after each pass.
func New(syncer *pullsecret.Syncer) *Collector {
	labels := []string{"kind", "profile"}
	c := &Collector{
		passes:           prometheus.NewCounterVec(prometheus.CounterOpts{Name: "regcred_pullsecret_passes_total", Help: "Passes over a cluster."}, []string{"result"}),
		changes:          prometheus.NewCounterVec(prometheus.CounterOpts{Name: "regcred_pullsecret_changes_total", Help: "Changes that were tried."}, []string{"action", "result"}),
		problems:         prometheus.NewDesc("regcred_pullsecret_problems", "What the last pass over all namespaces could not mend.", []string{"reason"}, nil),
		first:            prometheus.NewDesc("regcred_pullsecret_expiry_seconds", "When the first of the published secrets expires.", nil, nil),
		credentialExpiry: prometheus.NewDesc("regcred_pullsecret_credential_expiry_seconds", "When the credential of a profile expires.", labels, nil),
		handedOut:        prometheus.NewDesc("regcred_pullsecret_credentials_total", "New credentials, and failures to have one.", append(labels, "result"), nil),
		profiles:         make(map[profile]*handouts),
	}
	ask, tell := syncer.Credential, syncer.OnChange
	syncer.Credential = func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
		got, err := ask(ctx, p)
		c.handed(profile{string(p.Kind), p.Name}, got, err)
		return got, err
	}
	syncer.OnChange = func(change pullsecret.Change, err error) {
		c.changes.WithLabelValues(strings.ReplaceAll(string(change.Action), " ", "_"), result(err)).Inc()
		if tell != nil {
			tell(change, err)
		}
	}
	return c
}

func result(err error) string {
	switch {
	case err == nil:
		return "made"
	case errors.Is(err, pullsecret.ErrConflict):
		return "conflict"
	}
	return "failed"
}

func (c *Collector) handed(p profile, got credentials.Credential, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.profiles[p]
	if h == nil {
		h = &handouts{}
		c.profiles[p] = h
	}
	h.asked = true
	if err != nil {
		h.failed++
		return
	}
	if h.issued == 0 || !got.IssuedAt.Equal(h.last.IssuedAt) || !got.ExpiresAt.Equal(h.last.ExpiresAt) {
		h.issued++
	}
	h.last = credentials.Credential{IssuedAt: got.IssuedAt, ExpiresAt: got.ExpiresAt}
}

// Pass takes what a call of Sync returned, and whether it was limited to some namespaces: such a pass is counted, and
// says nothing about the rest. A profile that no pass over all asks for anymore has no series anymore.
func (c *Collector) Pass(result pullsecret.Result, err error, limited bool) {
	if err != nil {
		c.passes.WithLabelValues("cut_short").Inc()
		return
	}
	c.passes.WithLabelValues("finished").Inc()
	if limited {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reasons, c.expires = make(map[string]int), result.ExpiresAt
	for _, p := range result.Problems {
		c.reasons[p.Reason()]++
	}
	for p, h := range c.profiles {
		if !h.asked {
			delete(c.profiles, p)
		}
		h.asked = false
	}
}

// Describe is for Prometheus.
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	c.passes.Describe(descs)
	c.changes.Describe(descs)
	for _, desc := range []*prometheus.Desc{c.problems, c.first, c.credentialExpiry, c.handedOut} {
		descs <- desc
	}
}

// Collect is for Prometheus.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	c.passes.Collect(metrics)
	c.changes.Collect(metrics)
	instant := func(desc *prometheus.Desc, at time.Time, labels ...string) {
		if !at.IsZero() {
			metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(at.UnixMilli())/1e3, labels...)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for reason, n := range c.reasons {
		metrics <- prometheus.MustNewConstMetric(c.problems, prometheus.GaugeValue, float64(n), reason)
	}
	instant(c.first, c.expires)
	for p, h := range c.profiles {
		instant(c.credentialExpiry, h.last.ExpiresAt, p.kind, p.name)
		for result, n := range map[string]int{"new": h.issued, "failed": h.failed} {
			metrics <- prometheus.MustNewConstMetric(c.handedOut, prometheus.CounterValue, float64(n), p.kind, p.name, result)
		}
	}
}
