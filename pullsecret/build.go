package pullsecret

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// An Entry is a profile, and the credential to use at its endpoints.
type Entry struct {
	Profile    registry.Profile
	Credential credentials.Credential
}

// Build returns a config with the credential of each entry under the key of each endpoint of its profile; see
// [registry.Endpoint.Key]. Anonymous credentials add nothing. The same entries give the same bytes, in any order.
//
// Build never leaves anything out. It fails with a [registry.Error] if two different logins have the same key, which is
// a [ConflictError] that [Split] solves; if an endpoint cannot be read; if a credential does not pass
// [credentials.Credential.Validate]; or if a kubelet could not read the result.
func Build(entries ...Entry) (Config, error) {
	members, err := gather(entries)
	if err != nil {
		return Config{}, err
	}
	var conflicts []error
	for i := 1; i < len(members); i++ {
		if a, b := members[i-1], members[i]; a.key == b.key {
			names := []string{entries[a.entry].Profile.Name, entries[b.entry].Profile.Name}
			conflicts = append(conflicts, &registry.Error{
				Op: opBuild, Code: registry.ErrInvalid, Err: &ConflictError{a.key, names},
				Hint: "give the profiles different paths, or put their logins into several secrets",
			})
		}
	}
	if len(conflicts) > 0 {
		return Config{}, errors.Join(conflicts...)
	}
	return Config{p: &content{members: members}}, nil
}

const opBuild = "build pull secret"

// Split is [Build] for entries that do not fit into one secret because several logins have the same key. It returns the
// smallest number of configs; without entries, one empty config.
//
// For a pod that names all the secrets, a kubelet tries all the logins: those with the same key in the order of the
// secrets, which is the order of the entries. (It would also try another spelling of the same key in the same secret,
// but in an order that changes from pull to pull.)
func Split(entries ...Entry) ([]Config, error) {
	members, err := gather(entries)
	if err != nil {
		return nil, err
	}
	parts := make([][]member, 1)
	n := 0
	for i, m := range members {
		if n++; i == 0 || members[i-1].key != m.key {
			n = 0
		}
		if n == len(parts) {
			parts = append(parts, nil)
		}
		parts[n] = append(parts[n], m)
	}
	configs := make([]Config, len(parts))
	for i, part := range parts {
		configs[i] = Config{p: &content{members: part}}
	}
	return configs, nil
}

// gather returns a member for each key and login, sorted by key, and by entry where keys are equal.
func gather(entries []Entry) ([]member, error) {
	members := make([]member, 0, len(entries))
	now := time.Now()
	for i := range entries {
		e := &entries[i]
		keys, err := e.keys(now)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			members = append(members, member{key: key, credential: e.Credential, entry: i})
		}
	}
	slices.SortStableFunc(members, func(a, b member) int { return cmp.Compare(a.key, b.key) })
	return unique(members), nil
}

// keys returns the keys of the credential; none if it is anonymous.
func (e *Entry) keys(now time.Time) ([]string, error) {
	endpoints, err := e.Profile.Endpoints()
	if err != nil {
		return nil, e.refused(registry.ErrInvalid, err)
	}
	if err := e.Credential.Validate(now); errors.Is(err, credentials.ErrCredentialExpired) {
		return nil, e.refused(registry.ErrExpired, err)
	} else if err != nil {
		return nil, e.refused(registry.ErrInvalid, err)
	}
	if e.Credential.Anonymous {
		return nil, nil
	}
	if strings.Contains(e.Credential.Username, ":") {
		// RFC 7617, section 2: a user-id that has a colon is invalid.
		return nil, e.refused(registry.ErrInvalid, errors.New("the user name has a colon, which a login cannot have"))
	}
	keys := make([]string, len(endpoints))
	for i, endpoint := range endpoints {
		if strings.HasSuffix(endpoint.Host, "]") {
			return nil, e.refused(registry.ErrUnsupported, fmt.Errorf("endpoint %s: a kubelet treats an IPv6 address "+
				"without a port as a pattern; add the port, also in the names of images", endpoint))
		}
		keys[i] = endpoint.Key()
	}
	return keys, nil
}

func (e *Entry) refused(code registry.Code, err error) error {
	return &registry.Error{Op: opBuild, Ref: fmt.Sprintf("for profile %q", e.Profile.Name), Code: code, Err: err}
}

// unique drops members that repeat the key and login of an earlier one: two profiles may share a login.
func unique(members []member) []member {
	kept := members[:0]
	first := 0 // The first member with the same key.
	for _, m := range members {
		if first < len(kept) && kept[first].key != m.key {
			first = len(kept)
		}
		if !slices.ContainsFunc(kept[first:], func(k member) bool { return sameLogin(k.credential, m.credential) }) {
			kept = append(kept, m)
		}
	}
	return kept
}

func sameLogin(a, b credentials.Credential) bool {
	return a.Username == b.Username && a.Password.Equal(b.Password)
}

// A ConflictError reports that two logins have the same key. A JSON object, and so a secret, has only one value for
// each key.
type ConflictError struct {
	// Key is the key of both logins.
	Key string
	// Profiles are the names of the two profiles. If empty, the other entry was not written by this program; see [Merge].
	Profiles []string
}

// Error describes the conflict in one line.
func (e *ConflictError) Error() string {
	if len(e.Profiles) == 0 {
		return "another owner has a different login for " + shown(e.Key)
	}
	names := make([]string, len(e.Profiles))
	for i, profile := range e.Profiles {
		names[i] = strconv.Quote(profile)
	}
	return fmt.Sprintf("profiles %s have different logins for %s", strings.Join(names, " and "), e.Key)
}

const jsonOpen, jsonBetween, jsonNext, jsonEnd = `{"auths":{"`, `":{"auth":"`, `"},"`, `"}}}`

// render writes the members. It writes "auth" only, without "username" and "password": all readers understand "auth",
// some understand nothing else (skopeo, podman), and if both are present, "auth" wins (kubelet, docker).
func render(members []member) []byte {
	if len(members) == 0 {
		return []byte(`{"auths":{}}`)
	}
	size, longest := sizes(members)
	text := append(make([]byte, 0, size), jsonOpen...)
	pair := make([]byte, 0, longest)
	for i, m := range members {
		if i > 0 {
			text = append(text, jsonNext...)
		}
		text = append(text, m.key...) // Plain ASCII without a quote or backslash: see registry.ParseEndpoint.
		text = append(text, jsonBetween...)
		pair = append(append(pair[:0], m.credential.Username...), ':')
		pair = m.credential.Password.AppendTo(pair)
		text = base64.StdEncoding.AppendEncode(text, pair)
	}
	return append(text, jsonEnd...)
}

// sizes returns the length of the text, and the length of the longest pair of user name and password.
func sizes(members []member) (text, pair int) {
	if len(members) == 0 {
		return len(`{"auths":{}}`), 0
	}
	text = len(jsonOpen) + len(jsonEnd) - len(jsonNext)
	for _, m := range members {
		n := len(m.credential.Username) + len(":") + m.credential.Password.Len()
		pair = max(pair, n)
		text += len(m.key) + len(jsonBetween) + base64.StdEncoding.EncodedLen(n) + len(jsonNext)
	}
	return text, pair
}
