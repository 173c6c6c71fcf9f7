// Package keyless tests a keyless login from end to end on one machine: a real Kubernetes API server issues the token
// of a service account, the token is exchanged, and a real client pulls with the credential.
package keyless
