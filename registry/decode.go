package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/regcred/regcred/field"
)

// DecodeProfiles reads profiles from JSON: one profile, a list of profiles, or an object with the list under
// "profiles". A field that it does not know is an error, for it is a typing mistake that would otherwise be a login
// that is silently ignored; so is one that stands twice, and anything behind the end.
//
// It does not call [Profile.Validate]. Its errors are of type [field.Errors] and never quote a value.
func DecodeProfiles(data []byte) ([]Profile, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // Some editors write a byte order mark.
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		var list []Profile
		if err := decodeStrict(data, &list); err != nil {
			return nil, err
		}
		return list, nil
	}
	var probe map[string]json.RawMessage
	if json.Unmarshal(data, &probe) == nil && probe["profiles"] != nil {
		var file struct {
			Profiles []Profile `json:"profiles"`
		}
		if err := decodeStrict(data, &file); err != nil {
			return nil, err
		}
		return file.Profiles, nil
	}
	var one Profile
	if err := decodeStrict(data, &one); err != nil {
		return nil, err
	}
	return []Profile{one}, nil
}

func decodeStrict(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return decodeError(err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return invalidJSON("", "has something behind the end of the JSON", "nothing")
	}
	if name := repeatedField(json.NewDecoder(bytes.NewReader(data))); name != "" {
		return invalidJSON(name, "stands twice in one object", "it once")
	}
	return nil
}

// repeatedField returns the first field that an object in the next value has twice, of which package json takes the
// last without a word; "" if there is none. The value must have been decoded before: that bounds how deep it is.
func repeatedField(d *json.Decoder) string {
	token, _ := d.Token()
	open, isOpen := token.(json.Delim)
	if !isOpen {
		return ""
	}
	seen := make(map[json.Token]bool)
	for d.More() {
		if open == '{' {
			name, _ := d.Token()
			if seen[name] {
				return fmt.Sprint(name)
			}
			seen[name] = true
		}
		if name := repeatedField(d); name != "" {
			return name
		}
	}
	_, _ = d.Token() // What closes it.
	return ""
}

func invalidJSON(path, problem, want string) error {
	var p field.List
	p.Add(path, problem, want)
	return p.Err("profiles")
}

// decodeError says what is wrong without the value, which may be a password.
func decodeError(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(e.Value, " ") // "number 12345"
		return invalidJSON(e.Field, "is of type "+kind, jsonName(e.Type.Kind()))
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return invalidJSON("", fmt.Sprintf("is not JSON at byte %d", e.Offset), "JSON")
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return invalidJSON(strings.Trim(name, `"`), "is not a field of a profile",
			"name, tenant, kind, endpoint, hosts, login or transport, and what belongs into them")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalidJSON("", "end before the JSON does", "JSON")
	}
	return invalidJSON("", "cannot be read", "instants as in 2027-01-31T00:00:00Z, text in quotes")
}

func jsonName(kind reflect.Kind) string {
	switch kind {
	case reflect.String:
		return `text in quotes, also if it is all digits: "12345"`
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list in [ ]"
	}
	return "an object in { }"
}
