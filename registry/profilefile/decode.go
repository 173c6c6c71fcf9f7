package profilefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sort"
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
		return nil, invalid(1, "is empty", "a profile or a list of profiles")
	case err != nil:
		if err := notJSON(data); err != nil {
			return nil, err
		}
		return nil, notYAML(data)
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

// startsJSON matches the start of a list or an object whose first value is in quotes, as all names of fields are in JSON.
var startsJSON = regexp.MustCompile(`^\s*[\[{][\s\[{]*"`)

// notJSON returns why the text is not JSON. It returns nil if the text is more likely YAML in braces and brackets, which
// does not need quotes.
func notJSON(data []byte) error {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(data, new(json.RawMessage)))
	if !ok || !startsJSON.Match(data) {
		return nil
	}
	at := max(int(syntax.Offset), 1) - 1
	if at < len(data)-1 && data[at] >= ' ' && !strings.ContainsRune(`"{}[],:\`, rune(data[at])) {
		return nil // Text without quotes, or a comment.
	}
	_, err := document.ParseJSON(data, "")
	invalid, ok := errors.AsType[*field.Errors](err)
	if !ok {
		return nil
	}
	first := *invalid.Fields[0]
	first.Line = max(first.Line, 1)
	return &field.Errors{Fields: []*field.Error{&first}}
}

// notYAML returns why package yaml cannot parse the text, without the parts of its message that may quote a password.
//
// The line in the message is often the line before, or the start of a large block. The error is in the last line of the
// shortest text of whole lines, from the start, that has it.
func notYAML(data []byte) error {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var ends []int
	for i, b := range data {
		if b == '\n' {
			ends = append(ends, i+1)
		}
	}
	ends = append(ends, len(data))
	whole := messageOf(data)
	line := 1 + sort.Search(len(ends)-1, func(i int) bool { return messageOf(data[:ends[i]]) == whole })
	_, cause, _ := strings.Cut(whole, ": ") // After "yaml: ".
	if place, rest, ok := strings.Cut(cause, ": "); ok && strings.HasPrefix(place, "line ") {
		cause = rest
	}
	if !slices.Contains(causes, cause) {
		return invalid(line, "cannot be read", "YAML or JSON")
	}
	return invalid(line, "cannot be read: "+cause, "")
}

// messageOf returns the error of package yaml about the text, or "". The empty line before the text lets package yaml
// report the start of an unclosed quote or bracket in the first line, and not the end of the text.
func messageOf(data []byte) string {
	err := yaml.NewDecoder(io.MultiReader(strings.NewReader("\n"), bytes.NewReader(data))).Decode(new(yaml.Node))
	if err == nil {
		return ""
	}
	return err.Error()
}

// causes are the messages of package yaml about common mistakes. They quote nothing of the text.
var causes = []string{
	"block sequence entries are not allowed in this context",
	"control characters are not allowed",
	"could not find expected ':'",
	"did not find expected ',' or ']'",
	"did not find expected ',' or '}'",
	"did not find expected '-' indicator",
	"did not find expected <document start>",
	"did not find expected alphabetic or numeric character",
	"did not find expected comment or line break",
	"did not find expected hexdecimal number",
	"did not find expected key",
	"did not find expected node content",
	"did not find expected whitespace or line break",
	"found a tab character that violates indentation",
	"found a tab character where an indentation space is expected",
	"found character that cannot start any token",
	"found unexpected document indicator",
	"found unexpected end of stream",
	"found unknown escape character",
	"incomplete UTF-8 octet sequence",
	"invalid leading UTF-8 octet",
	"invalid trailing UTF-8 octet",
	"mapping keys are not allowed in this context",
	"mapping values are not allowed in this context",
}
