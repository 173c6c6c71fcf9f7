// Package runtimes runs the code of container runtimes in process, against the registries of package scenario: what a
// node's runtime does with a registry is decided by that code, not by anybody's reading of it. Its tests compare what
// package validate says of the same registries.
//
//   - [Containerd2] is the pull of containerd 2.4 as CRI does it by default: resolver, authorizer and fetcher, the transfer
//     service with the unpacker, and what the CRI plugin reads of the image afterwards.
//   - [Containerd1] is that of containerd 1.7, whose client pulls. It is a module and a process of its own, in folder
//     containerd1, because both lines share dependencies that behave differently from version to version.
//   - [CRIO] is the library that CRI-O pulls with, go.podman.io/image.
//
// The daemons themselves, Debian's containerd and Docker engine, the containerd that scripts/runtimes builds, and podman,
// pull from the same registries, which shows that the code in process is that of the nodes.
//
// In place of disks there is memory: images are not unpacked to file systems, but each layer is read, decompressed and
// compared to the config. The platform is linux/amd64, whatever the machine.
package runtimes
