package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/regcred/regcred/field"
)

// An Image is the name of an image. It is comparable. The zero Image means none.
type Image struct {
	// Host is the registry, with its port if there is one, in its original case, because kubelet compares it exactly. For
	// Docker Hub it is "docker.io".
	Host string
	// Repository is the name within the registry: "library/nginx".
	Repository string
	// Tag is the tag. It is "latest" if the name has neither a tag nor a digest, and empty only if Digest is set.
	Tag string
	// Digest is an algorithm and its hexadecimal digits, usually "sha256:" and 64 digits. Empty means that the name has no
	// digest.
	Digest string
}

// ParseImage parses the name of an image as people write it, by Docker's rules: nginx is
// docker.io/library/nginx:latest. For a name that a container runtime would reject, it returns an [Error] with
// [ErrInvalid].
func ParseImage(s string) (Image, error) {
	image, err := parseImage(s)
	if err != nil {
		const hint = "correct the name of the image: expected a name such as nginx or ghcr.io/acme/app:1.4"
		return Image{}, &Error{Op: "read image name", Ref: field.Quote(s), Code: ErrInvalid, Hint: hint, Err: err}
	}
	return image, nil
}

func parseImage(s string) (Image, error) {
	switch scheme, _, hasScheme := strings.Cut(s, "://"); {
	case s == "":
		return Image{}, errors.New("is empty")
	case strings.TrimSpace(s) != s:
		return Image{}, errors.New("has white space at an end")
	case hasScheme && scheme != "" && strings.Trim(strings.ToLower(scheme), "abcdefghijklmnopqrstuvwxyz-+.") == "":
		return Image{}, fmt.Errorf("starts with %s://: write the name without a scheme", scheme)
	case isHex(s, 64):
		return Image{}, errors.New("is the ID of an image, not a name")
	}
	var image Image
	name, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		if digest != "" && !strings.HasPrefix(digest, "sha") && !strings.HasPrefix(digest, "md5:") {
			return Image{}, errors.New("has an @ without a digest: an image name cannot contain a login")
		}
		if err := checkDigest(digest); err != nil {
			return Image{}, err
		}
		image.Digest = digest
	}
	// A colon after the last slash starts a tag; one before it, a port.
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		image.Tag = name[i+1:]
		if err := checkTag(image.Tag); err != nil {
			return Image{}, err
		}
		name = name[:i]
	}
	if host, rest, ok := strings.Cut(name, "/"); ok && looksLikeHost(host) {
		clean, err := cleanHost(host)
		if err != nil {
			return Image{}, err
		}
		if !strings.EqualFold(clean, host) && !strings.HasPrefix(host, "[") {
			return Image{}, fmt.Errorf("%s is not a host", field.Quote(host))
		}
		image.Host, image.Repository = host, rest
	} else {
		image.Host, image.Repository = dockerHubHost, name
	}
	// In the name of an image, container runtimes know only these two names of Docker Hub.
	if image.Host == "index.docker.io" {
		image.Host = dockerHubHost
	}
	if image.Host == dockerHubHost && !strings.Contains(image.Repository, "/") {
		image.Repository = "library/" + image.Repository
	}
	if err := checkRepository(strings.TrimPrefix(image.Repository, "library/")); err != nil {
		return Image{}, fmt.Errorf("repository %w", err)
	}
	if len(image.Repository) > 255 {
		return Image{}, errors.New("repository is longer than 255 characters")
	}
	if image.Tag == "" && image.Digest == "" {
		image.Tag = "latest"
	}
	return image, nil
}

// Name returns the image without tag and digest: "docker.io/library/nginx".
func (i Image) Name() string { return i.Host + "/" + i.Repository }

// Reference returns the digest of the image if it has one, otherwise the tag.
func (i Image) Reference() string {
	if i.Digest != "" {
		return i.Digest
	}
	return i.Tag
}

// String returns the full name.
func (i Image) String() string {
	s := i.Name()
	if i.Tag != "" {
		s += ":" + i.Tag
	}
	if i.Digest != "" {
		s += "@" + i.Digest
	}
	return s
}

// checkRepository checks a name against the grammar of the OCI distribution specification ("Pulling manifests"): parts
// of lower-case letters and digits, joined by one dot, one or two underscores or any number of hyphens.
func checkRepository(s string) error {
	for part := range strings.SplitSeq(s, "/") {
		if err := checkPart(part); err != nil {
			return fmt.Errorf("%s %w", field.Quote(s), err)
		}
	}
	return nil
}

func checkPart(part string) error {
	if part == "" {
		return errors.New("is empty, or has two slashes or one at an end")
	}
	separator := ""
	for i, r := range part {
		switch {
		case isLower(r) || isDigit(r):
			if !validSeparator(separator) {
				return fmt.Errorf("has %q between letters", separator)
			}
			separator = ""
		case r == '.' || r == '_' || r == '-':
			if i == 0 {
				return fmt.Errorf("has a part that starts with %q", r)
			}
			separator += string(r)
		case 'A' <= r && r <= 'Z':
			return errors.New("has an upper-case letter: names of repositories are in lower case")
		default:
			return fmt.Errorf("has %q", r)
		}
	}
	if separator != "" {
		return fmt.Errorf("has a part that ends with %q", separator)
	}
	return nil
}

func validSeparator(s string) bool {
	return s == "" || s == "." || s == "_" || s == "__" || strings.Trim(s, "-") == ""
}

func checkTag(tag string) error {
	if tag == "" {
		return errors.New("has a colon without a tag")
	}
	if len(tag) > 128 {
		return errors.New("tag is longer than 128 characters")
	}
	for i, r := range tag {
		word := isLower(r) || isDigit(r) || 'A' <= r && r <= 'Z' || r == '_'
		if !word && (i == 0 || r != '.' && r != '-') {
			return fmt.Errorf("tag %s has %q", field.Quote(tag), r)
		}
	}
	return nil
}

// checkDigest accepts the algorithms of package opencontainers/go-digest, with which container runtimes parse a name.
func checkDigest(digest string) error {
	algorithm, hex, _ := strings.Cut(digest, ":")
	digits := map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}[algorithm]
	if digits == 0 || !isHex(hex, digits) {
		return fmt.Errorf("digest %s is not sha256: and 64 hexadecimal digits in lower case", field.Quote(digest))
	}
	return nil
}

func isHex(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}
