package inject

import (
	"fmt"
	"slices"
	"strings"

	"github.com/regcred/regcred/registry"
)

// checkMirrored reports the first entry of Mirrored that is not a registry.
func (s *Syncer) checkMirrored() error {
	for _, name := range s.Mirrored {
		if _, err := registry.ParseEndpoint(name); name != "*" && err != nil {
			return fmt.Errorf("%w: Syncer.Mirrored has %q, which %w", registry.ErrInvalid, name, err)
		}
	}
	return nil
}

// mirrored returns the first host of the profile whose images the nodes get from a mirror with their own login; empty
// if there is none. A path in Mirrored is ignored, because containerd selects mirrors by the host.
func (s *Syncer) mirrored(p registry.Profile) string {
	if len(s.Mirrored) == 0 {
		return ""
	}
	endpoints, _ := p.Endpoints()
	for _, e := range endpoints {
		if slices.ContainsFunc(s.Mirrored, func(name string) bool {
			at, err := registry.ParseEndpoint(name)
			return name == "*" || err == nil && at.Host == e.Host
		}) {
			return e.Host
		}
	}
	return ""
}

// warnMirrored returns a warning for each profile that is left out.
func (s *Syncer) warnMirrored(t *Target) []Problem {
	var warnings []Problem
	for _, p := range t.Profiles {
		if host := s.mirrored(p); host != "" {
			warnings = append(warnings, Problem{Target: t.Name, Profile: p.Name, Err: fmt.Errorf("%w: %s", registry.ErrMirrored, host)})
		}
	}
	return warnings
}

// profileNames returns the names of profiles in the form of [AnnotationProfiles].
func profileNames(profiles []registry.Profile) string {
	if len(profiles) == 1 {
		return profiles[0].Name
	}
	names := make([]string, len(profiles))
	for i, p := range profiles {
		names[i] = p.Name
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}
