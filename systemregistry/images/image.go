package images

import (
	"fmt"
	"strings"
	"time"
)

// An Image describes the image of a tag or digest. It is plain data.
type Image struct {
	Repository string `json:"repository"`
	// Tag is empty if the image was requested by digest.
	Tag       string `json:"tag,omitempty"`
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType"`
	// Size is the number of bytes that a client downloads: layers, configs and manifests of all platforms. Data that
	// two platforms share counts once. For data that the registry does not have itself, Size includes the size in the
	// manifest.
	Size int64 `json:"size"`
	// Platforms are the image's platforms, such as "linux/arm64/v8", sorted. It is empty if the image names none, as
	// for charts and other artifacts.
	Platforms []string `json:"platforms,omitempty"`
	// CreatedAt is the time of creation according to the image. It is zero if the image has none. PushedAt is the time
	// at which the tag was set to this image. It is zero if that is not known.
	CreatedAt time.Time `json:"createdAt,omitzero"`
	PushedAt  time.Time `json:"pushedAt,omitzero"`
}

// A Collection lists the tags, images and data that a collection removed.
type Collection struct {
	// Tags and Images have expired by the policies. They are written as "repository:tag" and "repository@digest".
	Tags, Images []string
	// Blobs and Bytes are the number and the total size of the blobs that no image used.
	Blobs int
	Bytes int64
	// Uploads is the number of abandoned uploads.
	Uploads int
}

// A Problem reports data that is missing, unreadable, or does not match its digest.
type Problem struct {
	// Repository and Reference, a tag or digest, identify the image that needs the data with Digest. Both are empty if
	// no repository has the data.
	Repository, Reference string
	Digest                string
	// Err is the error of the data.
	Err error
}

// Error describes the problem in one line.
func (p Problem) Error() string {
	if p.Repository == "" {
		return fmt.Sprintf("%s: %v", p.Digest, p.Err)
	}
	separator := ":"
	if strings.Contains(p.Reference, ":") {
		separator = "@"
	}
	return fmt.Sprintf("%s%s%s needs %s: %v", p.Repository, separator, p.Reference, p.Digest, p.Err)
}
