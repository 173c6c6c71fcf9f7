package registry

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"github.com/regcred/regcred/field"
)

// dockerHubHost is the host in the names of Docker Hub's images.
const dockerHubHost = "docker.io"

// isDockerHubAlias reports whether host is a name of Docker Hub: the API's host is registry-1, docker login writes
// index, and the other two belong to its web site.
func isDockerHubAlias(host string) bool {
	switch host {
	case dockerHubHost, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com":
		return true
	}
	return false
}

// cleanHost returns the canonical form of "host" or "host:port".
func cleanHost(s string) (string, error) {
	name, port, err := splitPort(s)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(name, "[") {
		name, err = cleanIPv6(name)
	} else {
		name, err = cleanName(name)
	}
	if err != nil {
		return "", err
	}
	if port == "" {
		return name, nil
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
		return "", errors.New("has a port that is not a number from 1 to 65535")
	}
	return name + ":" + port, nil
}

func cleanIPv6(s string) (string, error) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil || !addr.Is6() || addr.Zone() != "" || !strings.HasSuffix(s, "]") {
		return "", fmt.Errorf("%s is not an IPv6 address in brackets", field.Quote(s))
	}
	return "[" + addr.String() + "]", nil
}

// splitPort splits at the last colon outside brackets.
func splitPort(s string) (name, port string, err error) {
	i := strings.LastIndexByte(s, ':')
	switch {
	case i < 0 || strings.HasSuffix(s, "]"):
		return s, "", nil
	case i == len(s)-1:
		return "", "", errors.New("has a colon without a port")
	case !strings.HasPrefix(s, "[") && strings.Count(s, ":") > 1:
		return "", "", errors.New("has more than one colon: write an IPv6 address in brackets, as in [::1]:5000")
	}
	return s[:i], s[i+1:], nil
}

// cleanName lower-cases a host name and checks it against the grammar of image references, which is the grammar of DNS
// names.
func cleanName(s string) (string, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) {
		return "", fmt.Errorf("host %s has a letter that is not ASCII: write it in punycode (xn--...)", field.Quote(s))
	}
	s = strings.ToLower(s)
	if len(s) > 253 {
		return "", errors.New("host is longer than 253 characters")
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return "", fmt.Errorf("%s is not a host name", field.Quote(s))
		}
	}
	return s, nil
}

// isLabel reports whether s is one part of a host name, in lower case: RFC 1123, section 2.1.
func isLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// looksLikeHost reports whether the first part of an image name is a host, rather than the first part of a repository
// of Docker Hub. This is the rule of Docker's reference grammar: a host has a dot, a port or an upper-case letter, or
// is localhost.
func looksLikeHost(s string) bool {
	return s == "localhost" || strings.ContainsAny(s, ".:") || strings.ToLower(s) != s
}

func isLower(r rune) bool { return 'a' <= r && r <= 'z' }
func isDigit(r rune) bool { return '0' <= r && r <= '9' }
