// Package helper serves the credentials of registry profiles to programs that pull: to a kubelet, as a credential provider
// plugin, and to docker, podman, skopeo, BuildKit and ORAS, as a docker credential helper.
//
// With the plugin, no pull secret is in the cluster; with the tokens of service accounts (KEP-4412), nothing is stored on
// the node either, and a node pulls as the account of the pod. [Helper.Kubelet] and [Helper.Docker] each serve one call of
// such a protocol. [Disk] keeps credentials between calls, because each call is a process of its own. [KubeletConfig] and
// [AudienceRole] return the configuration that a kubelet and a cluster need. examples/node is a program around them.
//
// Package registry/profilefile reads profiles from files. Package helper compiles no third-party code.
package helper
