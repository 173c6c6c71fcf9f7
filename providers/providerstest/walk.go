package providerstest

import (
	"encoding/base64"
	"encoding/hex"
	"iter"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// minSecret is how many bytes a secret has at least that does not stand in a text by chance.
const minSecret = 8

// secretsIn returns the secrets of a profile, wherever they stand: also in fields that are added one day.
func secretsIn(p registry.Profile) []credentials.Secret {
	var secrets []credentials.Secret
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		if s, ok := reflect.TypeAssert[credentials.Secret](v); ok {
			if !s.IsZero() {
				secrets = append(secrets, s)
			}
			return
		}
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Map:
			for _, key := range v.MapKeys() {
				walk(v.MapIndex(key))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					walk(v.Field(i))
				}
			}
		}
	}
	walk(reflect.ValueOf(p))
	return secrets
}

// holdsSecret reports whether a secret of p stands in text, in one of the forms in which secrets travel.
func holdsSecret(text string, p registry.Profile) bool {
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
				return true
			}
		}
	}
	return false
}

// tree returns err and all that it wraps.
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
	switch e := err.(type) { // No errors.As: this is what walks the tree.
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

// clone copies a profile with all that it points to, as far as a provider could change it.
func clone(p registry.Profile) registry.Profile {
	p.Hosts = slices.Clone(p.Hosts)
	p.Login.Fields = maps.Clone(p.Login.Fields)
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
