package validate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/regcred/regcred/registry"
)

// A Platform is what a node, or an image, runs on.
type Platform struct {
	// OS and Architecture are in the words of Go: "linux", "arm64".
	OS, Architecture string
	// Variant is that of the architecture: "v7". Empty means the usual one.
	Variant string
}

// ParsePlatform reads "linux/amd64" or "linux/arm/v7". Its error is a [registry.Error] with [registry.ErrInvalid].
func ParsePlatform(s string) (Platform, error) {
	part := strings.Split(strings.ToLower(strings.TrimSpace(s)), "/")
	if len(part) < 2 || len(part) > 3 || slices.Contains(part, "") {
		return Platform{}, &registry.Error{
			Op: "read platform", Ref: fmt.Sprintf("%q", s), Code: registry.ErrInvalid,
			Hint: "write it as an operating system and an architecture: linux/amd64 or linux/arm/v7",
		}
	}
	p := Platform{OS: part[0], Architecture: part[1]}
	if len(part) == 3 {
		p.Variant = part[2]
	}
	return p, nil
}

// String returns "linux/arm/v7".
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Runs reports whether a node of platform p runs an image for platform image: by the rules of containerd (its package
// platforms), a node also runs images for earlier variants of its architecture. That some 64-bit processors run 32-bit
// images too, which containerd takes as a last resort, is not counted on.
func (p Platform) Runs(image Platform) bool {
	p, image = p.normalized(), image.normalized()
	if p.OS != image.OS || p.Architecture != image.Architecture {
		return false
	}
	if p.Variant == image.Variant {
		return true
	}
	switch p.Architecture {
	case "arm", "amd64":
		// v5 to v8, v1 to v4: each runs what the ones before it run.
		return isVariant(p.Variant) && isVariant(image.Variant) && image.Variant < p.Variant
	}
	return false
}

func isVariant(s string) bool { return len(s) == 2 && s[0] == 'v' && '0' <= s[1] && s[1] <= '9' }

// normalized writes the usual variant of an architecture out, and its other names in the usual way.
func (p Platform) normalized() Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture = "arm"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	if p.Variant != "" && '0' <= p.Variant[0] && p.Variant[0] <= '9' {
		p.Variant = "v" + p.Variant
	}
	switch {
	case p.Architecture == "arm" && p.Variant == "":
		p.Variant = "v7"
	case p.Architecture == "arm64" && p.Variant == "":
		p.Variant = "v8"
	case p.Architecture == "amd64" && p.Variant == "":
		p.Variant = "v1"
	}
	return p
}

// best returns the index of the platform of an image that a node of platform p runs: its own, or else the latest of the
// earlier variants. -1 if it runs none.
func (p Platform) best(images []Platform) int {
	best := -1
	for i, image := range images {
		if p.Runs(image) && (best < 0 || image.normalized().Variant > images[best].normalized().Variant) {
			best = i
		}
	}
	return best
}
