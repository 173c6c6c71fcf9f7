package registry

import (
	"cmp"
	"slices"
)

// Serving returns the profiles that serve the image, the most specific one first: the one with the longest path.
// Profiles whose endpoints cannot be parsed serve no image. Equally specific profiles keep their order.
func Serving(profiles []Profile, image Image) []Profile {
	type match struct {
		profile Profile
		length  int
	}
	var matches []match
	for _, p := range profiles {
		endpoints, _ := p.Endpoints()
		longest := -1
		for _, e := range endpoints {
			if e.Serves(image) {
				longest = max(longest, len(e.Path))
			}
		}
		if longest >= 0 {
			matches = append(matches, match{p, longest})
		}
	}
	slices.SortStableFunc(matches, func(a, b match) int { return cmp.Compare(b.length, a.length) })
	serving := make([]Profile, len(matches))
	for i, m := range matches {
		serving[i] = m.profile
	}
	return serving
}

// ServingHost returns the profiles with an endpoint at the host, for clients that log in at a registry without naming a
// repository. The profile that covers the largest part of the registry comes first: the one with the shortest path.
// Profiles with equally long paths keep their order. All names of Docker Hub are one host.
func ServingHost(profiles []Profile, host string) []Profile {
	at, err := ParseEndpoint(host)
	if err != nil {
		return nil
	}
	type match struct {
		profile Profile
		length  int
	}
	var matches []match
	for _, p := range profiles {
		endpoints, _ := p.Endpoints()
		shortest := -1
		for _, e := range endpoints {
			if e.Host == at.Host && (shortest < 0 || len(e.Path) < shortest) {
				shortest = len(e.Path)
			}
		}
		if shortest >= 0 {
			matches = append(matches, match{p, shortest})
		}
	}
	slices.SortStableFunc(matches, func(a, b match) int { return cmp.Compare(a.length, b.length) })
	serving := make([]Profile, len(matches))
	for i, m := range matches {
		serving[i] = m.profile
	}
	return serving
}
