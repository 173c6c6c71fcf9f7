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

// A Policy sets rules for some repositories. Each field that is not zero applies. If several policies match a
// repository, all of them apply.
type Policy struct {
	// Repositories is a pattern for their names; see [accounts.Rule]. With "tenant/**", each tenant can have a policy
	// of its own.
	Repositories string

	// Immutable makes tags immutable: once pushed, a tag always refers to the same image. Clients cannot delete the
	// tag, its image, or any part of the image.
	Immutable bool

	// KeepTags is the number of tags that a repository keeps, the newest ones, and KeepFor the time since their push. A
	// tag is removed if it exceeds each of the two limits that is set. If both are zero, all tags are kept.
	KeepTags int
	KeepFor  time.Duration
	// KeepUntagged is the time for which an image without a tag is kept. If zero, it is kept forever, because nodes
	// that know its digest may pull it again.
	KeepUntagged time.Duration

	// MaxBytes is the limit on the total size of the repositories. A layer in several of them counts once. If zero,
	// there is no limit.
	MaxBytes int64
}

func (p Policy) matches(repository string) bool { return accounts.Match(p.Repositories, repository) }

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

// An Effective is the combined effect of the policies on a repository, with the usage of its quotas. It is plain data.
type Effective struct {
	Immutable bool
	// KeepTags, KeepFor and KeepUntagged are the lowest limits of all policies. If zero, there is no limit.
	KeepTags     int
	KeepFor      time.Duration
	KeepUntagged time.Duration
	Quotas       []Quota
}

// A Quota is the limit of a policy and its usage, as of the last measurement plus the writes counted since.
type Quota struct {
	Repositories   string
	Used, MaxBytes int64
}

// Effective returns the combined effect of all policies that match the repository.
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

// shortest returns the smaller of two limits. Zero means no limit.
func shortest[T int | time.Duration](a, b T) T {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// The errors of changes that a policy forbids.
var (
	// ErrImmutable reports a change of an immutable tag, or of an image with such a tag.
	ErrImmutable = errors.New("tag is immutable")
	// ErrFull reports a push that exceeds a quota.
	ErrFull = errors.New("quota is used up")
)

// expired returns the tags that have expired by the policies.
func expired(policies []Policy, repository string, tags map[string]time.Time, now time.Time) []string {
	names := slices.SortedFunc(maps.Keys(tags), func(a, b string) int { // Newest first; then by name, so that runs agree.
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

// untaggedLife returns the time for which an untagged image is kept, or false if it is kept forever.
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
