// Package injectprom collects Prometheus metrics of an [inject.Syncer].
//
// [New] returns the [Collector] of a Syncer, which a program then registers. There is a series for each profile; no
// label holds a namespace or a login. [NewRollout] returns a collector for a rotation over several clusters.
package injectprom

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/registry"
)

// A Collector is a [prometheus.Collector] for one Syncer. Create it with [New].
//
//	regcred_pullsecret_passes_total{result}                       passes; result is "finished", or "cut_short" if there was an error
//	regcred_pullsecret_changes_total{action,result}               changes that were tried: "made", "conflict" or "failed"
//	regcred_pullsecret_adoptions_total                            published credentials that were adopted, instead of new ones
//	regcred_pullsecret_secrets{state}                             published secrets that hold the "newest" credentials, or "older" ones, and "missing" ones
//	regcred_pullsecret_problems{reason}                           objects and targets not in their desired state, in all namespaces: alert on it
//	regcred_pullsecret_expiry_seconds                             the earliest expiry of a published secret: alert on it
//	regcred_pullsecret_credential_expiry_seconds{kind,profile}    the expiry of a profile's credential
//	regcred_pullsecret_login_expiry_seconds{kind,profile}         the expiry of a profile's login, which a person has to renew: alert on it
//	regcred_pullsecret_credentials_total{kind,profile,result}     credentials that were handed out: "new" or "failed"
//
// Instants are in seconds since 1970. Credentials, logins and secrets that never expire have no expiry series.
type Collector struct {
	passes, changes                                                    *prometheus.CounterVec
	secrets, problems, first, credentialExpiry, loginExpiry, handedOut *prometheus.Desc

	adoptions prometheus.Counter

	syncer *inject.Syncer

	mu       sync.Mutex
	profiles map[profile]*handouts
}

type profile struct{ kind, name string }

// handouts counts the credentials that a profile was given.
type handouts struct {
	last           credentials.Credential // Without its secret.
	issued, failed int                    // The number of new ones, and of failures.
	login          time.Time              // The expiry of the login.
}

// New returns a collector for the Syncer, and hooks it into the Syncer's Credential, OnChange, OnAdopt and OnSync. Call
// it after these are set and before the Syncer is used. Existing hooks are called too.
//
// The collector counts each pass, also the passes of a kube.Controller and of EnsureReady. Secrets, problems and the
// expiry are read from the Syncer, for all namespaces, when the metrics are collected; see [inject.Syncer.Rollout].
// The series of a profile end with the first pass over all namespaces after which no target of the Syncer has it.
func New(syncer *inject.Syncer) *Collector {
	labels := []string{"kind", "profile"}
	c := &Collector{
		passes:           prometheus.NewCounterVec(prometheus.CounterOpts{Name: "regcred_pullsecret_passes_total", Help: "Passes over a cluster."}, []string{"result"}),
		changes:          prometheus.NewCounterVec(prometheus.CounterOpts{Name: "regcred_pullsecret_changes_total", Help: "Changes that were tried."}, []string{"action", "result"}),
		adoptions:        prometheus.NewCounter(prometheus.CounterOpts{Name: "regcred_pullsecret_adoptions_total", Help: "Published credentials that were adopted."}),
		problems:         prometheus.NewDesc("regcred_pullsecret_problems", "Problems in all places.", []string{"reason"}, nil),
		secrets:          prometheus.NewDesc("regcred_pullsecret_secrets", "Published secrets by the age of their credentials.", []string{"state"}, nil),
		loginExpiry:      prometheus.NewDesc("regcred_pullsecret_login_expiry_seconds", "Time at which the login of a profile expires.", labels, nil),
		syncer:           syncer,
		first:            prometheus.NewDesc("regcred_pullsecret_expiry_seconds", "Time at which the first of the published secrets expires.", nil, nil),
		credentialExpiry: prometheus.NewDesc("regcred_pullsecret_credential_expiry_seconds", "Time at which the credential of a profile expires.", labels, nil),
		handedOut:        prometheus.NewDesc("regcred_pullsecret_credentials_total", "Calls to issuers, by result.", append(labels, "result"), nil),
		profiles:         make(map[profile]*handouts),
	}
	if ask := syncer.Credential; ask != nil { // If nil, Sync reports that it is missing.
		syncer.Credential = func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
			got, err := ask(ctx, p)
			c.handed(p, got, err)
			return got, err
		}
	}
	tell := syncer.OnChange
	syncer.OnChange = func(change inject.Change, err error) {
		c.changes.WithLabelValues(strings.ReplaceAll(string(change.Action), " ", "_"), result(err)).Inc()
		if tell != nil {
			tell(change, err)
		}
	}
	adopted := syncer.OnAdopt
	syncer.OnAdopt = func(p registry.Profile, namespace, secret string) {
		c.adoptions.Inc()
		if adopted != nil {
			adopted(p, namespace, secret)
		}
	}
	next := syncer.OnSync
	syncer.OnSync = func(ctx context.Context, namespaces []string) (context.Context, func(inject.Result, error)) {
		done := func(inject.Result, error) {}
		if next != nil {
			ctx, done = next(ctx, namespaces)
		}
		return ctx, func(result inject.Result, err error) {
			done(result, err)
			c.passed(err, len(namespaces) > 0)
		}
	}
	return c
}

func result(err error) string {
	switch {
	case err == nil:
		return "made"
	case errors.Is(err, registry.ErrConflict):
		return "conflict"
	}
	return "failed"
}

func (c *Collector) handed(asked registry.Profile, got credentials.Credential, err error) {
	p := profile{string(asked.Kind), asked.Name}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.profiles[p]
	if h == nil {
		h = &handouts{}
		c.profiles[p] = h
	}
	h.login = asked.Login.ExpiresAt
	if err != nil {
		h.failed++
		return
	}
	if h.issued == 0 || !got.IssuedAt.Equal(h.last.IssuedAt) || !got.ExpiresAt.Equal(h.last.ExpiresAt) {
		h.issued++
	}
	h.last = credentials.Credential{IssuedAt: got.IssuedAt, ExpiresAt: got.ExpiresAt}
}

func (c *Collector) passed(err error, limited bool) {
	for _, each := range []string{"finished", "cut_short"} { // Both begin with the first pass.
		c.passes.WithLabelValues(each)
	}
	if err != nil {
		c.passes.WithLabelValues("cut_short").Inc()
		return
	}
	c.passes.WithLabelValues("finished").Inc()
	if limited {
		return
	}
	kept := make(map[profile]bool)
	c.syncer.Rollout(func(t inject.Target) bool {
		for _, p := range t.Profiles {
			kept[profile{string(p.Kind), p.Name}] = true
		}
		return false
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.profiles, func(p profile, _ *handouts) bool { return !kept[p] })
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	c.passes.Describe(descs)
	c.changes.Describe(descs)
	c.adoptions.Describe(descs)
	for _, desc := range []*prometheus.Desc{c.secrets, c.problems, c.first, c.credentialExpiry, c.loginExpiry, c.handedOut} {
		descs <- desc
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	c.passes.Collect(metrics)
	c.changes.Collect(metrics)
	c.adoptions.Collect(metrics)
	instant := func(desc *prometheus.Desc, at time.Time, labels ...string) {
		if !at.IsZero() {
			metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(at.UnixMilli())/1e3, labels...)
		}
	}
	rollout := c.syncer.Rollout(nil)
	for state, n := range map[string]int{"newest": rollout.Newest, "older": len(rollout.Older), "missing": len(rollout.Missing)} {
		metrics <- prometheus.MustNewConstMetric(c.secrets, prometheus.GaugeValue, float64(n), state)
	}
	reasons := make(map[string]int)
	for _, p := range rollout.Problems {
		reasons[p.Reason()]++
	}
	for reason, n := range reasons {
		metrics <- prometheus.MustNewConstMetric(c.problems, prometheus.GaugeValue, float64(n), reason)
	}
	instant(c.first, rollout.ExpiresAt)
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, h := range c.profiles {
		instant(c.loginExpiry, h.login, p.kind, p.name)
		instant(c.credentialExpiry, h.last.ExpiresAt, p.kind, p.name)
		for result, n := range map[string]int{"new": h.issued, "failed": h.failed} {
			metrics <- prometheus.MustNewConstMetric(c.handedOut, prometheus.CounterValue, float64(n), p.kind, p.name, result)
		}
	}
}
