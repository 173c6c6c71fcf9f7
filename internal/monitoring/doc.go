// Package monitoring tests the alert rules and the dashboard in the folder monitoring, with Prometheus' own code and the
// metrics that the library exports. It has no code of its own.
package monitoring
