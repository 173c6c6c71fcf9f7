// Package kube keeps image pull secrets in real Kubernetes clusters.
//
// A [Cluster] implements [inject.Cluster] on the Kubernetes API. It watches namespaces, service accounts and the
// secrets with its owner's label, so that a pass without changes sends no request, and it makes each write conditional
// on the version of the object. A [Controller] runs an [inject.Syncer] on it whenever something changes and whenever a
// renewal is due. It is a Runnable of a controller-runtime manager of any version. [Controller.EnsureReady] blocks
// until a workload can pull, so that a program can publish it. [AddPullSecrets] is for programs that write pod
// templates themselves. An [Evictor] evicts pods that were created too early, so that their controllers recreate them.
// [Events] and [Pass.Ready] report problems as events and conditions.
//
// The file rbac.yaml lists the rights that all of this needs.
//
// The package does not issue credentials or check images. It keeps no content of secrets in memory, only fingerprints.
package kube
