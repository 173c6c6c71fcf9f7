package catalog

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/images"
)

func matches(p images.Policy, repository string) bool {
	return accounts.Match(p.Repositories, repository)
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
func (c *Catalog) Effective(ctx context.Context, repository string) (Effective, error) {
	e := Effective{Immutable: c.Immutable(repository)}
	for _, p := range c.policies {
		if matches(p, repository) {
			e.KeepTags = shortest(e.KeepTags, p.KeepTags)
			e.KeepFor = shortest(e.KeepFor, p.KeepFor)
			e.KeepUntagged = shortest(e.KeepUntagged, p.KeepUntagged)
		}
	}
	if c.shared != nil {
		for _, p := range c.policies {
			if p.MaxBytes == 0 || !matches(p, repository) {
				continue
			}
			used, err := c.shared.Used(ctx, p.Repositories)
			if err != nil {
				return Effective{}, err
			}
			e.Quotas = append(e.Quotas, Quota{p.Repositories, used, p.MaxBytes})
		}
		return e, nil
	}
	c.quotas.mu.Lock()
	defer c.quotas.mu.Unlock()
	for r := range c.quotas.of(repository, "") {
		e.Quotas = append(e.Quotas, Quota{r.policy.Repositories, r.used, r.policy.MaxBytes})
	}
	return e, nil
}

// FullestQuota returns the used part of the quota that is closest to its limit: 1 means that pushes are rejected. It is 0
// if no policy has a limit. It fails if replicas share the storage and the store does not respond.
func (c *Catalog) FullestQuota(ctx context.Context) (float64, error) {
	fullest := 0.0
	if c.shared != nil {
		for _, l := range limits(c.policies) {
			used, err := c.shared.Used(ctx, l.Name)
			if err != nil {
				return 0, err
			}
			fullest = max(fullest, float64(used)/float64(l.MaxBytes))
		}
		return fullest, nil
	}
	c.quotas.mu.Lock()
	defer c.quotas.mu.Unlock()
	for _, r := range c.quotas.rooms {
		fullest = max(fullest, float64(r.used)/float64(r.policy.MaxBytes))
	}
	return fullest, nil
}

// shortest returns the smaller of two limits. Zero means no limit.
func shortest[T int | time.Duration](a, b T) T {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// expired returns the tags that have expired by the policies.
func expired(policies []images.Policy, repository string, tags map[string]time.Time, now time.Time) []string {
	names := slices.SortedFunc(maps.Keys(tags), func(a, b string) int { // Newest first; then by name, so that runs agree.
		return cmp.Or(tags[b].Compare(tags[a]), strings.Compare(a, b))
	})
	var gone []string
	for i, name := range names {
		if slices.ContainsFunc(policies, func(p images.Policy) bool {
			if !matches(p, repository) || p.KeepTags == 0 && p.KeepFor == 0 {
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
func untaggedLife(policies []images.Policy, repository string) (time.Duration, bool) {
	var life time.Duration
	found := false
	for _, p := range policies {
		if p.KeepUntagged > 0 && matches(p, repository) && (!found || p.KeepUntagged < life) {
			life, found = p.KeepUntagged, true
		}
	}
	return life, found
}
