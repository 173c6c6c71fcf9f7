package credentials_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/regcred/regcred/credentials"
)

func ExampleSecret() {
	var login credentials.Login
	_ = json.Unmarshal([]byte(`{"username": "jo", "password": "s3cret"}`), &login)
	fmt.Printf("%v %+v\n", login.Username, login.Password)
	_, err := json.Marshal(login)
	fmt.Println(err != nil)
	fmt.Println(login.Password.Reveal())
	// Output:
	// jo [redacted]
	// true
	// s3cret
}

func TestSecretHoldsText(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "short": "a", "as long as the pad": strings.Repeat("ab", 32), "longer": strings.Repeat("x", 64) + "yz", "a key": strings.Repeat("k3y ", 600),
		"not UTF-8": "\xff\x00\xfe",
	} {
		t.Run(name, func(t *testing.T) {
			s := credentials.NewSecret(text)
			require.Equal(t, text, s.Reveal())
			require.Equal(t, text, s.Reveal(), "the second time")
			require.Equal(t, len(text), s.Len())
			require.Equal(t, text == "", s.IsZero())
			require.Equal(t, "user:"+text, string(s.AppendTo([]byte("user:"))))
			require.True(t, s.Equal(credentials.NewSecret(text)))
			require.False(t, s.Equal(credentials.NewSecret(text+"x")))
			require.Equal(t, text == "", s.Equal(credentials.Secret{}))
			require.Equal(t, text == "", credentials.Secret{}.Equal(s))
		})
	}
}

func TestSecretIsImmutable(t *testing.T) {
	s := credentials.NewSecret("s3cret")
	b := s.AppendTo(make([]byte, 0, 100))
	b[0] = 'X'
	require.Equal(t, "s3cret", s.Reveal())

	// Tests of programs compare logins in this way.
	require.Equal(t, s, credentials.NewSecret("s3cret"))
	require.NotEqual(t, s, credentials.NewSecret("s3creT"))
}

func TestSecretPrints(t *testing.T) {
	require.Equal(t, "[redacted] [redacted] [redacted]", fmt.Sprintf("%s %v %#v", credentials.NewSecret("a"), credentials.NewSecret("b"), credentials.NewSecret("c")))
	require.Empty(t, fmt.Sprintf("%s%v%#v", credentials.Secret{}, credentials.Secret{}, credentials.Secret{}))
	require.Equal(t, "[redacted]", credentials.NewSecret("a").String())
	require.Equal(t, "[redacted]", credentials.NewSecret("a").LogValue().String())
	require.Empty(t, credentials.Secret{}.String())
}

// TestEncodersFail: a reader would take a placeholder for the password.
func TestEncodersFail(t *testing.T) {
	encoders := map[string]func(v any) ([]byte, error){
		"json": json.Marshal,
		"yaml": yaml.Marshal,
		"xml":  xml.Marshal,
		"gob": func(v any) ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.Bytes(), err
		},
	}
	s := credentials.NewSecret(canary)
	values := map[string]any{
		"secret": s, "pointer": &s, "field": exported{s}, "pointer field": pointed{&s}, "slice": []credentials.Secret{s},
		"map": map[string]credentials.Secret{"a": s}, "embedded": embedded{s}, "attribute": attribute{s},
		"login": credentials.Login{Username: "jo", Password: s}, "credential": credentials.Credential{Username: "jo", Password: s},
		"AWS login": credentials.Login{AWS: &credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{Token: s}}},
	}
	for encoder, encode := range encoders {
		for name, v := range values {
			t.Run(encoder+"/"+name, func(t *testing.T) {
				out, err := encode(v)
				require.Error(t, err)
				requireNoLeak(t, err.Error()+string(out))
				require.NotContains(t, string(out), "redacted")
			})
		}
	}
	t.Run("json says why", func(t *testing.T) {
		_, err := json.Marshal(s)
		require.ErrorIs(t, err, credentials.ErrSecretEncoded)
	})
	t.Run("json of an empty login", func(t *testing.T) {
		out, err := json.Marshal(credentials.Login{Ambient: true})
		require.NoError(t, err)
		require.JSONEq(t, `{"ambient": true}`, string(out))
	})
}

type attribute struct {
	Secret credentials.Secret `xml:"secret,attr"`
}

func TestDecodeJSON(t *testing.T) {
	for name, test := range map[string]struct {
		in, want string
		fails    bool
	}{
		"text": {in: `"s3cret"`, want: "s3cret"}, "empty": {in: `""`}, "null": {in: `null`}, "escapes": {in: `"\u0061\n\""`, want: "a\n\""},
		"number": {in: `12345`, fails: true}, "true": {in: `true`, fails: true}, "list": {in: `["hunter2"]`, fails: true}, "object": {in: `{"hunter2": 1}`, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			field := exported{credentials.NewSecret("what was there before")}
			err := json.Unmarshal([]byte(`{"Secret": `+test.in+`}`), &field)
			require.Equal(t, test.fails, err != nil, "%v", err)
			if err != nil {
				require.NotContains(t, err.Error(), strings.Trim(test.in, `"[]{}`))
				return
			}
			require.Equal(t, test.want, field.Secret.Reveal())
		})
	}
}

// An error of encoding/json quotes the invalid input.
func TestUnmarshalJSONQuotesNothing(t *testing.T) {
	var s credentials.Secret
	for _, text := range []string{"hunter2", "7hunter2", `"hunter2`} {
		require.EqualError(t, s.UnmarshalJSON([]byte(text)),
			"json: cannot unmarshal number into Go value of type string", text)
	}
}

func TestDecodeOthers(t *testing.T) {
	var y, x exported
	require.NoError(t, yaml.Unmarshal([]byte("secret: 0123\n"), &y))
	require.Equal(t, "0123", y.Secret.Reveal())
	require.NoError(t, xml.Unmarshal([]byte("<exported><Secret>a&amp;b</Secret></exported>"), &x))
	require.Equal(t, "a&b", x.Secret.Reveal())
}

func FuzzSecretJSON(f *testing.F) {
	for _, seed := range []string{`"s3cret"`, `null`, `""`, `"\ud800"`, `12345`, `{"a":"b"}`, `"`, ` "a" `, "\"\xff\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s credentials.Secret
		var want string
		err, wantErr := json.Unmarshal(data, &s), json.Unmarshal(data, &want)
		require.Equal(t, wantErr == nil, err == nil, "%v", err)
		if err == nil {
			require.Equal(t, want, s.Reveal())
		}
	})
}
