package pullsecret

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// Merge adds the entries of ours to existing, a config that other programs write too. The result has all entries of
// ours with their logins. The argument owned lists the keys that an earlier Merge added: the result of [Config.Keys]
// for the ours of that call. Merge removes owned keys that ours no longer has. Everything else in existing keeps its
// meaning, including unknown fields and long numbers.
//
// The result has the form of kubernetes.io/dockerconfigjson. If nothing changes, its bytes are the bytes of existing, so
// that two writers with different formatting do not rewrite each other's secret forever.
//
// If existing has an entry of ours with another login, and the key is not owned, the entry belongs to another writer.
// Merge then fails with one [ConflictError] for each such entry, joined. An entry of existing under another spelling of
// the key, such as https://ghcr.io for ghcr.io, is a conflict too, because a kubelet tries both. To take an entry over,
// name its key in owned. An entry with the same login stays as written: kubectl writes the user name and the password
// beside auth.
func Merge(existing, ours Config, owned ...string) (Config, error) {
	if existing.p == nil {
		return ours, nil
	}
	doc := existing.document()
	changed := existing.p.bare
	for _, key := range owned {
		if _, there := doc.auths[key]; there && !ours.has(key) {
			delete(doc.auths, key)
			changed = true
		}
	}
	var conflicts []error
	conflict := func(key string) {
		conflicts = append(conflicts, &registry.Error{
			Op: "merge pull secret", Code: registry.ErrInvalid, Err: &ConflictError{Key: key},
			Hint: "give the profile a path, use a separate secret, or take the entry over",
		})
	}
	for key, value := range ours.document().auths {
		switch old, there := doc.auths[key]; {
		case there && sameEntry(old, value):
			continue
		case there && !slices.Contains(owned, key):
			conflict(key)
		case !there:
			if other, found := existing.otherSpelling(key, ours, owned); found {
				conflict(other)
			}
		}
		doc.auths[key] = value
		changed = true
	}
	if len(conflicts) > 0 {
		slices.SortFunc(conflicts, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
		return Config{}, errors.Join(conflicts...)
	}
	text := existing.Reveal()
	if changed {
		text = doc.render()
	}
	return merged(text, existing, ours)
}

// merged parses the text, and restores the credentials of the entries that came from existing and ours.
func merged(text []byte, existing, ours Config) (Config, error) {
	c, err := Parse(text)
	if err != nil {
		return Config{}, err
	}
	for i := range c.p.members {
		m := &c.p.members[i]
		if from, ok := ours.find(m.key); ok {
			*m = from
		} else if from, ok := existing.find(m.key); ok {
			m.credential = from.credential // It may have an expiry. Its entry is no position in ours.
		}
	}
	return c, nil
}

// find returns the member with exactly this key.
func (c Config) find(key string) (member, bool) {
	members := c.members()
	i, ok := slices.BinarySearchFunc(members, key, func(m member, key string) int { return strings.Compare(m.key, key) })
	if !ok {
		return member{}, false
	}
	return members[i], true
}

func (c Config) has(key string) bool {
	_, ok := c.find(key)
	return ok
}

// A document is a config in parts that are not interpreted.
type document struct {
	auths map[string]json.RawMessage
	other map[string]json.RawMessage
}

// document splits the text into its parts. It cannot fail, because the text was parsed before.
func (c Config) document() document {
	doc := document{other: make(map[string]json.RawMessage)}
	text := c.Reveal()
	if c.p != nil && c.p.bare {
		_ = json.Unmarshal(text, &doc.auths)
	} else {
		var top struct {
			Auths map[string]json.RawMessage `json:"auths"`
		}
		_ = json.Unmarshal(text, &top)
		_ = json.Unmarshal(text, &doc.other)
		doc.auths = top.Auths
		maps.DeleteFunc(doc.other, func(name string, _ json.RawMessage) bool { return strings.EqualFold(name, "auths") })
	}
	if doc.auths == nil {
		doc.auths = make(map[string]json.RawMessage) // The text has null.
	}
	if doc.other == nil {
		doc.other = make(map[string]json.RawMessage)
	}
	return doc
}

// render writes the document. Encoding cannot fail, because the parts were read as JSON. The encoder sorts the names.
func (d document) render() []byte {
	d.other["auths"], _ = json.Marshal(d.auths)
	text, _ := json.Marshal(d.other)
	return text
}

// sameEntry reports whether both entries are the same login for every client: they have the same text except for white
// space, or the same user name and password, in any fields, and no token.
func sameEntry(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes()) {
		return true
	}
	p, okP := loginOf(a)
	q, okQ := loginOf(b)
	return okP && okQ && sameLogin(p, q)
}

// loginOf returns the login of an entry, if all its fields agree on one.
func loginOf(raw json.RawMessage) (credentials.Credential, bool) {
	var e wireEntry
	var text entryText
	if e.UnmarshalJSON(raw) != nil || json.Unmarshal(raw, &text) != nil {
		return credentials.Credential{}, false
	}
	agrees := func(field any, value string) bool { return !isText(field) || field == value }
	c := e.credential
	ok := agrees(text.Username, c.Username) && agrees(text.Password, c.Password.Reveal()) &&
		!isText(text.IdentityToken) && !isText(text.RegistryToken) && !c.Password.IsZero()
	return c, ok
}

// otherSpelling returns the key of an entry that a kubelet reads as the same key but that has another login, and that
// is neither owned nor in ours.
func (c Config) otherSpelling(key string, ours Config, owned []string) (string, bool) {
	mine, ok := ours.find(key)
	if !ok {
		return "", false
	}
	m := &indexed{member: &mine}
	if _, ok := m.file(); !ok {
		return "", false
	}
	for _, other := range c.members() {
		o := &indexed{member: &other}
		if _, ok := o.file(); !ok || o.key != m.key || slices.Contains(owned, other.key) || ours.has(other.key) {
			continue
		}
		if !sameLogin(mine.credential, other.credential) {
			return other.key, true
		}
	}
	return "", false
}
