package credentials

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
)

// ErrSecretEncoded is the error of encoding a [Secret]. Encoders fail because any placeholder would be taken for the
// password. Write [Secret.Reveal] to encode the text on purpose.
var ErrSecretEncoded = errors.New("credentials: a Secret cannot be encoded; call Reveal to get its text")

// A Secret is text that does not leak: a password, a token, a private key.
//
// It prints as [redacted] under every verb of package fmt, also when nested in another value; it logs as [redacted]
// under every slog handler; encoders for JSON, XML, YAML and all others that use encoding.TextMarshaler fail with
// [ErrSecretEncoded]; and code that walks values by reflection (deep printers, test diffs) finds masked bytes.
// [Secret.Reveal] and [Secret.AppendTo] are the only ways to the text, so a search for these two names audits a
// program. It decodes from JSON and text.
//
// The zero Secret is the empty text. A Secret is immutable and may be copied and shared between goroutines. It cannot
// be compared with ==, which would not compare the texts; see [Secret.Equal].
type Secret struct {
	_ [0]func() // Not comparable.

	// It is a pointer because fmt prints an unexported field without calling its methods. The text is masked because
	// other printers follow pointers.
	p *masked
}

type masked struct{ b []byte }

// pad masks the texts of this process. It is not encryption: code that can read the process's memory can read both.
var pad = newPad()

func newPad() [64]byte {
	var b [64]byte
	_, _ = rand.Read(b[:]) // Never fails: crypto/rand crashes the program instead.
	return b
}

func xorPad(b []byte) {
	for len(b) > 0 {
		b = b[subtle.XORBytes(b, b, pad[:]):]
	}
}

// NewSecret returns a Secret that holds text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	b := []byte(text)
	xorPad(b)
	return Secret{p: &masked{b}}
}

// Reveal returns the text.
func (s Secret) Reveal() string {
	return string(s.AppendTo(nil))
}

// AppendTo appends the text to b. It saves the copy that [Secret.Reveal] makes.
func (s Secret) AppendTo(b []byte) []byte {
	if s.p == nil {
		return b
	}
	n := len(b)
	b = append(b, s.p.b...)
	xorPad(b[n:])
	return b
}

// IsZero reports whether the text is empty. The omitzero option of encoding/json calls it.
func (s Secret) IsZero() bool { return s.p == nil }

// Len returns the length of the text in bytes.
func (s Secret) Len() int {
	if s.p == nil {
		return 0
	}
	return len(s.p.b)
}

// Equal reports whether both hold the same text, in a time that depends only on the lengths.
func (s Secret) Equal(other Secret) bool {
	if s.p == nil || other.p == nil {
		return s.p == other.p
	}
	return s.p == other.p || subtle.ConstantTimeCompare(s.p.b, other.p.b) == 1
}

const redacted = "[redacted]"

// Format prints [redacted], whatever the verb; nothing for an empty Secret.
func (s Secret) Format(f fmt.State, _ rune) {
	if !s.IsZero() {
		_, _ = io.WriteString(f, redacted)
	}
}

// String returns "[redacted]"; "" for an empty Secret.
func (s Secret) String() string { return fmt.Sprint(s) }

// LogValue logs [redacted].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText fails with [ErrSecretEncoded], also for an empty Secret in a field without omitzero. The encoders of
// JSON, XML and YAML call it.
func (s Secret) MarshalText() ([]byte, error) { return nil, ErrSecretEncoded }

// UnmarshalText stores the text unchanged.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// UnmarshalJSON accepts a JSON string; null is the empty Secret. Its error does not quote the input.
func (s *Secret) UnmarshalJSON(data []byte) error {
	var text *string
	if err := json.Unmarshal(data, &text); err != nil {
		// An UnmarshalTypeError, so that the decoder adds the path of the field.
		return &json.UnmarshalTypeError{Value: jsonType(data), Type: reflect.TypeFor[string]()}
	}
	*s = Secret{}
	if text != nil {
		*s = NewSecret(*text)
	}
	return nil
}

// jsonType names the type of a JSON value as package json does.
func jsonType(data []byte) string {
	for prefix, name := range map[string]string{"{": "object", "[": "array", "t": "bool", "f": "bool"} {
		if bytes.HasPrefix(bytes.TrimSpace(data), []byte(prefix)) {
			return name
		}
	}
	return "number"
}
