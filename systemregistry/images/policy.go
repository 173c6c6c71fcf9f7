package images

import (
	"fmt"
	"time"

	"github.com/regcred/regcred/systemregistry/accounts"
)

// A Policy sets rules for some repositories. Each field that is not zero applies. If several policies match a
// repository, all of them apply.
type Policy struct {
	// Repositories is a pattern for the names of the repositories; see [accounts.Rule]. With "tenant/**", each tenant
	// can have a policy of its own.
	Repositories string

	// Immutable makes tags immutable: once pushed, a tag always refers to the same image. Clients cannot delete the
	// tag, its image, or any part of the image.
	Immutable bool

	// KeepTags is the number of newest tags that a repository keeps, and KeepFor the time for which it keeps a tag
	// after its push. If both are set, a tag is removed only if it exceeds both. If both are zero, all tags are kept.
	KeepTags int
	KeepFor  time.Duration
	// KeepUntagged is the time for which an image without a tag is kept. If zero, it is kept forever, because nodes
	// that know its digest may pull it again.
	KeepUntagged time.Duration

	// MaxBytes is the limit on the total size of the repositories in bytes. Data in several of them counts once. Each
	// tag, unfinished upload, and layer, config or manifest in a repository also counts 4 KiB for each file and folder
	// that it can create: 7, and one for each part of the repository's name. If zero, there is no limit.
	MaxBytes int64
}

// Validate returns the first problem, or nil.
func (p Policy) Validate() error {
	if err := accounts.ValidPattern(p.Repositories); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if p.KeepTags < 0 || p.KeepFor < 0 || p.KeepUntagged < 0 || p.MaxBytes < 0 {
		return fmt.Errorf("policy for %q: a limit is negative", p.Repositories)
	}
	return nil
}
