// Package images defines the policies of a registry, and describes the images in it.
//
// A [Policy] sets immutable tags, retention and quotas for some repositories. [Image], [Collection] and [Problem] are
// results of the registry's catalog, see [systemregistry.Images]. All types are plain data.
//
// [systemregistry.Images]: https://pkg.go.dev/github.com/regcred/regcred/systemregistry#Images
package images
