// Package credentialsprom exports Prometheus metrics of a [credentials.Cache].
//
// Make a [Collector] with [New] and register it. The labels are the issuer and scope of a key; tenant and login are not
// exported because they may have many values. Hits are not counted because counting costs more than a hit.
package credentialsprom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regcred/regcred/credentials"
)

// A Collector is a [prometheus.Collector] for one cache. Make one with [New].
//
//	regcred_credential_calls_total{issuer,scope,result}   calls to issuers that ended; result is "issued" or "failed"
//	regcred_credential_call_seconds{issuer,scope}         duration of these calls
//	regcred_credential_expiring_total{issuer,scope}       failed renewals shortly before a credential expires: alert on it
//	regcred_credential_keys{issuer,scope,usable}          keys in the cache now
//	regcred_credential_expiry_seconds{issuer,scope}       earliest expiry of the usable credentials, in seconds since 1970
type Collector struct {
	cache    *credentials.Cache
	calls    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	expiring *prometheus.CounterVec
	keys     *prometheus.Desc
	expiry   *prometheus.Desc
}

// New returns a collector for the cache, and appends its hooks to the hooks of the cache. Call it before the cache is
// used.
func New(cache *credentials.Cache) *Collector {
	labels := []string{"issuer", "scope"}
	c := &Collector{
		cache: cache,
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcred_credential_calls_total", Help: "Calls to issuers of credentials that ended.",
		}, append(labels, "result")),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "regcred_credential_call_seconds", Help: "How long calls to issuers of credentials took.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 12),
		}, labels),
		expiring: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcred_credential_expiring_total",
			Help: "Failed renewals when less than a twentieth of a credential's life was left.",
		}, labels),
		keys: prometheus.NewDesc("regcred_credential_keys", "Keys in the cache.", append(labels, "usable"), nil),
		expiry: prometheus.NewDesc("regcred_credential_expiry_seconds",
			"When the first of the usable credentials expires.", labels, nil),
	}
	cache.Hooks = cache.Hooks.Join(credentials.Hooks{
		Issued:   func(e credentials.Event) { c.ended(e, "issued") },
		Failed:   func(e credentials.Event) { c.ended(e, "failed") },
		Expiring: func(e credentials.Event) { c.expiring.WithLabelValues(e.Key.Issuer, e.Key.Scope).Inc() },
	})
	return c
}

// ended counts a call. All counters of an issuer and scope are created at the first call, because Prometheus does not
// count the first value of a series as an increase.
func (c *Collector) ended(e credentials.Event, result string) {
	for _, each := range []string{"issued", "failed"} {
		c.calls.WithLabelValues(e.Key.Issuer, e.Key.Scope, each)
	}
	c.expiring.WithLabelValues(e.Key.Issuer, e.Key.Scope)
	c.calls.WithLabelValues(e.Key.Issuer, e.Key.Scope, result).Inc()
	c.seconds.WithLabelValues(e.Key.Issuer, e.Key.Scope).Observe(e.Took.Seconds())
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	c.calls.Describe(descs)
	c.seconds.Describe(descs)
	c.expiring.Describe(descs)
	descs <- c.keys
	descs <- c.expiry
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	c.calls.Collect(metrics)
	c.seconds.Collect(metrics)
	c.expiring.Collect(metrics)
	type group struct{ issuer, scope string }
	keys := map[group]*[2]int{}
	first := map[group]time.Time{}
	for _, e := range c.cache.Snapshot() {
		g := group{e.Key.Issuer, e.Key.Scope}
		if keys[g] == nil {
			keys[g] = new([2]int)
		}
		if !e.Usable {
			keys[g][0]++
			continue
		}
		keys[g][1]++
		if at := first[g]; !e.ExpiresAt.IsZero() && (at.IsZero() || e.ExpiresAt.Before(at)) {
			first[g] = e.ExpiresAt
		}
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for g, n := range keys {
		gauge(c.keys, float64(n[0]), g.issuer, g.scope, "false")
		gauge(c.keys, float64(n[1]), g.issuer, g.scope, "true")
	}
	for g, at := range first {
		gauge(c.expiry, float64(at.UnixMilli())/1e3, g.issuer, g.scope)
	}
}
