package systemregistry

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the Prometheus metrics of the registry. No label contains the name of a repository or account, because
// there are too many names, and they belong to tenants.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	sent     prometheus.Counter
	logins   *prometheus.CounterVec
	full     prometheus.Counter
	collects *prometheus.CounterVec
	last     prometheus.Gauge
	quota    *prometheus.Desc
}

func newMetrics() *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcred_registry_requests_total", Help: "Requests by result.",
		}, []string{"operation", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "regcred_registry_request_seconds", Help: "Duration of requests until the last byte was written.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60, 600},
		}, []string{"operation"}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "regcred_registry_sent_bytes_total", Help: "Bytes of bodies that were sent.",
		}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcred_registry_logins_total", Help: "Logins, by result.",
		}, []string{"result"}),
		full: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "regcred_registry_storage_full_total", Help: "Writes that failed because the storage was full.",
		}),
		collects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "regcred_registry_collections_total", Help: "Garbage collections, by result.",
		}, []string{"result"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "regcred_registry_last_collection_timestamp_seconds", Help: "Time at which the last garbage collection of any replica ended without an error, or 0.",
		}),
		quota: prometheus.NewDesc("regcred_registry_fullest_quota_ratio", "Used part of the quota that is closest to its limit.", nil, nil),
	}
	// Create both series now, because Prometheus's increase() misses the event with which a series begins.
	for _, result := range []string{"done", "failed"} {
		m.collects.WithLabelValues(result)
	}
	return m
}

func (m *metrics) collected(err error) {
	if err != nil {
		m.collects.WithLabelValues("failed").Inc()
		return
	}
	m.collects.WithLabelValues("done").Inc()
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.seconds, m.sent, m.logins, m.full, m.collects}
}

func (m *metrics) request(operation string, r Request) {
	m.requests.WithLabelValues(operation, method(r.Method), strconv.Itoa(r.Status)).Inc()
	m.seconds.WithLabelValues(operation).Observe(float64(r.Duration) / float64(time.Second))
	m.sent.Add(float64(r.Sent))
}

// method bounds the values of the label, because a client can send any method.
func method(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE":
		return m
	}
	return "other"
}

func (m *metrics) login(err error) { m.logins.WithLabelValues(loginResult(err)).Inc() }

// Describe implements [prometheus.Collector]. Register the Registry with the program's registerer to export metrics of
// requests, their durations and logins.
func (r *Registry) Describe(descs chan<- *prometheus.Desc) {
	for _, c := range r.metrics.all() {
		c.Describe(descs)
	}
	r.metrics.last.Describe(descs)
	descs <- r.metrics.quota
}

// quotaWait is the longest time that a scrape waits for the store. Prometheus waits 10 seconds by default.
const quotaWait = 2 * time.Second

// Collect implements [prometheus.Collector]. It leaves out the usage of quotas if replicas share a store that does not
// respond.
func (r *Registry) Collect(values chan<- prometheus.Metric) {
	for _, c := range r.metrics.all() {
		c.Collect(values)
	}
	if r.config.collectEvery() > 0 { // Otherwise its value, zero, would look like a collection that is overdue.
		r.metrics.last.Collect(values)
	}
	ctx, cancel := context.WithTimeout(context.Background(), quotaWait)
	defer cancel()
	if fullest, err := r.catalog.FullestQuota(ctx); err == nil { // Without the metric, an alert on its absence can fire.
		values <- prometheus.MustNewConstMetric(r.metrics.quota, prometheus.GaugeValue, fullest)
	}
}
