// Package keyless tests the whole way of a keyless login on one machine: the token of a service account that a real
// Kubernetes API server issues, the exchange, and a real client that pulls with the credential.
package keyless
