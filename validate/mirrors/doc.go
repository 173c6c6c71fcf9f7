// Package mirrors reports what the nodes of a cluster do with the name of an image, according to their own files: which
// hosts a container runtime sends requests to, in which order, with which path, and which login each of them receives.
//
// A pull secret that is right for a registry can be wrong for a node with mirrors. containerd sends its password to
// every mirror; CRI-O sends it to none; and on k3s it replaces the login that the node has for its mirror. [Read] reads
// the files from a copy of a node's file system, [Node.Route] returns the hosts for one image, [Node.Lint] finds
// mistakes, and [Checker] checks each host as the runtime would.
//
// The files are:
//
//   - etc/containerd/config.toml with its imports, and certs.d/HOST/hosts.toml with docker's folders of certificates, in
//     the folder that config_path names;
//   - etc/rancher/k3s/registries.yaml and etc/rancher/rke2/registries.yaml;
//   - etc/containers/registries.conf and registries.conf.d, with etc/containers/certs.d and etc/docker/certs.d;
//   - etc/docker/daemon.json;
//   - the files with the node's own logins: etc/crio/crio.conf (global_auth_file), run/containers/0/auth.json and
//     root/.docker/config.json.
//
// The rules were observed on the runtimes and read in their sources, and tests compare this package with the requests
// that real runtimes send; docs/mirrors.md has the versions.
package mirrors
