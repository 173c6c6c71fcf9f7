package profilefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/internal/stray"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/internal/document"
)

// A Lookup resolves the references {env: NAME} and {file: PATH} in a file. The zero Lookup resolves none: a file with a
// reference is an error.
type Lookup struct {
	// Env returns the value of {env: NAME}, and whether the variable is set, like [os.LookupEnv].
	Env func(name string) (string, bool)
	// File returns the content of {file: PATH}, like [os.ReadFile]. One line end at the end of the content is dropped,
	// because editors and echo add it.
	File func(path string) ([]byte, error)
}

// Decode decodes profiles from the content of a file. Its error is a [field.Errors] with all problems of all profiles,
// each with its line and the full path of its field. It contains the names of variables and files, but never a value.
func Decode(data []byte, lookup Lookup) ([]registry.Profile, error) {
	root, err := parse(data)
	if err != nil {
		return nil, err
	}
	r := reader{lookup, MaxSize}
	var d document.Decoder
	profiles := document.List[registry.Profile](&d, r.read(root), "profiles")
	return profiles, d.Problems.Err("")
}

// parse returns the only document of a file.
func parse(data []byte) (*yaml.Node, error) {
	if len(data) > MaxSize {
		return nil, invalid(1, fmt.Sprintf("starts a file of more than %d bytes", MaxSize), "profiles")
	}
	if json.Valid(data) {
		data = bytes.ReplaceAll(data, []byte("\t"), []byte(" ")) // YAML rejects tabs between the parts of JSON.
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root, more yaml.Node
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		return nil, invalid(1, "starts an empty file", "profiles")
	case err != nil:
		return nil, unreadable(err)
	}
	if !errors.Is(decoder.Decode(&more), io.EOF) {
		return nil, invalid(max(more.Line, 1), "is after the end of the first document", "one document")
	}
	return root.Content[0], nil
}

// A reader builds the tree of a document. The tree resolves the references.
type reader struct {
	Lookup
	left int // The number of bytes that references may still add.
}

// read returns the tree of a YAML value. YAML that has no equivalent in JSON is invalid.
func (r *reader) read(n *yaml.Node) *document.Node {
	switch n.Kind {
	case yaml.SequenceNode:
		list := &document.Node{Kind: document.Array, Line: n.Line}
		for _, item := range n.Content {
			list.Items = append(list.Items, r.read(item))
		}
		return list
	case yaml.MappingNode:
		object := &document.Node{Kind: document.Object, Line: n.Line}
		if len(n.Content) == 2 && n.Content[1].Kind == yaml.ScalarNode {
			if where := n.Content[0].Value; where == "env" || where == "file" {
				object.Lookup = func() (string, error) { return r.lookUp(where, n.Content[1].Value) }
			}
		}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.ShortTag() != "!!str" {
				return rejected(key, "has a field whose name is not text", "the name of a field")
			}
			object.Members = append(object.Members, document.Member{Name: key.Value, Line: key.Line, Value: r.read(n.Content[i+1])})
		}
		return object
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!str", "!!timestamp": // A value that looks like a timestamp may be a password.
			return &document.Node{Kind: document.String, Line: n.Line, Text: n.Value}
		case "!!null":
			return &document.Node{Kind: document.Null, Line: n.Line}
		case "!!bool":
			var value bool
			if n.Decode(&value) == nil {
				return &document.Node{Kind: document.Bool, Line: n.Line, Bool: value}
			}
		case "!!int", "!!float":
			return &document.Node{Kind: document.Number, Line: n.Line, Text: n.Value}
		}
	}
	return rejected(n, "is an alias or has a tag", "the value itself")
}

func rejected(n *yaml.Node, problem, want string) *document.Node {
	var p field.List
	p.Add("", problem, want)
	return &document.Node{Kind: document.Invalid, Line: n.Line, Err: p.Err("")}
}

func (r *reader) lookUp(where, name string) (text string, err error) {
	switch {
	case where == "env" && r.Env != nil:
		text, _ = r.Env(name)
	case where == "file" && r.File != nil:
		var data []byte
		data, err = r.File(name)
		// A file written on Windows may start with a byte order mark.
		text = strings.TrimSuffix(strings.TrimSuffix(stray.WithoutMark(string(data)), "\n"), "\r")
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
		return "", fmt.Errorf("is {%s: %s}, with which all such values together have more than %d bytes", where, name, MaxSize)
	case !utf8.ValidString(text): // JSON would replace the invalid bytes.
		return "", fmt.Errorf("is {%s: %s}, which is not UTF-8 text", where, name)
	}
	return text, nil
}

// invalid returns the error for a file that cannot be parsed from this line on.
func invalid(line int, problem, want string) error {
	var p field.List
	p.Add("", problem, want).Line = line
	return p.Err("")
}

var lineOf = regexp.MustCompile(`line (\d+)`)

// unreadable keeps only the line of an error of package yaml, because the rest may quote a password.
func unreadable(err error) error {
	line := 1
	if m := lineOf.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
	}
	return invalid(line, "cannot be read", "YAML or JSON")
}
