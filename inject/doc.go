// Package inject keeps image pull secrets in the namespaces of Kubernetes clusters: it creates them, names them in
// service accounts, renews them in place and removes them.
//
// A [Target] describes one secret: the profiles that it serves and the namespaces that need it. A [Syncer] compares
// the targets with a [Cluster] and makes the missing changes.
//
// The package imports no Kubernetes code: package inject/kube implements Cluster on a real API, and package
// inject/injecttest has a Cluster in memory. A Syncer does not fetch or check credentials itself. It calls functions
// for both.
package inject
