package pullsecret

import (
	"cmp"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A Match is an entry with which a kubelet tries to pull an image.
type Match struct {
	// Key is the key of the entry as written in the config.
	Key string
	// Entry is the position of the entry among the arguments of [Build] or [Split]; -1 if it is not from there.
	Entry int
	// Credential is the credential of the entry. If it is not from Build, it has the user name and the password as a
	// kubelet reads them, which may be empty.
	Credential credentials.Credential
}

// Match returns the entries with which a kubelet tries to pull the image, in order. The kubelet stops at the first that
// works. If Match returns none, the kubelet has no login for the image from this secret.
//
// The rules are from Kubernetes (pkg/credentialprovider, BasicDockerKeyring). A differential fuzz test compares
// this method with that code:
//
//   - A key is a host, with a path or without. A scheme, and a leading /v1/ or /v2/, are cut off.
//   - Host and port are compared as text, with their case as written. In the host, * matches any letters of one label.
//   - The path of a key is a plain prefix: host/team matches host/team-b/app too.
//   - Keys are tried in the reverse order of their texts, so that a longer path comes before a shorter one.
//   - Images of Docker Hub, and of hosts without dot and port, that no key matches are tried with the key
//     index.docker.io.
//
// If one key has several spellings, a kubelet tries all of them in an order that is not fixed. Match returns them in
// the order of their texts.
func (c Config) Match(image registry.Image) []Match { return MatchAll(image, c) }

// MatchAll is [Config.Match] for a pod that names several secrets: configs are in the order in which the pod names
// them. All keys are tried in one order; equal keys are tried in the order of the secrets.
func MatchAll(image registry.Image, configs ...Config) []Match {
	var space [8]*indexed
	hits := space[:0]
	t := target{host: image.Host, path: image.Repository}
	for _, c := range configs {
		if c.p != nil {
			hits = c.p.index().find(&t, hits)
		}
	}
	if len(hits) == 0 && t.isDefaultRegistry() {
		for _, c := range configs {
			if c.p != nil {
				hits = append(hits, c.p.index().fallback...)
			}
		}
	}
	if len(hits) == 0 {
		return nil
	}
	if len(hits) > 1 {
		slices.SortStableFunc(hits, func(a, b *indexed) int { return cmp.Compare(b.key, a.key) })
	}
	matches := make([]Match, len(hits))
	for i, h := range hits {
		matches[i] = Match{h.member.key, h.member.entry, h.member.credential}
	}
	return matches
}

// A target holds the parts of an image's name that are compared with keys. It needs no parsing, because the grammar of
// image names allows nothing that a URL would read differently.
type target struct {
	host   string // With the port.
	path   string // Without the leading slash.
	labels []string
	port   string
}

// split sets labels and port, which only patterns need.
func (t *target) split() {
	if t.labels == nil {
		t.labels, t.port = labels(t.host)
	}
}

// isDefaultRegistry reports whether a kubelet falls back to the login of Docker Hub.
func (t *target) isDefaultRegistry() bool {
	return t.host == "docker.io" || t.host != "" && !strings.ContainsAny(t.host, ".:")
}

// hostOf returns the host and the port in one spelling, without the colon of an empty port.
func hostOf(u *url.URL) string {
	if host, port, err := net.SplitHostPort(u.Host); err == nil && port == "" {
		return host
	}
	return u.Host
}

func labels(hostport string) ([]string, string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = hostport, ""
	}
	return strings.Split(host, "."), port
}

// matchLabels compares the host and port of a key that has a pattern with the host and port of an image.
func matchLabels(pattern, labels []string) bool {
	if len(pattern) != len(labels) {
		return false
	}
	for i, p := range pattern {
		// On the operating systems of nodes, path.Match is the same function as the kubelet's filepath.Match.
		if ok, err := path.Match(p, labels[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
