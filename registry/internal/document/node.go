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
	"io"
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

// ParseJSON parses a JSON text, which must hold exactly one value. Its error is a [field.Errors].
func ParseJSON(data []byte) (*Node, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // Some editors write a byte order mark.
	if !utf8.Valid(data) {
		// Package json would replace invalid bytes, even in a password.
		return nil, problem("are not text in UTF-8", "JSON in UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	var whole json.RawMessage
	if err := decoder.Decode(&whole); err != nil {
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, problem(fmt.Sprintf("is not JSON at byte %d", e.Offset), "JSON")
		}
		return nil, problem("end before the JSON does", "JSON")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, problem("has data after the end of the JSON", "nothing")
	}
	decoder = json.NewDecoder(bytes.NewReader(whole))
	decoder.UseNumber()
	return parse(decoder, 0)
}

func problem(problem, want string) error {
	var p field.List
	p.Add("", problem, want)
	return p.Err("profiles")
}

// parse parses the next value. The text is known to be valid JSON.
func parse(d *json.Decoder, depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, problem(fmt.Sprintf("have more than %d levels", maxDepth), "a profile")
	}
	token, err := d.Token()
	if err != nil {
		return nil, problem("cannot be read", "JSON")
	}
	switch token := token.(type) {
	case string:
		return &Node{Kind: String, Text: token}, nil
	case json.Number:
		return &Node{Kind: Number, Text: token.String()}, nil
	case bool:
		return &Node{Kind: Bool, Bool: token}, nil
	case nil:
		return &Node{Kind: Null}, nil
	}
	n := &Node{Kind: Array}
	if token == json.Delim('{') {
		n.Kind = Object
	}
	for d.More() {
		var name string
		if n.Kind == Object {
			key, _ := d.Token()
			name, _ = key.(string)
		}
		value, err := parse(d, depth+1)
		if err != nil {
			return nil, err
		}
		if n.Kind == Object {
			n.Members = append(n.Members, Member{Name: name, Value: value})
		} else {
			n.Items = append(n.Items, value)
		}
	}
	_, err = d.Token() // The closing delimiter.
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
