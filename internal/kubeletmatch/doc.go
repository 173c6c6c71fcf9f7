// Package kubeletmatch holds package pullsecret to the kubelet's own code. It has tests and nothing else, and is a
// module of its own because that code is one too, with all that Kubernetes requires.
//
// The oracle is what a kubelet runs between reading the secrets of a pod and asking the container runtime to pull:
// secrets.MakeDockerKeyring and parsers.ParseImageName of k8s.io/kubernetes, at the version in go.mod.
package kubeletmatch
