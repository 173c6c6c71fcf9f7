// Package pullsecret writes image pull secrets, knows how a kubelet reads them, and keeps them in clusters.
//
// [Build] makes the [Config] of a secret from profiles and their credentials; [Config.Match] tells which of its entries
// a kubelet tries for an image, and in which order; [Config.Lint] finds what would not work; [Merge] puts entries into
// a config that others write too; and a [Secret] is the whole object, as manifests that kubectl takes. A [Syncer] keeps
// the secrets of a [Cluster] as [Target] values say, and names them in its service accounts.
//
// The package imports no Kubernetes and sends nothing: package kube has a Cluster on a real API. It does not fetch
// credentials, which providers do, and it does not check that they work, which package validate does; a Syncer is given
// functions for both.
package pullsecret
