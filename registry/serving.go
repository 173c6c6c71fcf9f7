package registry

import (
	"cmp"
	"slices"
)

// Serving returns the profiles that serve the image, the most specific one first: that with the longest path. Profiles
// whose endpoints cannot be read serve nothing. Between equals, the order of profiles stays.
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
