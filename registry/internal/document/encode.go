package document

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
)

// Fields returns the fields of a struct by their JSON names, in the order of the struct.
func Fields(t reflect.Type) iter.Seq2[string, reflect.StructField] {
	return func(yield func(string, reflect.StructField) bool) {
		for f := range t.Fields() {
			if !f.IsExported() {
				continue
			}
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				name = f.Name
			}
			if name != "-" && !yield(name, f) {
				return
			}
		}
	}
}

// Encode returns the tree of a value. Zero fields of a struct are omitted. Each secret that is not empty is replaced by
// the node that secret returns for it.
func Encode(v any, secret func(path string, s credentials.Secret) (*Node, error)) (*Node, error) {
	return encode(reflect.ValueOf(v), "", secret)
}

func encode(v reflect.Value, path string, secret func(string, credentials.Secret) (*Node, error)) (*Node, error) {
	switch v := v.Interface().(type) {
	case credentials.Secret:
		if v.IsZero() {
			return &Node{Kind: String}, nil
		}
		return secret(path, v)
	case time.Time:
		text, err := v.UTC().MarshalText()
		return &Node{Kind: String, Text: string(text)}, err
	}
	switch v.Kind() {
	case reflect.Pointer:
		return encode(v.Elem(), path, secret)
	case reflect.Struct:
		n := &Node{Kind: Object}
		for name, f := range Fields(v.Type()) {
			value := v.FieldByIndex(f.Index)
			if empty(value) {
				continue
			}
			child, err := encode(value, strings.TrimPrefix(path+"."+name, "."), secret)
			if err != nil {
				return nil, err
			}
			n.Members = append(n.Members, Member{Name: name, Value: child})
		}
		return n, nil
	case reflect.Map:
		n := &Node{Kind: Object}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			name := key.String()
			child, err := encode(v.MapIndex(key), path+"."+name, secret)
			if err != nil {
				return nil, err
			}
			n.Members = append(n.Members, Member{Name: name, Value: child})
		}
		return n, nil
	case reflect.Slice:
		n := &Node{Kind: Array}
		for i := range v.Len() {
			item, err := encode(v.Index(i), fmt.Sprintf("%s[%d]", path, i), secret)
			if err != nil {
				return nil, err
			}
			n.Items = append(n.Items, item)
		}
		return n, nil
	case reflect.Bool:
		return &Node{Kind: Bool, Bool: v.Bool()}, nil
	case reflect.String:
		return &Node{Kind: String, Text: v.String()}, nil
	}
	panic("document: cannot encode a " + v.Type().String())
}

func empty(v reflect.Value) bool {
	if v.Kind() == reflect.Map || v.Kind() == reflect.Slice {
		return v.Len() == 0
	}
	return v.IsZero()
}
