// Package kube keeps image pull secrets in real Kubernetes clusters.
//
// A [Cluster] is a [inject.Cluster] on the API of one: it watches namespaces, service accounts and the owner's own
// secrets, so that a pass that has nothing to do sends no request, and writes with the version of each object in hand.
// A [Controller] runs a [inject.Syncer] on it whenever something changes and whenever a renewal is due; it is a
// Runnable of a controller-runtime manager of any version, and has the gate before a workload is published,
// [Controller.EnsureReady]. [AddPullSecrets] is for programs that write pod templates themselves. An [Evictor] has pods
// made again that came too early; [Events] and [Pass.Ready] say what is wrong where people look for it.
//
// The rights that all that takes are in rbac.yaml.
//
// It does not issue credentials and does not check images. It keeps no content of secrets in memory, only fingerprints.
package kube
