// Package catalog lists, deletes and collects the images in a storage, and applies the registry's policies to pushes.
//
// A [Catalog] lists repositories and images, deletes them, and collects garbage: images that have expired by the
// policies, and data that no image uses. The server calls it around each change that a client makes.
//
// The package does not check rights: the server does so before it calls.
package catalog
