package pullsecret

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// An index finds the members that match an image, in a time that is nearly independent of their number. A config builds
// its index once, at the first use.
type index struct {
	hosts    map[string][]node // By host and port, in ascending order of the paths.
	patterns []*indexed        // Keys whose host is a pattern. They are few.
	fallback []*indexed        // The members with Docker Hub's key.
}

// An indexed value is a member and its key, in the form in which a kubelet stores the key.
type indexed struct {
	member *member
	key    string // Host and path.
	path   string // Without the leading slash.

	// For a pattern only.
	labels []string
	port   string
}

// A node holds the members with one path of one host.
type node struct {
	path    string
	members []*indexed
	// parent is the position of the longest other path that is a prefix of this one; -1 if there is none.
	parent int
}

func (c *content) index() *index {
	c.indexed.Do(func() { c.ix = newIndex(c.members) })
	return &c.ix
}

func newIndex(members []member) index {
	ix := index{hosts: make(map[string][]node)}
	filed := make(map[string][]*indexed)
	for i := range members {
		m := &indexed{member: &members[i]}
		host, ok := m.file()
		if m.key == "index.docker.io" {
			ix.fallback = append(ix.fallback, m)
		}
		switch {
		case !ok:
		case m.labels != nil:
			ix.patterns = append(ix.patterns, m)
		default:
			filed[host] = append(filed[host], m)
		}
	}
	for host, list := range filed {
		ix.hosts[host] = nodes(list)
	}
	return ix
}

// file parses the key as a kubelet does: once when the kubelet stores the key, and again when it compares the stored
// key. The result ok reports whether the key can match anything.
func (m *indexed) file() (host string, ok bool) {
	key := m.member.key
	if !strings.HasPrefix(key, "https://") && !strings.HasPrefix(key, "http://") {
		key = "https://" + key
	}
	u, err := url.Parse(key)
	if err != nil {
		return "", false
	}
	p := u.Path
	if strings.HasPrefix(p, "/v2/") || strings.HasPrefix(p, "/v1/") {
		p = p[len("/v1"):]
	}
	if p == "/" {
		p = ""
	}
	m.key = u.Host + p
	if u, err = url.Parse("https://" + m.key); err != nil {
		return "", false
	}
	m.path = strings.TrimPrefix(u.Path, "/")
	host = hostOf(u)
	if strings.ContainsAny(host, `*?[\`) { // A pattern. An IPv6 address counts as one.
		m.labels, m.port = labels(host)
	}
	return host, true
}

// nodes arranges the members of one host.
func nodes(list []*indexed) []node {
	slices.SortStableFunc(list, func(a, b *indexed) int { return cmp.Compare(a.path, b.path) })
	var ns []node
	for _, m := range list {
		if n := len(ns); n > 0 && ns[n-1].path == m.path {
			ns[n-1].members = append(ns[n-1].members, m)
			continue
		}
		parent := len(ns) - 1
		for parent >= 0 && !strings.HasPrefix(m.path, ns[parent].path) {
			parent = ns[parent].parent
		}
		ns = append(ns, node{m.path, []*indexed{m}, parent})
	}
	return ns
}

// find appends the members that match.
func (ix *index) find(t *target, hits []*indexed) []*indexed {
	ns := ix.hosts[t.host]
	// at is the position of the last path that does not sort after the image's path. All prefixes of the image's path
	// are prefixes of that path too.
	at := len(ns) - 1
	if at > 0 {
		at, _ = slices.BinarySearchFunc(ns, t.path, func(n node, path string) int {
			if n.path <= path {
				return -1
			}
			return 1
		})
		at--
	}
	for at >= 0 {
		if n := &ns[at]; strings.HasPrefix(t.path, n.path) {
			hits = append(hits, n.members...)
		}
		at = ns[at].parent
	}
	if len(ix.patterns) == 0 {
		return hits
	}
	t.split()
	for _, m := range ix.patterns {
		if m.port == t.port && strings.HasPrefix(t.path, m.path) && matchLabels(m.labels, t.labels) {
			hits = append(hits, m)
		}
	}
	return hits
}
