package mirrors

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/regcred/regcred/registry"
)

// maxErrorBody limits the body of an error response that is searched for the headers of hosts.toml. The rest is left out.
const maxErrorBody = 64 << 10

// minSecret is the length of the shortest value of a header, other than Authorization, that is treated as a secret.
const minSecret = 6

// holdsHeader reports whether a host's text repeats a value of a header of hosts.toml, which may be a secret, or the
// password in it.
func (t *hopTransport) holdsHeader(text string) bool { return t.holds(text, true) }

// holds does the same, without the passwords in the values if passwords is false.
func (t *hopTransport) holds(text string, passwords bool) bool {
	lower := strings.ToLower(text)
	for _, f := range t.hop.header {
		value := f.value.Reveal()
		secrets := []string{value}
		if f.name == "Authorization" {
			_, encoded, _ := strings.Cut(value, " ")
			secrets = append(secrets, encoded)
			if decoded, err := base64.StdEncoding.DecodeString(encoded); err == nil {
				_, password, _ := strings.Cut(string(decoded), ":")
				secrets = append(secrets, string(decoded))
				if passwords {
					secrets = append(secrets, password)
				}
			}
		}
		for _, s := range secrets {
			if s == "" || len(s) < minSecret && f.name != "Authorization" {
				continue
			}
			for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s), base64.StdEncoding.EncodeToString([]byte(s))} {
				if strings.Contains(lower, strings.ToLower(form)) {
					return true
				}
			}
		}
	}
	return false
}

// withoutHeader removes the parts of a response that repeat a header of hosts.toml: its headers, and the body of an
// error. Their text may otherwise be in the evidence.
func (t *hopTransport) withoutHeader(res *http.Response) *http.Response {
	if len(t.hop.header) == 0 {
		return res
	}
	for name, values := range res.Header {
		// A password may be a word that is in a URL by chance, and without these headers the check has another result.
		passwords := name != "Www-Authenticate" && name != "Location"
		if slices.ContainsFunc(values, func(v string) bool { return t.holds(v, passwords) }) {
			res.Header.Del(name)
		}
	}
	if res.StatusCode/100 == 2 {
		return res
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if t.holdsHeader(string(body)) {
		body = nil
	}
	var rest io.Reader = http.NoBody
	if err != nil {
		rest = failedReader{err}
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), rest), res.Body}
	return res
}

// errorWithoutHeader replaces an error that repeats a header of hosts.toml, such as one that quotes an invalid response.
func (t *hopTransport) errorWithoutHeader(err error) error {
	if !t.holdsHeader(err.Error()) {
		return err
	}
	return &registry.Error{Code: registry.NetworkCode(err), Err: errors.New("the response is not shown, because it repeats a header of hosts.toml")}
}

// A failedReader returns an error.
type failedReader struct{ err error }

func (r failedReader) Read([]byte) (int, error) { return 0, r.err }
