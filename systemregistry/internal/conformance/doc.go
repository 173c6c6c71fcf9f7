// Package conformance tests the registry from outside: with the OCI's own conformance suite, Docker, containerd and a
// browser, and over an S3 service. It holds tests only.
package conformance
