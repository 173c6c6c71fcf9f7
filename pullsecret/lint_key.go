package pullsecret

import (
	"cmp"
	"slices"
	"strings"

	"github.com/regcred/regcred/registry"
)

const hubKey = "https://index.docker.io/v1/"

// key checks whether an image can match the key. The host and ok are the results of file; ok reports whether the key
// can be read.
func (l *linter) key(m *indexed, host string, ok bool) {
	key := m.member.key
	never := func(message, hint string) { l.add(key, NeverMatches, true, message, hint) }
	switch {
	case !ok || host == "" || strings.ContainsAny(key, " \t\r\n"):
		never("cannot be read as a host with a path", "write the key as host, host:port or host/path")
	case hubHost(m, host) && isPathPrefix(m.path):
		l.hub(m, host)
	case isVersion(m.path):
		never("has the version of the API as its path: a kubelet removes it once, and only if a slash follows",
			"write "+host)
	case !isPathPrefix(m.path):
		never("has a path that no repository has: names of repositories are lower-case letters, digits and ._-/, "+
			"and a pattern works in the host only",
			"write the path as in the names of images, without a tag")
	case strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]"):
		never("is an IPv6 address without a port, which a kubelet treats as a pattern",
			"add the port, also in the names of images")
	case m.labels == nil && host != "localhost" && !strings.ContainsAny(host, ".:"):
		never("has no dot and no port: an image name that starts with it belongs to Docker Hub", "write the full name of the host")
	case len(m.labels) == 1 && m.port == "":
		never("is a pattern for hosts without a dot, because a star matches characters of one part of a host",
			"write as many parts as the host has: *.example.com")
	case strings.ToLower(host) != host:
		never("has upper-case letters in the host, "+
			"and a kubelet compares it with the host in the name of an image as it is written",
			"write the host in lower case")
	case !isHost(m, host):
		never("has a host that no image can have: names of hosts are letters, digits, hyphens and dots, and start and end with a letter or digit",
			"write the host as it is in the names of images")
	case slices.ContainsFunc(m.labels, func(label string) bool { return strings.Contains(label, "*") && label != "*" }):
		l.add(key, PartialStar, false, "has a star beside letters, which matches characters of that part of the host, and no dot",
			"write *.example.com for all hosts one level below example.com, and example.com itself as a key of its own")
	case strings.HasSuffix(host, ":443"):
		l.add(key, DefaultPort, false, "serves only images that are named with the port :443",
			"write "+strings.TrimSuffix(host, ":443")+", if that is how images are named")
	}
}

// hubHost reports whether the key is one of the names of Docker Hub, with any path and port.
func hubHost(m *indexed, host string) bool {
	if m.labels != nil {
		return false
	}
	name, _, _ := strings.Cut(host, ":")
	return registry.KindOf(name) == registry.DockerHub
}

func (l *linter) hub(m *indexed, host string) {
	add := func(breaks bool, message string) {
		hint := "write " + hubKey
		if m.path != "" && host != "hub.docker.com" && !isVersion(m.path) {
			hint += ", or docker.io/" + m.path + " for a part of it"
		}
		l.add(m.member.key, DockerHubKey, breaks, message, hint)
	}
	switch {
	case host == "index.docker.io" && m.key == host:
		if m.member.key != hubKey {
			add(false, "is read by a kubelet, but docker and others look for another spelling")
		}
	case host == "docker.io" && m.path == "":
		add(false, "is read by a kubelet, but docker and others look for another key")
	case host == "docker.io": // A part of Docker Hub.
	case host == "index.docker.io":
		add(true, "has a path, so a kubelet does not recognize it as Docker Hub's key")
	default:
		add(true, "is a host of Docker Hub that no image name has")
	}
}

// isVersion reports whether the path is an API version.
func isVersion(path string) bool {
	return slices.Contains([]string{"v1", "v2"}, strings.TrimSuffix(path, "/"))
}

// isHost reports whether the name of an image can have this host, or a host that matches the pattern.
func isHost(m *indexed, host string) bool {
	if m.labels != nil {
		host = strings.NewReplacer("*", "a", "?", "a").Replace(host)
		if strings.ContainsAny(host, `[\`) {
			return true // A class of characters, which only the kubelet reads.
		}
	}
	_, err := registry.ParseImage(host + "/a")
	return err == nil
}

// isPathPrefix reports whether the name of a repository may start with s.
func isPathPrefix(s string) bool {
	return !strings.Contains("/"+s, "//") && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("._-/", r))
	})
}

func (l *linter) sameKey(list []*indexed) {
	for _, m := range list[1:] {
		if !sameLogin(list[0].member.credential, m.member.credential) {
			l.add(m.member.key, SameKey, false,
				"is another spelling of "+shown(list[0].member.key)+" with another login: "+
					"a kubelet tries both, in an order that changes",
				"keep one, or put the other into a secret of its own")
		}
	}
}

// overlaps checks the keys of one host for paths that are a prefix of another path and end within a part of it: team is
// a prefix of team-b.
func (l *linter) overlaps(list []*indexed) {
	slices.SortStableFunc(list, func(a, b *indexed) int { return cmp.Compare(a.path, b.path) })
	for i, m := range list {
		if m.path == "" || strings.HasSuffix(m.path, "/") {
			continue
		}
		for _, other := range list[i+1:] {
			rest, longer := strings.CutPrefix(other.path, m.path)
			if !longer {
				break
			}
			if rest != "" && rest[0] != '/' && !sameLogin(m.member.credential, other.member.credential) {
				l.add(m.member.key, PrefixOverlap, false,
					"serves images under "+shown(other.member.key)+" too, if the login there fails: "+
						"a kubelet compares paths letter by letter",
					"end the key with a slash if only kubelets read the secret and no repository is named "+m.path)
				break
			}
		}
	}
}
