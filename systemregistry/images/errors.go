package images

import "errors"

// The errors of changes and collections.
var (
	// ErrNoImage reports that the repository, tag or image does not exist.
	ErrNoImage = errors.New("image not found")
	// ErrImmutable reports a change of an immutable tag, or of an image with such a tag.
	ErrImmutable = errors.New("tag is immutable")
	// ErrQuotaExceeded reports a push that exceeds a quota.
	ErrQuotaExceeded = errors.New("quota is used up")
	// ErrChanging reports that other replicas kept changing the same tag or image.
	ErrChanging = errors.New("other clients change the same object")
	// ErrCollecting reports that collections are blocked, by a collection in another replica or by a backup.
	ErrCollecting = errors.New("another replica collects, or a backup is being made")
)
