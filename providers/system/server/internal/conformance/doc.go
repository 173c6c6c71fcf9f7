// Package conformance tests the registry from outside: with the OCI's own conformance suite, and with a browser. It
// holds tests only.
package conformance
