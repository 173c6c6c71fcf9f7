package registry

import (
	"cmp"
	"maps"
	"slices"
)

// Serving returns the profiles that serve the image, the most specific one first: the one with the longest path.
// Profiles whose endpoints cannot be parsed serve no image. Equally specific profiles keep their order.
func Serving(profiles []Profile, image Image) []Profile {
	return ranked(profiles, func(e Endpoint) bool { return e.Serves(image) }, func(e Endpoint) int { return -len(e.Path) })
}

// ServingHost returns the profiles with an endpoint at the host, for clients that log in at a registry without naming a
// repository. The profile that covers the largest part of the registry comes first: the one with the shortest path.
// Profiles with equally long paths keep their order. All names of Docker Hub are one host.
func ServingHost(profiles []Profile, host string) []Profile {
	at, err := ParseEndpoint(host)
	if err != nil {
		return nil
	}
	return ranked(profiles, func(e Endpoint) bool { return e.Host == at.Host }, func(e Endpoint) int { return len(e.Path) })
}

// ranked returns the profiles with a matching endpoint, in the order of the smallest rank of their matching endpoints.
func ranked(profiles []Profile, matches func(Endpoint) bool, rank func(Endpoint) int) []Profile {
	var found []Profile
	ranks := make(map[int][]Profile)
	for _, p := range profiles {
		endpoints, _ := p.Endpoints()
		endpoints = slices.DeleteFunc(endpoints, func(e Endpoint) bool { return !matches(e) })
		if len(endpoints) > 0 {
			best := slices.MinFunc(endpoints, func(a, b Endpoint) int { return cmp.Compare(rank(a), rank(b)) })
			ranks[rank(best)] = append(ranks[rank(best)], p)
		}
	}
	for _, r := range slices.Sorted(maps.Keys(ranks)) {
		found = append(found, ranks[r]...)
	}
	return found
}
