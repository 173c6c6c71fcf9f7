package profilefile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
)

// A Lookup says where the texts are that stand elsewhere. The zero Lookup has none: a file that names one is refused.
type Lookup struct {
	// Env returns the value of {env: NAME}, and whether there is one, like [os.LookupEnv].
	Env func(name string) (string, bool)
	// File returns the content of {file: PATH}, like [os.ReadFile]. One line end behind it is no part of the text, for
	// editors and echo put it there.
	File func(path string) ([]byte, error)
}

// Decode reads profiles from the content of a file. Its error is a [field.Errors] that names the line or the
// field, or both; it holds the names of variables and files, and never a value.
func Decode(data []byte, lookup Lookup) ([]registry.Profile, error) {
	root, err := parse(data)
	if err != nil {
		return nil, err
	}
	r := reader{lookup, MaxSize}
	content, err := r.read(root, "")
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(content)
	if err != nil {
		return nil, invalid(root, "", "cannot be read", "profiles")
	}
	return registry.DecodeProfiles(text)
}

// parse returns the one document.
func parse(data []byte) (*yaml.Node, error) {
	top := &yaml.Node{Line: 1}
	if len(data) > MaxSize {
		return nil, invalid(top, "", fmt.Sprintf("and what follows has more than %d bytes", MaxSize), "profiles")
	}
	if json.Valid(data) {
		data = bytes.ReplaceAll(data, []byte("\t"), []byte(" ")) // The one thing between the parts of JSON that YAML refuses.
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root, more yaml.Node
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		return nil, invalid(top, "", "and what follows holds nothing", "profiles")
	case err != nil:
		return nil, unreadable(err)
	}
	if !errors.Is(decoder.Decode(&more), io.EOF) {
		return nil, invalid(&more, "", "is behind the end of the first document", "one document")
	}
	return root.Content[0], nil
}

// A reader looks up what stands elsewhere.
type reader struct {
	Lookup
	left int // Bytes that may still be looked up.
}

// read makes of YAML what package json makes of JSON, with what it names in its place. The tree's own Decode would
// compare each field of an object with all others.
func (r *reader) read(n *yaml.Node, path string) (content any, err error) {
	switch n.Kind {
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			if list[i], err = r.read(item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return nil, err
			}
		}
		return list, nil
	case yaml.MappingNode:
		if len(n.Content) == 2 && n.Content[1].Kind == yaml.ScalarNode {
			if where := n.Content[0].Value; where == "env" || where == "file" {
				text, err := r.lookUp(where, n.Content[1].Value)
				return text, at(n, path, err)
			}
		}
		object := make(map[string]any)
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			field := strings.TrimPrefix(path+"."+key.Value, ".")
			if key.ShortTag() != "!!str" {
				return nil, invalid(key, path, "has a field whose name is no text", "the name of a field")
			}
			if _, ok := object[key.Value]; ok {
				return nil, invalid(key, field, "stands twice in one object", "it once")
			}
			if object[key.Value], err = r.read(n.Content[i+1], field); err != nil {
				return nil, err
			}
		}
		return object, nil
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!str", "!!timestamp": // What looks like an instant may be a password.
			return n.Value, nil
		case "!!null":
			return nil, nil
		case "!!bool":
			var value bool
			if n.Decode(&value) == nil {
				return value, nil
			}
		case "!!int", "!!float":
			return nil, invalid(n, path, "is a number", `text in quotes, also if it is all digits: "12345"`)
		}
	}
	return nil, invalid(n, path, "is an alias or has a tag", "what is meant in its place")
}

func (r *reader) lookUp(where, name string) (text string, err error) {
	switch {
	case where == "env" && r.Env != nil:
		text, _ = r.Env(name)
	case where == "file" && r.File != nil:
		var data []byte
		data, err = r.File(name)
		text = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	default:
		return "", fmt.Errorf("is {%s: ...}, which this program does not look up: expected the text itself", where)
	}
	r.left -= len(text)
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot be looked up: %w", err)
	case text == "":
		return "", fmt.Errorf("is {%s: %s}, which is not set or empty", where, name)
	case r.left < 0:
		return "", fmt.Errorf("is {%s: %s}, with which all that was looked up has more than %d bytes", where, name, MaxSize)
	case !utf8.ValidString(text): // JSON would have another character there.
		return "", fmt.Errorf("is {%s: %s}, which is no text in UTF-8", where, name)
	}
	return text, nil
}

func invalid(n *yaml.Node, path, problem, want string) error {
	return at(n, path, &field.Errors{Fields: []*field.Error{{Problem: problem, Want: want}}})
}

// at says where an error is. It is nil for none.
func at(n *yaml.Node, path string, err error) error {
	var p field.List
	p.Under(path, err)
	return p.Err(fmt.Sprintf("line %d", n.Line))
}

var lineOf = regexp.MustCompile(`line \d+`)

// unreadable keeps nothing but the line of an error of package yaml: the rest may quote a password.
func unreadable(err error) error {
	var p field.List
	p.Add("", "cannot be read", "YAML or JSON")
	return p.Err(cmp.Or(lineOf.FindString(err.Error()), "profiles"))
}
