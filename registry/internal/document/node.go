// Package document decodes Go values from a tree of JSON or YAML, and encodes them, with a function for each secret.
//
// It is stricter than encoding/json: it reports all problems at once, each with its line and the full path of its
// field, compares names exactly, and rejects repeated fields. It never quotes a value, which may be a password.
package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/regcred/regcred/field"
)

// A Kind is the kind of a [Node].
type Kind string

// The kinds of JSON values. Invalid is a value that the parser rejected; its Err is the reason.
const (
	Object  Kind = "object"
	Array   Kind = "array"
	String  Kind = "string"
	Number  Kind = "number"
	Bool    Kind = "bool"
	Null    Kind = "null"
	Invalid Kind = "invalid"
)

// A Node is one value of a document.
type Node struct {
	Kind Kind
	// Line is the line of the file on which the value starts. Zero means unknown.
	Line int
	// Text is the value of a String, or a Number as written in JSON.
	Text    string
	Bool    bool
	Items   []*Node
	Members []Member
	// Err is the problem of an Invalid value.
	Err error
	// Lookup, if not nil, returns the text that an Object refers to. A decoder calls it where it expects a text.
	Lookup func() (string, error)
}

// text returns the text that the value refers to, or the value itself if it does not refer to a text.
func (n *Node) text() *Node {
	if n.Lookup == nil {
		return n
	}
	text, err := n.Lookup()
	if err != nil {
		return &Node{Kind: Invalid, Line: n.Line, Err: err}
	}
	return &Node{Kind: String, Line: n.Line, Text: text}
}

// isReference reports whether the value is {env: NAME} or {file: PATH}.
func (n *Node) isReference() bool {
	return len(n.Members) == 1 && n.Members[0].Value.Kind == String && (n.Members[0].Name == "env" || n.Members[0].Name == "file")
}

// A Member is a field of an object, in the order of the document. Names may repeat.
type Member struct {
	Name  string
	Line  int
	Value *Node
}

// Get returns the value of a member, or nil if there is none.
func (n *Node) Get(name string) *Node {
	for _, m := range n.Members {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// maxDepth is far above the depth of a profile, and far below the depth that overflows the stack.
const maxDepth = 100

// ParseJSON parses a JSON text, which must hold exactly one value. Its error is a [field.Errors]. The nodes and the error
// have lines if the text has more than one. Want describes the value for the error about an empty text.
func ParseJSON(data []byte, want string) (*Node, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // Some editors write a byte order mark.
	p := parser{data: data, lined: bytes.Contains(bytes.TrimRight(data, " \t\r\n"), []byte("\n"))}
	if !utf8.Valid(data) {
		// Package json would replace invalid bytes, even in a password.
		return nil, problem(0, "are not text in UTF-8", "JSON in UTF-8")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, problem(0, "the input is empty", want)
	}
	var whole json.RawMessage
	if err, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(data, &whole)); ok {
		return nil, p.syntax(err)
	}
	p.decoder = json.NewDecoder(bytes.NewReader(data))
	p.decoder.UseNumber()
	return p.parse(0)
}

func problem(line int, problem, want string) error {
	var p field.List
	p.Add("", problem, want).Line = line
	return p.Err("profiles")
}

// A parser parses valid JSON.
type parser struct {
	data    []byte
	decoder *json.Decoder
	lined   bool // Whether the text has more than one line, so that a line helps.
	read    int  // The number of bytes before which lines were counted.
	lines   int  // The number of line ends in them.
}

// line returns the line in which the text before the offset ends, or 0. The offset must not decrease between calls.
func (p *parser) line(offset int) int {
	if !p.lined {
		return 0
	}
	p.lines += bytes.Count(p.data[p.read:offset], []byte("\n"))
	p.read = offset
	return p.lines + 1
}

// expected lists the ends of the messages of encoding/json, which quote one byte of the text before, and the value that
// was expected instead.
var expected = []struct{ message, want string }{
	{"after object key:value pair", "a comma or } after the value"},
	{"after array element", "a comma or ] after the value"},
	{"after object key", "a colon after the name of the field"},
	{"looking for beginning of object key string", "the name of a field in quotes"},
	{"looking for beginning of value", "a value"},
	{"in string literal", `\n for a line end and \t for a tab within quotes`},
	{"in string escape code", `\\ for a backslash within quotes`},
}

// syntax describes an error of encoding/json without the byte that it quotes.
func (p *parser) syntax(err *json.SyntaxError) error {
	const space = " \t\r\n"
	text, at := err.Error(), max(int(err.Offset)-1, 0) // The byte that is wrong.
	what := fmt.Sprintf("is not JSON at byte %d", err.Offset)
	switch first := bytes.TrimSpace(p.data)[0]; {
	case first != '{' && first != '[':
		return problem(p.line(at), what, "JSON; package registry/profilefile reads YAML")
	case strings.HasPrefix(text, "unexpected end"):
		return problem(p.line(len(bytes.TrimRight(p.data, space))), "the input ends before the JSON does", "complete JSON")
	case strings.HasSuffix(text, "after top-level value"):
		return problem(p.line(at), "the input has data after the end of the JSON", "no data after the end")
	}
	want := "JSON"
	for _, e := range expected {
		if strings.HasSuffix(text, e.message) {
			want = e.want
			if strings.HasPrefix(e.message, "after") { // A comma is missing in the line of the value, not in the next one.
				at = len(bytes.TrimRight(p.data[:at], space))
			}
			break
		}
	}
	return problem(p.line(at), what, want)
}

// parse parses the next value.
func (p *parser) parse(depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, problem(0, fmt.Sprintf("have more than %d levels", maxDepth), "a profile")
	}
	token, err := p.decoder.Token()
	if err != nil {
		return nil, problem(0, "cannot be read", "JSON")
	}
	n := &Node{Kind: Array, Line: p.line(int(p.decoder.InputOffset()))}
	switch token := token.(type) {
	case string:
		n.Kind, n.Text = String, token
		return n, nil
	case json.Number:
		n.Kind, n.Text = Number, token.String()
		return n, nil
	case bool:
		n.Kind, n.Bool = Bool, token
		return n, nil
	case nil:
		n.Kind = Null
		return n, nil
	}
	if token == json.Delim('{') {
		n.Kind = Object
	}
	for p.decoder.More() {
		var m Member
		if n.Kind == Object {
			key, _ := p.decoder.Token()
			m.Name, _ = key.(string)
			m.Line = p.line(int(p.decoder.InputOffset()))
		}
		if m.Value, err = p.parse(depth + 1); err != nil {
			return nil, err
		}
		if n.Kind == Object {
			n.Members = append(n.Members, m)
		} else {
			n.Items = append(n.Items, m.Value)
		}
	}
	_, err = p.decoder.Token() // The closing delimiter.
	return n, err
}

// AppendJSON appends the value as compact JSON. Its error is the first problem in the tree.
func (n *Node) AppendJSON(b []byte) ([]byte, error) {
	var err error
	switch n.Kind {
	case Object:
		b = append(b, '{')
		seen := make(map[string]bool)
		for i, m := range n.Members {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, m.Name), ':')
			if seen[m.Name] {
				return nil, fmt.Errorf("holds %s twice", m.Name)
			}
			seen[m.Name] = true
			if b, err = m.Value.AppendJSON(b); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	case Array:
		b = append(b, '[')
		for i, item := range n.Items {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = item.AppendJSON(b); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case String:
		return appendText(b, n.Text), nil
	case Number:
		if !json.Valid([]byte(n.Text)) {
			return nil, errors.New("holds a number that JSON does not have")
		}
		return append(b, n.Text...), nil
	case Bool:
		return fmt.Appendf(b, "%t", n.Bool), nil
	case Null:
		return append(b, "null"...), nil
	}
	return nil, n.Err
}

// appendText appends a JSON string. Unlike json.Marshal it does not escape HTML characters.
func appendText(b []byte, s string) []byte {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // A string always encodes.
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}
