// Package kubeletmatch compares package pullsecret with the kubelet's own code. It has only tests, and the program
// keyring, which tests of other modules ask for a kubelet's logins. It is a separate module, because the kubelet's code
// requires all modules of Kubernetes.
//
// The oracle is the code that a kubelet runs between reading the secrets of a pod and requesting a pull from the
// container runtime: secrets.MakeDockerKeyring and parsers.ParseImageName of k8s.io/kubernetes, at the version in
// go.mod.
package kubeletmatch
