package validate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/regcred/regcred/registry"
)

// A Platform is the platform of a node or an image.
type Platform struct {
	// OS and Architecture are GOOS and GOARCH: "linux", "arm64".
	OS, Architecture string
	// Variant is the variant of the architecture: "v7". Empty means the default variant.
	Variant string
	// OSVersion is the version of Windows: "10.0.17763". If empty, any version matches.
	OSVersion string
}

// ParsePlatform parses "linux/amd64", "linux/arm/v7" or "windows(10.0.17763)/amd64", as containerd writes them. Its error
// is a [registry.Error] with [registry.ErrInvalid].
func ParsePlatform(s string) (Platform, error) {
	part := strings.Split(strings.ToLower(strings.TrimSpace(s)), "/")
	if len(part) < 2 || len(part) > 3 || slices.Contains(part, "") {
		return Platform{}, &registry.Error{
			Op: "read platform", Ref: fmt.Sprintf("%q", s), Code: registry.ErrInvalid,
			Hint: "write it as an operating system and an architecture: linux/amd64 or linux/arm/v7",
		}
	}
	p := Platform{OS: part[0], Architecture: part[1]}
	if os, version, ok := strings.Cut(part[0], "("); ok {
		p.OS, p.OSVersion = os, strings.TrimSuffix(version, ")")
	}
	if len(part) == 3 {
		p.Variant = part[2]
	}
	return p, nil
}

// String returns "linux/arm/v7".
func (p Platform) String() string {
	s := p.OS
	if p.OSVersion != "" {
		s += "(" + p.OSVersion + ")"
	}
	s += "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Runs reports whether a node of platform p runs an image for platform image, by the rules of containerd (its package
// platforms): a node also runs images for earlier variants of its architecture. Runs does not assume that 64-bit
// processors run 32-bit images, although some do.
func (p Platform) Runs(image Platform) bool { return p.rank(image, false, false) >= 0 }

// rank returns how well an image for another platform suits a node of platform p: 0 is best, and -1 means not at all.
// bits32 includes images for 32 bits, and cpuVariants includes images for later variants of amd64.
func (p Platform) rank(image Platform, bits32, cpuVariants bool) int {
	p, image = p.normalized(p.OS), image.normalized(p.OS)
	if !p.sameVersion(image) {
		return -1
	}
	image.OSVersion = p.OSVersion
	return slices.Index(p.vector(bits32, cpuVariants), image)
}

// vector returns the platforms whose images a node of platform p runs, the best first.
func (p Platform) vector(bits32, cpuVariants bool) []Platform {
	var all []Platform
	add := func(architecture string, from, to int) {
		for v := from; v >= to; v-- {
			q := Platform{p.OS, architecture, "v" + strconv.Itoa(v), p.OSVersion}
			all = append(all, q.normalized(p.OS))
		}
	}
	version := 0
	if v, ok := strings.CutPrefix(p.Variant, "v"); ok {
		version, _ = strconv.Atoi(v)
	}
	switch {
	case p.Architecture == "amd64" && cpuVariants && p.Variant == "":
		add("amd64", 4, 1)
	case p.Architecture == "amd64":
		add("amd64", max(version, 1), 1)
	case p.Architecture == "arm" && version >= 5:
		add("arm", version, 5)
	case p.Architecture == "arm64" && version == 9:
		add("arm64", 9, 8)
	default:
		all = append(all, p)
	}
	if bits32 {
		switch p.Architecture {
		case "amd64":
			all = append(all, Platform{p.OS, "386", "", p.OSVersion})
		case "arm64":
			add("arm", 8, 5)
		}
	}
	return all
}

// sameVersion reports whether a node with one version of Windows runs images for the other: the builds must be equal.
func (p Platform) sameVersion(image Platform) bool {
	if p.OS != "windows" || p.OSVersion == "" || image.OSVersion == "" {
		return true
	}
	build := func(v string) []string {
		part := strings.Split(v, ".")
		return part[:min(len(part), 3)]
	}
	return slices.Equal(build(p.OSVersion), build(image.OSVersion))
}

// normalized returns the platform in the normal form of containerd's package platforms. An empty OS means nodeOS.
func (p Platform) normalized(nodeOS string) Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	switch p.OS {
	case "":
		p.OS = strings.ToLower(nodeOS)
	case "macos":
		p.OS = "darwin"
	}
	switch p.Architecture {
	case "i386":
		p.Architecture, p.Variant = "386", ""
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	switch p.Architecture + " " + p.Variant {
	case "amd64 v1", "arm64 8", "arm64 v8", "arm64 v8.0":
		p.Variant = ""
	case "arm64 9", "arm64 9.0", "arm64 v9.0":
		p.Variant = "v9"
	case "arm ", "arm 7":
		p.Variant = "v7"
	case "arm 5", "arm 6", "arm 8":
		p.Variant = "v" + p.Variant
	}
	return p
}

// exact returns the platforms that a runtime which does not normalize looks for, the best first. Source:
// internal/pkg/platform of go.podman.io/image.
func (p Platform) exact() []Platform {
	variants := map[string][]string{"arm": {"v8", "v7", "v6", "v5"}, "arm64": {"v8"}}[p.Architecture]
	var all []Platform
	if p.Variant == "" {
		variants = append([]string{""}, variants...)
	} else {
		i := slices.Index(variants, p.Variant)
		if i < 0 {
			variants, i = []string{p.Variant}, 0
		}
		variants = append(slices.Clip(variants[i:]), "")
	}
	for _, v := range variants {
		all = append(all, Platform{OS: p.OS, Architecture: p.Architecture, Variant: v})
	}
	return all
}

// platformNotFound returns the verdict on an image that is not for the platforms.
func platformNotFound(missing []string, have []Platform) *registry.Error {
	if len(have) == 0 {
		return errorf(registry.ErrPlatformNotFound, "the image is not for %s; it names no platform", strings.Join(missing, ", "))
	}
	var names []string
	for _, p := range have[:min(len(have), 16)] {
		names = append(names, p.String())
	}
	return errorf(registry.ErrPlatformNotFound, "the image is not for %s; it is for %s",
		strings.Join(missing, ", "), strings.Join(names, ", "))
}

// platformOf returns the platform with texts from the image made safe for a log.
func platformOf(os, architecture, variant, version string) Platform {
	return Platform{cleanLine(os, 32), cleanLine(architecture, 32), cleanLine(variant, 32), cleanLine(version, 32)}
}
