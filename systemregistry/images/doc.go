// Package images says what is in the registry, and takes out what should not be there any more.
//
// [Catalog] lists repositories and images as iterators, deletes them, and collects: it removes what its [Policy] list
// keeps no longer, and the data that no image uses.
//
// It asks nobody whether they may: the server does, before it calls. It does not push or pull.
package images
