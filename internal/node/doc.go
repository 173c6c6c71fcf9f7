// Package node has tests on a real node: a kubelet and containerd pull private images with nothing but the secrets
// that a [kube.Controller] made, also after the first token was revoked, and after it expired; and with no secret at all,
// through the credential provider plugin of examples/node. Another plugin, of package helper, has credentials that rotate,
// are revoked, and fail.
//
// The node lives in a pid and a mount namespace of its own: when the test ends, however it ends, no container and no
// mount is left. A test that is killed leaves its API server, and empty cgroups.
//
// It needs root on Linux, the Debian packages containerd and runc, and the programs that scripts/kubernetes builds:
// etcd, kube-apiserver, kube-controller-manager and kubelet.
package node

import "github.com/regcred/regcred/inject/kube"

var _ kube.Controller // For the link above.
