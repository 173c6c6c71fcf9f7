package profilestore_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilestore"
)

// fill sets every field of a value, including fields that are added later, so that the tests cover them. It returns the
// number of secrets that it set.
func fill(v reflect.Value, next func() string) (secrets int) {
	switch v.Interface().(type) {
	case credentials.Secret:
		v.Set(reflect.ValueOf(credentials.NewSecret("secret-" + next())))
		return 1
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2027, 1, 31, 1, 2, 3, 456, time.UTC)))
		return 0
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("json") != "-" { // The program's own fields are not stored.
				secrets += fill(v.Field(i), next)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		secrets = fill(v.Elem(), next)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			secrets += fill(v.Index(i), next)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			value := reflect.New(v.Type().Elem()).Elem()
			secrets += fill(value, next)
			v.SetMapIndex(reflect.ValueOf(next()), value)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(next())
	default:
		panic("a profile has a field of type " + v.Type().String() + ", which this test cannot fill")
	}
	return secrets
}

// full returns a profile with every field set, and the number of its secrets.
func full(next func() string) (registry.Profile, int) {
	var p registry.Profile
	n := fill(reflect.ValueOf(&p).Elem(), next)
	return p, n
}

func counter() func() string {
	n := 0
	return func() string { n++; return fmt.Sprintf("text%d", n) }
}

func newKey() credentials.Secret {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return credentials.NewSecret(string(key))
}

func ring() profilestore.Keyring {
	return profilestore.Keyring{Primary: "2027-01", Keys: map[string]credentials.Secret{"2027-01": newKey()}}
}

// Every field of a profile survives, with any text, and the stored profile contains no secret.
func TestRoundTrip(t *testing.T) {
	k := ring()
	random := mathrand.New(mathrand.NewPCG(1, 2))
	nexts := map[string]func() string{
		"plain": counter(),
		"any": func() string {
			b := make([]rune, 1+random.IntN(20))
			for i := range b {
				if b[i] = rune(random.IntN(0x300)); random.IntN(4) == 0 {
					b[i] = []rune("<>&\"\\\u2028🙂\ufeff")[random.IntN(8)]
				}
			}
			return string(b)
		},
	}
	for name, next := range nexts {
		for range 50 {
			p, secrets := full(next)
			p = p.WithoutMisplaced()
			if p.Misplaced() != nil { // Two @ in one value.
				continue
			}
			sealed := 0
			seal := func(ctx context.Context, place profilestore.Place, s credentials.Secret) (string, error) {
				sealed++
				require.Equal(t, p.Tenant, place.Tenant)
				require.Equal(t, p.Name, place.Profile)
				return k.Seal(ctx, place, s)
			}
			data, err := profilestore.Encode(t.Context(), p, seal)
			require.NoError(t, err)
			require.Equal(t, secrets, sealed)
			require.NotContains(t, string(data), "secret-")
			again, err := profilestore.Decode(t.Context(), p.Tenant, data, k.Open)
			require.NoError(t, err, name)
			require.Equal(t, p, again)
			require.Equal(t, p.Fingerprint(), again.Fingerprint())
		}
	}
}

// A login in the wrong field would be stored in plain text.
func TestMisplacedLoginIsNotStored(t *testing.T) {
	k := ring()
	for field, p := range map[string]registry.Profile{
		"endpoint":        {Name: "a", Endpoint: "https://ann:c4n4ry@ghcr.io"},
		"hosts":           {Name: "a", Hosts: []string{"ann:c4n4ry@ghcr.io"}},
		"transport.proxy": {Name: "a", Transport: registry.TransportConfig{Proxy: "http://ann:c4n4ry@proxy.test:3128"}},
	} {
		_, err := profilestore.Encode(t.Context(), p, k.Seal)
		require.ErrorContains(t, err, field+" may hold a login")
		require.NotContains(t, err.Error(), "c4n4ry")
		require.NotContains(t, string(profilestore.Redacted(p)), "c4n4ry")
		text, err := json.Marshal(p)
		require.Error(t, err)
		require.NotContains(t, string(text)+err.Error(), "c4n4ry")
	}
}

func TestRoundTripOfWhatIsEmpty(t *testing.T) {
	k := ring()
	for _, p := range []registry.Profile{
		{},
		{Name: "a", Login: credentials.Login{AWS: &credentials.AWSLogin{}}},
		{Name: "a", Login: credentials.Login{Fields: map[string]credentials.Secret{"sealed": {}, "b": credentials.NewSecret("\xff\x00")}}},
		{Name: "a", Login: credentials.Login{Fields: map[string]credentials.Secret{"sealed": credentials.NewSecret("x")}}},
	} {
		data, err := profilestore.Encode(t.Context(), p, k.Seal)
		require.NoError(t, err)
		again, err := profilestore.Decode(t.Context(), "", data, k.Open)
		require.NoError(t, err)
		require.Equal(t, p, again)
	}
}

// Stored and plain profiles are not confused.
func TestFormsAreNotMixedUp(t *testing.T) {
	k := ring()
	p := registry.Profile{Name: "a", Kind: registry.Custom, Login: credentials.Login{Username: "u", Password: credentials.NewSecret("hunter2")}}
	data, err := profilestore.Encode(t.Context(), p, k.Seal)
	require.NoError(t, err)
	_, err = registry.DecodeProfiles(data)
	require.ErrorContains(t, err, "login.password is of type object")
	_, err = registry.DecodeProfiles(profilestore.Redacted(p))
	require.ErrorContains(t, err, "login.password is of type object")
	_, err = profilestore.Decode(t.Context(), "", profilestore.Redacted(p), k.Open)
	require.ErrorContains(t, err, "login.password is not sealed")
	_, err = profilestore.FromForm("", data, nil)
	require.ErrorContains(t, err, "login.password is of type object")
}

func TestDecodeFails(t *testing.T) {
	errVault := errors.New("vault is sealed")
	open := func(_ context.Context, _ profilestore.Place, sealed string) (credentials.Secret, error) {
		if sealed == "bad" {
			return credentials.Secret{}, errVault
		}
		return credentials.NewSecret(sealed), nil
	}
	for in, want := range map[string]string{
		``:                                    "the input is empty: expected a profile",
		`null`:                                "is null",
		`[]`:                                  "is of type array",
		`{"name":"a","tenant":"b"}`:           "tenant is set: expected nothing",
		`{"name":"a","colour":"red"}`:         "colour is not a field",
		`{"login":{"password":"hunter2"}}`:    "login.password is not sealed",
		`{"login":{"password":12}}`:           "login.password is not sealed",
		`{"login":{"password":{"sealed":1}}}`: "login.password is not sealed",
		`{"login":{"password":{"sealed":"a","b":"hunter2"}}}`:                            "login.password is not sealed",
		`{"login":{"password":{"sealed":"bad"}},"transport":{"clientKey":{"sealed":7}}}`: "2 problems:\n\tlogin.password cannot be opened: vault is sealed\n\ttransport.clientKey is not sealed",
	} {
		p, err := profilestore.Decode(t.Context(), "t", []byte(in), open)
		require.ErrorContains(t, err, want, in)
		require.Equal(t, "", p.Name)
		require.NotContains(t, err.Error(), "hunter2")
		_, ok := errors.AsType[*field.Errors](err)
		require.True(t, ok)
	}
	_, err := profilestore.Decode(t.Context(), "t", []byte(`{"login":{"password":{"sealed":"bad"}}}`), open)
	require.ErrorIs(t, err, errVault)
}

func TestEncodeFails(t *testing.T) {
	errVault := errors.New("vault is sealed")
	p, _ := full(counter())
	_, err := profilestore.Encode(t.Context(), p, func(context.Context, profilestore.Place, credentials.Secret) (string, error) { return "", errVault })
	require.ErrorIs(t, err, errVault)
	require.ErrorContains(t, err, `seal login.password of profile "text1"`)
}

func TestRedacted(t *testing.T) {
	p, secrets := full(counter())
	data := string(profilestore.Redacted(p))
	require.Equal(t, secrets, strings.Count(data, `{"redacted":true}`))
	require.NotContains(t, data, "secret-")
	require.NotContains(t, data, p.Tenant+`"`)
	require.Contains(t, data, `"caBundle":"text`)
}

func TestKeyring(t *testing.T) {
	k := ring()
	place := profilestore.Place{Tenant: "t", Profile: "p", Field: "login.password"}
	secret := credentials.NewSecret("hunter2")
	sealed, err := k.Seal(t.Context(), place, secret)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(sealed, "2027-01:"))
	other, err := k.Seal(t.Context(), place, secret)
	require.NoError(t, err)
	require.NotEqual(t, sealed, other)
	opened, err := k.Open(t.Context(), place, sealed)
	require.NoError(t, err)
	require.True(t, secret.Equal(opened))

	for _, elsewhere := range []profilestore.Place{
		{Tenant: "x", Profile: "p", Field: "login.password"},
		{Tenant: "t", Profile: "x", Field: "login.password"},
		{Tenant: "t", Profile: "p", Field: "login.fields.x"},
		{Tenant: `t" "p`, Field: "login.password"},
	} {
		_, err := k.Open(t.Context(), elsewhere, sealed)
		require.ErrorContains(t, err, "was changed, or sealed with another key or at another place")
	}
	for _, bad := range []string{"", "hunter2", "2027-01:", "2027-01:!", "2027-01:AAAA", sealed[:len(sealed)-4] + "AAAA", "2027-02" + sealed[7:]} {
		_, err := k.Open(t.Context(), place, bad)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "hunter2")
	}

	// A rotation: both keys open, the new one seals, then the old one is removed.
	both := profilestore.Keyring{Primary: "2027-02", Keys: map[string]credentials.Secret{"2027-01": k.Keys["2027-01"], "2027-02": newKey()}}
	opened, err = both.Open(t.Context(), place, sealed)
	require.NoError(t, err)
	sealed, err = both.Seal(t.Context(), place, opened)
	require.NoError(t, err)
	_, err = k.Open(t.Context(), place, sealed)
	require.ErrorContains(t, err, `no key "2027-02" in the keyring`)
	delete(both.Keys, "2027-01")
	opened, err = both.Open(t.Context(), place, sealed)
	require.NoError(t, err)
	require.True(t, secret.Equal(opened))

	for _, bad := range []profilestore.Keyring{
		{}, {Primary: "a"}, {Primary: "a", Keys: map[string]credentials.Secret{"a": credentials.NewSecret("short")}},
		{Primary: "a:b", Keys: map[string]credentials.Secret{"a:b": newKey()}}, {Keys: map[string]credentials.Secret{"": newKey()}},
	} {
		_, err := bad.Seal(t.Context(), place, secret)
		require.Error(t, err)
	}
}
