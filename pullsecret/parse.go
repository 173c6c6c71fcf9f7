package pullsecret

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// Parse reads the content of a pull secret of type kubernetes.io/dockerconfigjson from any tool, as a kubelet does:
// field names in any case, "auth" before "username" and "password", padded or not, unknown fields ignored.
//
// If a kubelet would reject the whole secret, and with it the pull, Parse fails with a [registry.Error] with
// [registry.ErrInvalid] that names the entry and quotes nothing of its value. [Config.Lint] reports entries that can be
// read and would not work.
func Parse(data []byte) (Config, error) {
	var wire wireConfig
	if err := json.Unmarshal(data, &wire); err != nil {
		var top struct {
			Auths map[string]json.RawMessage `json:"auths"`
		}
		topErr := json.Unmarshal(data, &top)
		return Config{}, refused(data, err, topErr, top.Auths)
	}
	return parsed(data, wire.Auths, false), nil
}

// ParseDockercfg is [Parse] for the older type kubernetes.io/dockercfg, whose content is the bare object of entries.
// [Config.Reveal] returns it unchanged; [Merge] converts it to the newer type.
func ParseDockercfg(data []byte) (Config, error) {
	var entries map[string]wireEntry
	if err := json.Unmarshal(data, &entries); err != nil {
		var top map[string]json.RawMessage
		topErr := json.Unmarshal(data, &top)
		return Config{}, refused(data, err, topErr, top)
	}
	return parsed(data, entries, true), nil
}

func parsed(data []byte, entries map[string]wireEntry, bare bool) Config {
	members := make([]member, 0, len(entries))
	for key, e := range entries {
		members = append(members, member{key, e.credential, noEntry})
	}
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.key, b.key) })
	return Config{p: &content{members: members, text: credentials.NewSecret(string(data)), bare: bare}}
}

// wireConfig has the fields that a kubelet decodes. encoding/json then behaves as it does in a kubelet: it folds cases,
// ignores null, and uses the last of equal keys.
type wireConfig struct {
	Auths       map[string]wireEntry `json:"auths"`
	HTTPHeaders map[string]string    `json:"HttpHeaders"`
}

type wireEntry struct{ credential credentials.Credential }

// wireLogin has the fields of an entry that a kubelet decodes. Email is included because an email that is not a string
// is rejected.
type wireLogin struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Email    string `json:"email"`
	Auth     string `json:"auth"`
}

func (e *wireEntry) UnmarshalJSON(data []byte) error {
	var login wireLogin
	if err := json.Unmarshal(data, &login); err != nil {
		return err
	}
	e.credential = credentials.Credential{Username: login.Username, Password: credentials.NewSecret(login.Password)}
	if login.Auth == "" {
		return nil
	}
	username, password, err := decodeAuth(login.Auth)
	e.credential = credentials.Credential{Username: username, Password: password}
	return err
}

var (
	errNotBase64 = errors.New(`"auth" is not base64 in its standard alphabet`)
	errNoColon   = errors.New(`"auth" is not the base64 of a user name, a colon and a password`)
)

func decodeAuth(auth string) (string, credentials.Secret, error) {
	encoding := base64.RawStdEncoding
	if strings.HasSuffix(strings.TrimSpace(auth), "=") {
		encoding = base64.StdEncoding
	}
	pair, err := encoding.DecodeString(auth)
	if err != nil {
		return "", credentials.Secret{}, errNotBase64
	}
	username, password, ok := strings.Cut(string(pair), ":")
	if !ok {
		return "", credentials.Secret{}, errNoColon
	}
	return username, credentials.NewSecret(password), nil
}

// refused describes the part that encoding/json rejected, and its place, without quoting a value. topErr is the error
// from decoding the outer object.
func refused(data []byte, err, topErr error, entries map[string]json.RawMessage) error {
	e := &registry.Error{Op: "read pull secret", Code: registry.ErrInvalid}
	if e.Hint, e.Err = mistaken(data); e.Err == nil {
		e.Err, e.Hint = explain(err, topErr, entries), "correct it: a kubelet rejects the whole secret, and the pull fails"
	}
	return e
}

func explain(err, topErr error, entries map[string]json.RawMessage) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("not JSON, at byte %d", syntax.Offset)
	}
	if topErr != nil {
		return errors.New("not a JSON object of entries")
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		err := new(wireEntry).UnmarshalJSON(entries[key])
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			err = fmt.Errorf("%q is not a string", wrong.Field)
			if wrong.Field == "" {
				err = errors.New("is not a JSON object")
			}
		}
		if err != nil {
			return fmt.Errorf("entry %q: %w", shown(key), err)
		}
	}
	return errors.New(`"HttpHeaders" is not an object of strings`)
}

// shown returns a key in a form that may be printed. Users put logins into URLs, and URLs into keys.
func shown(key string) string {
	if i := strings.LastIndexByte(key, '@'); i >= 0 {
		return "[redacted]" + key[i:]
	}
	return key
}
