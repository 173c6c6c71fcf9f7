// Package helper serves the credentials of registry profiles to the programs that pull: to a kubelet, as a credential
// provider plugin, and to docker, podman, skopeo, BuildKit and ORAS, as a docker credential helper.
//
// A pull secret is one way to give a credential to a node. With the plugin, no secret is in the cluster at all; with the
// tokens of service accounts (KEP-4412), nothing is stored on the node either, and a node pulls as the account of the
// pod. [Helper.Kubelet] and [Helper.Docker] each serve one call of such a protocol; [Disk] keeps credentials between
// calls, because each call is a process of its own. [KubeletConfig] and [AudienceRole] write what a kubelet and a cluster
// need for it. examples/node is a program around them.
//
// It does not read profiles: package registry/profilefile does. It compiles no third-party code.
package helper
