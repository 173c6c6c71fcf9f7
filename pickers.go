package regcred

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// A Search selects names from a list of repositories or tags.
type Search struct {
	// Contains is a text that the names must contain, in upper or lower case. Empty means all names.
	Contains string
	// MaxNames is the maximum number of names that are returned. Zero means 100.
	MaxNames int
	// MaxRead is the maximum number of names that are read from the registry, because registries cannot search. Zero means
	// 10000.
	MaxRead int
}

// Names is the result of a [Search]: names of repositories or tags.
type Names struct {
	// Names are in the order of the registry, usually alphabetical. They are empty and not nil if there are none.
	Names []string `json:"names"`
	// Truncated reports whether the search ended at one of its limits although the registry has further names. The user
	// should then narrow the search.
	Truncated bool `json:"truncated"`
}

// Repositories returns the repositories that a profile can see at its endpoints. Each name starts with the host of its
// registry, as in the name of an image: "harbor.example.com/team/app". If the registry does not list repositories, as
// Docker Hub and GHCR do not, or lists them to administrators only, the error has [registry.ErrUnsupported] or
// [registry.ErrDenied], and a hint.
//
// The error is a [registry.Error]. For an invalid profile it has [registry.ErrInvalid] and wraps a [field.Errors].
func (p *Pipeline) Repositories(ctx context.Context, profile registry.Profile, search Search) (Names, error) {
	candidate, err := p.Candidate(profile)
	if err != nil {
		return Names{}, err
	}
	endpoints, err := profile.Endpoints()
	if err != nil {
		return Names{}, refused("list repositories", err)
	}
	return search.collect(func(yield func(string, error) bool) {
		for _, e := range endpoints {
			for name, err := range p.Checker.Repositories(ctx, e, candidate) {
				if !yield(e.Host+"/"+name, err) || err != nil {
					return
				}
			}
		}
	})
}

// Tags returns the tags of a repository that the profile serves. The repository is named as [Pipeline.Repositories]
// returns it; a tag or digest after it is ignored.
//
// The errors are the same as for [Pipeline.Repositories]. For a repository that the profile does not serve, the error has
// [registry.ErrInvalid], and no request is sent.
func (p *Pipeline) Tags(ctx context.Context, profile registry.Profile, repository string, search Search) (Names, error) {
	candidate, err := p.Candidate(profile)
	if err != nil {
		return Names{}, err
	}
	var problems field.List
	image, err := registry.ParseImage(repository)
	problems.Under("repository", err)
	if err == nil && len(registry.Serving([]registry.Profile{profile}, image)) == 0 {
		endpoint, _ := profile.MainEndpoint() // Parsed before.
		problems.Add("repository", "is not one that the profile serves", "a repository at "+endpoint.String())
	}
	if err := refused("list tags", problems.Err("")); err != nil {
		return Names{}, err
	}
	return search.collect(p.Checker.Tags(ctx, image, candidate))
}

// collect reads a list until the search has its names or reaches a limit.
func (s Search) collect(list iter.Seq2[string, error]) (Names, error) {
	wanted, left := option.OrDefault(s.MaxNames, 100), option.OrDefault(s.MaxRead, 10_000)
	found := Names{Names: []string{}} // Encoded as a list, also if it is empty.
	text := strings.ToLower(s.Contains)
	for name, err := range list {
		switch {
		case err != nil:
			return Names{}, err
		case left == 0:
			found.Truncated = true
			return found, nil
		}
		left--
		if !strings.Contains(strings.ToLower(name), text) {
			continue
		}
		if len(found.Names) == wanted {
			found.Truncated = true
			return found, nil
		}
		found.Names = append(found.Names, name)
	}
	return found, nil
}

// Candidate returns the profile as a candidate for a [validate.Checker]. Its credential comes from the cache, its
// transport from the profile. If the registry rejects the credential, the cache renews it. For an invalid profile, the
// error has [registry.ErrInvalid] or [registry.ErrNoProvider].
func (p *Pipeline) Candidate(profile registry.Profile) (validate.Candidate, error) {
	if err := p.validate(profile); err != nil {
		return validate.Candidate{}, refused("read profile", err)
	}
	a := p.account(profile)
	return validate.Candidate{
		Name:       profile.Name,
		Source:     &cachedSource{p, a},
		Transport:  a.profile.Transport,
		OnRejected: func(c credentials.Credential) { p.Cache.Invalidate(a.key, c) },
	}, nil
}

// Source returns a source of the profile's credential from the cache, as a keychain or a credential helper needs it. No
// request is sent to the registry. See [Pipeline.Credential] for a credential that the registry has accepted.
func (p *Pipeline) Source(profile registry.Profile) credentials.Source {
	candidate, err := p.Candidate(profile)
	if err != nil {
		return credentials.Func(func(context.Context) (credentials.Credential, error) {
			return credentials.Credential{}, fmt.Errorf("profile %q: %w", profile.Name, err)
		})
	}
	return candidate.Source
}

// A cachedSource returns the credential of a profile from the cache.
type cachedSource struct {
	p *Pipeline
	a *account
}

// Credential implements [credentials.Source].
func (s *cachedSource) Credential(ctx context.Context) (credentials.Credential, error) {
	return s.p.credential(ctx, s.a)
}
