// Package profilestore encodes registry profiles for storage and for forms, without their secrets in plain text.
//
// No encoder writes the secrets of a profile. [Encode] encodes a profile with a function that seals each secret: it
// encrypts the secret, or stores it in a vault and returns a reference. [Decode] is its inverse. A [Keyring] is such a
// pair of functions, with keys that the program holds.
//
// [Redacted] returns a profile for a form, [FromForm] decodes the profile that a browser sends back, and [Schema]
// returns the JSON Schema of a form.
//
// In a stored profile, a secret is an object such as {"sealed": "..."}, so that stored and plain profiles cannot be
// confused: decoding a stored profile as a plain one is an error, and so is decoding a plain profile as a stored one.
//
// https://github.com/regcred/regcred/blob/main/docs/profiles.md has the rules that a platform should follow.
package profilestore

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/internal/document"
)

// A Place identifies a secret among all secrets that a program stores.
type Place struct {
	// Tenant and Profile are the tenant and the name of the profile.
	Tenant, Profile string
	// Field is the path of the field: "login.aws.secretAccessKey".
	Field string
}

// Bytes returns an encoding that is unique to the place. A [Sealer] that encrypts uses it as additional data, so that a
// sealed secret cannot be moved to another tenant, profile or field.
func (p Place) Bytes() []byte {
	return fmt.Appendf(nil, "regcred/profilestore/1 %q %q %q", p.Tenant, p.Profile, p.Field)
}

// String returns the place in one line: "login.password of profile \"shop\"".
func (p Place) String() string { return fmt.Sprintf("%s of profile %q", p.Field, p.Profile) }

// A Sealer returns the text to store in place of a secret. It is not called for empty secrets.
type Sealer func(ctx context.Context, place Place, secret credentials.Secret) (string, error)

// An Opener returns the secret that a [Sealer] sealed at this place.
type Opener func(ctx context.Context, place Place, sealed string) (credentials.Secret, error)

const (
	sealedName   = "sealed"
	redactedName = "redacted"
)

// Encode returns the profile as JSON, with each secret replaced by the result of seal.
//
// It fails for a profile with a login in the wrong field; see [registry.Profile.Misplaced].
//
// The result does not contain the tenant: the tenant belongs in the key under which the program stores the profile, and
// is a parameter of [Decode]. A profile whose tenant or name changes must be encoded again.
func Encode(ctx context.Context, p registry.Profile, seal Sealer) ([]byte, error) {
	if err := p.Misplaced(); err != nil {
		return nil, err // It would be stored in plain text.
	}
	place := Place{Tenant: p.Tenant, Profile: p.Name}
	p.Tenant = ""
	n, err := document.Encode(p, func(path string, s credentials.Secret) (*document.Node, error) {
		place.Field = path
		text, err := seal(ctx, place, s)
		if err != nil {
			return nil, fmt.Errorf("seal %v: %w", place, err)
		}
		return object(sealedName, &document.Node{Kind: document.String, Text: text}), nil
	})
	if err != nil {
		return nil, err
	}
	return n.AppendJSON(nil)
}

// Decode returns the profile that [Encode] encoded, with the given tenant. It calls open for each secret.
//
// Its error is a [field.Errors] with every problem, including errors of open, which it wraps. A field that this version
// does not know is an error, because a login without it would be a different login. It does not call
// [registry.Profile.Validate].
func Decode(ctx context.Context, tenant string, data []byte, open Opener) (registry.Profile, error) {
	root, err := document.ParseJSON(data, "a profile")
	if err != nil {
		return registry.Profile{}, err
	}
	place := Place{Tenant: tenant}
	if name := root.Get("name"); name != nil {
		place.Profile = name.Text
	}
	d := document.Decoder{Secret: func(path string, n *document.Node) (credentials.Secret, error) {
		place.Field = path
		sealed := n.Get(sealedName)
		switch {
		case n.Kind == document.String && n.Text == "":
			return credentials.Secret{}, nil
		case len(n.Members) != 1 || sealed == nil || sealed.Kind != document.String:
			return credentials.Secret{}, errors.New(`is not sealed: expected {"sealed": "..."}`)
		}
		s, err := open(ctx, place, sealed.Text)
		if err != nil {
			return credentials.Secret{}, fmt.Errorf("cannot be opened: %w", err)
		}
		return s, nil
	}}
	p, err := decode(&d, root, fmt.Sprintf("stored profile %q", place.Profile))
	p.Tenant = tenant
	return p, err
}

// decode decodes a profile without a tenant.
func decode(d *document.Decoder, root *document.Node, subject string) (registry.Profile, error) {
	var p registry.Profile
	d.Decode(root, reflect.ValueOf(&p).Elem(), "")
	if root.Kind == document.Null {
		d.Problems.Add("", "is null", "an object in { }")
	}
	if root.Get("tenant") != nil {
		d.Problems.Add("tenant", "is set", "nothing: the tenant comes from the session, or from the key in storage")
	}
	if err := d.Problems.Err(subject); err != nil {
		return registry.Profile{}, err
	}
	return p, nil
}

// Redacted returns the profile as JSON for a form or a log, with {"redacted": true} in place of each secret. The result
// does not contain the tenant.
func Redacted(p registry.Profile) []byte {
	p = p.WithoutMisplaced()
	p.Tenant = ""
	n, err := document.Encode(p, func(string, credentials.Secret) (*document.Node, error) {
		return object(redactedName, &document.Node{Kind: document.Bool, Bool: true}), nil
	})
	if err == nil {
		var data []byte
		if data, err = n.AppendJSON(nil); err == nil {
			return data
		}
	}
	return []byte("{}") // Only a time after the year 9999 cannot be encoded.
}

func object(name string, value *document.Node) *document.Node {
	return &document.Node{Kind: document.Object, Members: []document.Member{{Name: name, Value: value}}}
}
