package validate

import (
	"net/http"
	"strings"
)

// A challenge describes the login that a server requires, from one WWW-Authenticate header (RFC 9110, 11.6.1).
type challenge struct {
	scheme string            // In lower case.
	params map[string]string // Names in lower case.
}

const (
	schemeBasic  = "basic"
	schemeBearer = "bearer"

	// An honest registry sends one or two challenges with at most five parameters. The rest is ignored.
	maxChallenges      = 8
	maxChallengeParams = 16
	maxChallengeBytes  = 16 << 10
)

// parseChallenges reads all challenges of a header. It is lenient because registries are: names and schemes in any
// case, values with and without quotes, several challenges in one header. It stops reading a header at text that it
// cannot parse.
func parseChallenges(header http.Header) []challenge {
	var all []challenge
	for _, value := range header.Values("Www-Authenticate") {
		if len(value) > maxChallengeBytes {
			continue
		}
		all = appendChallenges(all, value)
	}
	return all
}

func appendChallenges(all []challenge, s string) []challenge {
	s = strings.TrimLeft(s, " \t,")
	for s != "" && len(all) < maxChallenges {
		scheme, rest := cutToken(s)
		if scheme == "" {
			return all
		}
		c := challenge{scheme: strings.ToLower(scheme)}
		c.params, s = parseParams(rest)
		all = append(all, c)
	}
	return all
}

// parseParams reads name=value pairs up to the next scheme, which is a word without = after it.
func parseParams(s string) (map[string]string, string) {
	params := make(map[string]string)
	for {
		s = strings.TrimLeft(s, " \t,")
		name, rest := cutToken(s)
		if name == "" {
			return params, ""
		}
		rest = strings.TrimLeft(rest, " \t")
		if !strings.HasPrefix(rest, "=") {
			return params, s
		}
		var value string
		var ok bool
		if value, s, ok = cutValue(strings.TrimLeft(rest[1:], " \t")); !ok {
			return params, ""
		}
		if name = strings.ToLower(name); params[name] == "" && len(params) < maxChallengeParams {
			params[name] = value
		}
	}
}

// cutToken cuts a token (RFC 9110, 5.6.2) off the front.
func cutToken(s string) (token, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool { return !isTokenRune(r) })
	if i < 0 {
		i = len(s)
	}
	return s[:i], s[i:]
}

func isTokenRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
		r < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// cutValue cuts off a quoted string, or else everything up to a comma or space, because gcr.io has been seen to send a
// value with slashes and no quotes.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexAny(s, ", \t")
		if i < 0 {
			i = len(s)
		}
		return s[:i], s[i:], true
	}
	if value, rest, ok = strings.Cut(s[1:], `"`); !strings.Contains(value, `\`) {
		return value, rest, ok
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// find returns the first challenge of the scheme.
func find(all []challenge, scheme string) (challenge, bool) {
	for _, c := range all {
		if c.scheme == scheme {
			return c, true
		}
	}
	return challenge{}, false
}

// strictChallenges parses challenges as container runtimes do: one in each header line; the rest of the line is
// ignored. A parameter is name=value without spaces, and a value is a token of RFC 2616, which has neither slash nor
// colon, or a quoted string. Source: core/remotes/docker/auth/parse.go of containerd, docker/wwwauthenticate.go of
// go.podman.io/image, registry/client/auth/challenge of distribution.
func strictChallenges(header http.Header) []challenge {
	var all []challenge
	for _, line := range header.Values("Www-Authenticate") {
		scheme, rest := cutStrictToken(line)
		if scheme == "" || len(line) > maxChallengeBytes {
			continue
		}
		c := challenge{scheme: strings.ToLower(scheme), params: make(map[string]string)}
		for {
			name, value, ok := "", "", false
			name, rest = cutStrictToken(strings.TrimLeft(rest, " \t"))
			if rest, ok = strings.CutPrefix(rest, "="); name == "" || !ok {
				break
			}
			if strings.HasPrefix(rest, `"`) {
				value, rest, _ = cutValue(rest)
			} else {
				value, rest = cutStrictToken(rest)
			}
			if value == "" {
				break
			}
			c.params[strings.ToLower(name)] = value
			if rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " \t"), ","); !ok {
				break
			}
		}
		all = append(all, c)
	}
	return all
}

func cutStrictToken(s string) (token, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[]\\{}", r)
	})
	if i < 0 {
		i = len(s)
	}
	return s[:i], s[i:]
}
