package workload

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// A document is one document of a manifest.
type document struct {
	root   *yaml.Node
	number int
	offset int // Added to its line numbers.
}

// documents reads a stream of YAML documents, or of JSON objects one after the other. An error ends it.
func documents(manifest []byte) iter.Seq2[document, error] {
	if first := bytes.TrimSpace(manifest); len(first) > 0 && first[0] == '{' {
		if objects, ok := jsonObjects(manifest); ok {
			return objects
		}
	}
	return func(yield func(document, error) bool) {
		d := yaml.NewDecoder(bytes.NewReader(manifest))
		for n := 1; ; n++ {
			var root yaml.Node
			err := d.Decode(&root)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(document{}, notYAML(err, n, 0))
				return
			}
			if !yield(document{&root, n, 0}, nil) {
				return
			}
		}
	}
}

// jsonObjects distinguishes JSON from YAML that starts with a brace. YAML includes JSON, except for tabs between its
// parts; JSON has no tabs within its strings.
func jsonObjects(manifest []byte) (iter.Seq2[document, error], bool) {
	var objects []json.RawMessage
	var offsets []int
	d := json.NewDecoder(bytes.NewReader(manifest))
	for {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false
		}
		objects = append(objects, raw)
		offsets = append(offsets, bytes.Count(manifest[:int(d.InputOffset())-len(raw)], []byte("\n")))
	}
	return func(yield func(document, error) bool) {
		for i, raw := range objects {
			var root yaml.Node
			if err := yaml.Unmarshal(bytes.ReplaceAll(raw, []byte("\t"), []byte(" ")), &root); err != nil {
				yield(document{}, notYAML(err, i+1, offsets[i]))
				return
			}
			if !yield(document{&root, i + 1, offsets[i]}, nil) {
				return
			}
		}
	}, true
}

var lineOf = regexp.MustCompile(`line (\d+)`)

// notYAML returns an error with the place only. The parser's message may quote the text, which may be a Secret's.
func notYAML(err error, document, offset int) error {
	place := Place{Document: document}
	if m := lineOf.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			place.Line = offset + n
		}
	}
	return &Error{place, errors.New("is not YAML; a template must be rendered first")}
}
