package images

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/systemregistry/accounts"
)

// A Policy is what holds for some repositories. Of a Policy, each field that is not zero counts; of several that match
// a repository, all do.
type Policy struct {
	// Repositories is a pattern for their names; see [accounts.Rule]. Each tenant has one of its own with "tenant/**".
	Repositories string

	// Immutable says that a tag, once pushed, never means another image, and that clients cannot delete it, nor the
	// image that it means, nor what this is made of.
	Immutable bool

	// KeepTags and KeepFor bound how many tags of a repository are kept, the newest ones, and how long since they were
	// pushed. A tag is removed if it is over each of the two that is set. Both zero means that all are kept.
	KeepTags int
	KeepFor  time.Duration
	// KeepUntagged is how long an image that no tag means is kept. Zero means forever, for nodes that were told a
	// digest may ask for it again.
	KeepUntagged time.Duration

	// MaxBytes is how much the repositories may hold together; a layer that several of them have counts once. Zero
	// means no limit.
	MaxBytes int64
}

func (p Policy) matches(repository string) bool { return accounts.Match(p.Repositories, repository) }

// Validate reports the first problem.
func (p Policy) Validate() error {
	if err := accounts.ValidPattern(p.Repositories); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if p.KeepTags < 0 || p.KeepFor < 0 || p.KeepUntagged < 0 || p.MaxBytes < 0 {
		return fmt.Errorf("policy for %q: a limit is negative", p.Repositories)
	}
	return nil
}

// An Effective is what the policies together say of a repository, and how much its quotas hold. It is plain data.
type Effective struct {
	Immutable bool
	// KeepTags, KeepFor and KeepUntagged are the shortest of those of the policies. Zero means no limit.
	KeepTags     int
	KeepFor      time.Duration
	KeepUntagged time.Duration
	Quotas       []Quota
}

// A Quota is a policy with a limit, and how much of it is used, as far as that was measured or counted.
type Quota struct {
	Repositories   string
	Used, MaxBytes int64
}

// Effective returns what holds for the repository.
func (c *Catalog) Effective(repository string) Effective {
	e := Effective{Immutable: c.Immutable(repository)}
	for _, p := range c.policies {
		if p.matches(repository) {
			e.KeepTags = shortest(e.KeepTags, p.KeepTags)
			e.KeepFor = shortest(e.KeepFor, p.KeepFor)
			e.KeepUntagged = shortest(e.KeepUntagged, p.KeepUntagged)
		}
	}
	c.quotas.mu.Lock()
	defer c.quotas.mu.Unlock()
	for r := range c.quotas.of(repository, "") {
		e.Quotas = append(e.Quotas, Quota{r.policy.Repositories, r.used, r.policy.MaxBytes})
	}
	return e
}

// shortest returns the smaller of two limits, of which zero is none.
func shortest[T int | time.Duration](a, b T) T {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// What a policy refuses.
var (
	// ErrImmutable is a tag, or an image with a tag, that may not change.
	ErrImmutable = errors.New("tag is immutable")
	// ErrFull is a push for which there is no room.
	ErrFull = errors.New("quota is used up")
)

// expired returns the tags that the policies keep no longer.
func expired(policies []Policy, repository string, tags map[string]time.Time, now time.Time) []string {
	names := slices.SortedFunc(maps.Keys(tags), func(a, b string) int { // Newest first; by name where they are as old, so that runs agree.
		return cmp.Or(tags[b].Compare(tags[a]), strings.Compare(a, b))
	})
	var gone []string
	for i, name := range names {
		if slices.ContainsFunc(policies, func(p Policy) bool {
			if !p.matches(repository) || p.KeepTags == 0 && p.KeepFor == 0 {
				return false
			}
			many := p.KeepTags == 0 || i >= p.KeepTags
			old := p.KeepFor == 0 || now.Sub(tags[name]) > p.KeepFor
			return many && old
		}) {
			gone = append(gone, name)
		}
	}
	return gone
}

// untaggedLife returns how long an untagged image is kept, or false for ever.
func untaggedLife(policies []Policy, repository string) (time.Duration, bool) {
	var life time.Duration
	found := false
	for _, p := range policies {
		if p.KeepUntagged > 0 && p.matches(repository) && (!found || p.KeepUntagged < life) {
			life, found = p.KeepUntagged, true
		}
	}
	return life, found
}
