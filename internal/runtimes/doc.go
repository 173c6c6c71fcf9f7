// Package runtimes runs the code of container runtimes in process, against the registries of package scenario. The
// result of a pull is decided by that code, and not by a reading of it. The tests compare it with the verdicts of
// package validate on the same registries.
//
//   - [Containerd2] is the pull of containerd 2.4 as CRI does it by default: resolver, authorizer and fetcher, the transfer
//     service with the unpacker, and the parts of the image that the CRI plugin reads afterwards.
//   - [Containerd1] is the pull of containerd 1.7 by its client.
//   - [Docker28] is the pull of Docker Engine 28 with a graph driver, and [Docker29] the pull of 29 with the containerd image
//     store.
//   - [CRIO] is the library that CRI-O pulls with, go.podman.io/image.
//
// containerd 1.7 and Docker are each a [Program]: a separate module and process, in folders of their own, because they
// share dependencies with the others that behave differently from version to version.
//
// The daemons themselves, Debian's containerd and Docker engine, the containerd that scripts/runtimes builds, and
// podman, pull from the same registries, which shows that the code in process behaves like the nodes' code.
//
// Memory replaces disks: images are not unpacked to file systems, but each layer is read, decompressed and compared
// with the config. The platform is linux/amd64, whatever the machine.
package runtimes
