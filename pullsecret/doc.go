// Package pullsecret reads and writes image pull secrets as a kubelet understands them.
//
// [Build] makes the [Config] of a secret from profiles and their credentials. [Config.Match] returns the entries that a
// kubelet tries for an image, in its order. [Config.Lint] finds entries that would not work. [Merge] puts entries into
// a config that other programs write too. A [Secret] is the whole object, as a manifest for kubectl.
//
// The package compiles no Kubernetes code and sends no requests. Package providers fetches the credentials, and package
// validate checks that they work.
package pullsecret
