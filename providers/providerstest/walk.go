package providerstest

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// minSecret is the minimum length, in bytes, of a secret that does not occur in a text by chance.
const minSecret = 8

// A namedSecret is a secret of a profile, with the path of its field.
type namedSecret struct {
	field string
	credentials.Secret
}

// secretsIn returns the secrets of a profile in all its fields, including fields that will be added later.
func secretsIn(p registry.Profile) []namedSecret {
	var secrets []namedSecret
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if s, ok := reflect.TypeAssert[credentials.Secret](v); ok {
			if !s.IsZero() {
				secrets = append(secrets, namedSecret{path, s})
			}
			return
		}
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(path, v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
		case reflect.Map:
			for _, key := range v.MapKeys() {
				walk(fmt.Sprintf("%s.%v", path, key), v.MapIndex(key))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
					walk(strings.TrimPrefix(path+"."+cmp.Or(name, f.Name), "."), v.Field(i))
				}
			}
		}
	}
	walk("", reflect.ValueOf(p))
	return secrets
}

// secretIn returns the field of a secret of p that occurs in the text, in one of the encodings of secrets, or "" if
// there is none.
func secretIn(text string, p registry.Profile) string {
	for _, s := range secretsIn(p) {
		plain := s.Reveal()
		for _, form := range []string{
			plain,
			base64.RawStdEncoding.EncodeToString([]byte(plain)),
			base64.RawURLEncoding.EncodeToString([]byte(plain)),
			base64.RawStdEncoding.EncodeToString([]byte(p.Login.Username + ":" + plain)),
			hex.EncodeToString([]byte(plain)),
			url.QueryEscape(plain),
			url.PathEscape(plain),
		} {
			if strings.Contains(text, form) {
				return s.field
			}
		}
	}
	return ""
}

// tree returns err and all errors that it wraps.
func tree(err error) iter.Seq[error] {
	return func(yield func(error) bool) { walkTree(err, yield) }
}

func walkTree(err error, yield func(error) bool) bool {
	if err == nil {
		return true
	}
	if !yield(err) {
		return false
	}
	switch e := err.(type) { // No errors.As: this function walks the tree itself.
	case interface{ Unwrap() error }:
		return walkTree(e.Unwrap(), yield)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if !walkTree(err, yield) {
				return false
			}
		}
	}
	return true
}

// clone copies a profile and all values that it points to, as far as a provider could change them.
func clone(p registry.Profile) registry.Profile {
	p.Hosts = slices.Clone(p.Hosts)
	p.Login.Fields = maps.Clone(p.Login.Fields)
	p.Login.Settings = maps.Clone(p.Login.Settings)
	if aws := p.Login.AWS; aws != nil {
		c := *aws
		c.Roles = slices.Clone(aws.Roles)
		if aws.WebIdentity != nil {
			w := *aws.WebIdentity
			c.WebIdentity = &w
		}
		p.Login.AWS = &c
	}
	if google := p.Login.Google; google != nil {
		c := *google
		c.Delegates = slices.Clone(google.Delegates)
		p.Login.Google = &c
	}
	return p
}
