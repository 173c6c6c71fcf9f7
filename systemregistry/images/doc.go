// Package images lists, deletes and collects the images in the registry.
//
// [Catalog] lists repositories and images as iterators, deletes them, and collects garbage: images that have expired by
// its [Policy] list, and data that no image uses.
//
// The package does not check rights: the server does so before it calls. It does not push or pull.
package images
