package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/regcred/regcred/registry"
)

// Version is the version of the format of captures. A program that decodes captures rejects other versions.
const Version = 1

// A Capture has the redacted responses of a registry to the questions of a [Probe]. It is plain data with a stable JSON
// form. [Decode] decodes it.
type Capture struct {
	// Version is [Version].
	Version int `json:"version"`
	// Software is the registry's product and version, as entered by the person who made the capture: "Harbor 2.11". It may
	// not look like a host. Empty means unknown.
	Software string `json:"software,omitempty"`
	// Dialect is the name of the dialect that the registry is expected to speak; see [registrytest.Dialect.Name].
	Dialect string `json:"dialect"`
	// Setup has the properties of the registry's content that affect its responses.
	Setup Setup `json:"setup"`
	// TokenServer is the token server that the registry names. The zero value means none.
	TokenServer TokenServer `json:"tokenServer,omitzero"`
	// Exchanges are the responses, in the order of the requests.
	Exchanges []Exchange `json:"exchanges"`
	// Skipped are the questions that were not sent.
	Skipped []Skipped `json:"skipped,omitempty"`
	// Accepted are the differences between the registry and the fake that [Capture.Verify] accepts. A person adds them.
	Accepted []Accepted `json:"accepted,omitempty"`
}

// A Setup has the properties of a registry's content that affect its responses.
type Setup struct {
	// Depth is the number of parts of the repository's name.
	Depth int `json:"depth"`
	// Login reports whether the profile has a login.
	Login bool `json:"login"`
	// Rejected reports whether the registry rejects the login, or its right to the image. No further requests have the
	// login then.
	Rejected bool `json:"rejected,omitempty"`
	// Other reports whether there is a repository of another owner, and Public whether there is an image that needs no
	// login.
	Other  bool `json:"other,omitempty"`
	Public bool `json:"public,omitempty"`
	// MediaType is the media type of the image's manifest. Empty means unknown.
	MediaType string `json:"mediaType,omitempty"`
	// Tags is the number of tags of the image's repository; 2 means two or more, and 0 unknown.
	Tags int `json:"tags,omitempty"`
	// RateLimit reports whether responses have the headers of a rate limit.
	RateLimit bool `json:"rateLimit,omitempty"`
}

// A TokenServer is the token server that a challenge names.
type TokenServer struct {
	// Realm is the redacted URL, and Service the redacted service.
	Realm   string `json:"realm,omitempty"`
	Service string `json:"service,omitempty"`
}

// An Exchange is one question and the response to it.
type Exchange struct {
	// Question identifies the request: "tag-missing". The names never change; see docs/probe.md.
	Question string `json:"question"`
	// Login is the way in which the request logged in.
	Login Login `json:"login"`
	// Reply is the response. It is nil if there was none; Failed then has the code of the error.
	Reply  *Reply `json:"reply,omitempty"`
	Failed string `json:"failed,omitempty"`
}

func (e Exchange) key() string { return e.Question + "/" + string(e.Login) }

// A Login is the way in which a request logs in.
type Login string

// The logins of requests.
const (
	// NoLogin sends no login.
	NoLogin Login = "none"
	// BasicLogin sends the profile's login itself.
	BasicLogin Login = "basic"
	// TokenLogin sends a token that was issued for the profile's login and the repository of the request.
	TokenLogin Login = "token"
	// AnonymousToken sends a token that was issued without a login.
	AnonymousToken Login = "anonymous-token"
	// TwoScopesToken sends a token that was issued for two repositories.
	TwoScopesToken Login = "two-scopes-token"
	// BadToken sends a token that no server issued.
	BadToken Login = "bad-token"
	// WrongLogin sends the profile's user name with a wrong password.
	WrongLogin Login = "wrong"
)

// A Reply is a redacted response.
type Reply struct {
	// Status is the HTTP status.
	Status int `json:"status"`
	// Challenges are the WWW-Authenticate headers.
	Challenges []string `json:"challenges,omitempty"`
	// Headers are the forms of other headers that clients use. Headers that clients do not use are left out.
	Headers map[string]string `json:"headers,omitempty"`
	// Kind is the kind of the body: "json", "html", "xml", "text", or "data" for a manifest or blob. Empty means that
	// there is no body.
	Kind string `json:"kind,omitempty"`
	// Codes are the codes of an error body. A code that is not in a list named errors is marked.
	Codes []string `json:"codes,omitempty"`
	// Body is the form of the body, with redacted texts. It is left out for HTML, XML and data.
	Body string `json:"body,omitempty"`
	// Entries is the number of entries of a list; 2 means two or more.
	Entries *int `json:"entries,omitempty"`
	// ExpiresIn is the lifetime of a token in seconds, as sent. Zero means that it was not sent.
	ExpiresIn int `json:"expiresIn,omitempty"`
}

// A Skipped is a question that was not sent.
type Skipped struct {
	Question string `json:"question"`
	Login    Login  `json:"login"`
	// Why is the reason: one of a fixed list of sentences.
	Why string `json:"why"`
}

// An Accepted is a difference that [Capture.Verify] accepts.
type Accepted struct {
	// Difference is a regular expression of [Difference.Key]. It has only whole words of keys.
	Difference string `json:"difference"`
	// Why is the reason: one line of at most 200 characters without hosts and addresses.
	Why string `json:"why"`
}

// Encode returns the JSON form, with one exchange in each line.
func (c Capture) Encode() ([]byte, error) {
	lines := make([]string, len(c.Exchanges))
	for i, e := range c.Exchanges {
		text, err := encode(e, "")
		if err != nil {
			return nil, err
		}
		lines[i] = "\t\t" + strings.TrimSpace(string(text))
	}
	c.Exchanges = nil
	text, err := encode(c, "\t")
	list := "[\n" + strings.Join(lines, ",\n") + "\n\t]"
	return bytes.Replace(text, []byte("\n\t\"exchanges\": null"), []byte("\n\t\"exchanges\": "+list), 1), err
}

func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(v)
	return b.Bytes(), err
}

// maxCapture bounds the size of a capture. An honest one has some 20 KiB.
const maxCapture = 1 << 20

var software = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 .+()-]{0,59}$`)

// identity matches texts that may identify a person or a company: hosts, addresses, e-mail addresses and hashes.
var identity = regexp.MustCompile(`[A-Za-z0-9]\.[A-Za-z]{2,}\b|\d+\.\d+\.\d+\.\d+|@|://|[0-9a-fA-F]{12,}|[0-9a-fA-F]*:[0-9a-fA-F]*:`)

// sentence matches the reason of an accepted difference.
var sentence = regexp.MustCompile(`^[ -~]{1,200}$`)

// keyWords are the words of [Difference.Key].
var keyWords = sync.OnceValue(func() map[string]bool {
	texts := append([]string{"realm service status challenges header body codes entries lifetime of the token fields text"}, headers...)
	for question := range explanations {
		texts = append(texts, question)
	}
	for login := range logins {
		texts = append(texts, string(login))
	}
	words := make(map[string]bool)
	for word := range strings.FieldsFuncSeq(strings.Join(texts, " "), func(c rune) bool { return !isWordRune(c) }) {
		words[word] = true
	}
	return words
})

// check reports an accepted difference that is not a regular expression of a key, or whose reason may identify a person.
func (a Accepted) check() error {
	if _, err := regexp.Compile(a.Difference); err != nil {
		return errors.New("an accepted difference is not a regular expression")
	}
	for word := range strings.FieldsFuncSeq(a.Difference, func(c rune) bool { return !isWordRune(c) }) {
		if len(word) > 1 && !keyWords()[word] {
			return errors.New("an accepted difference has a word that no difference has")
		}
	}
	if !sentence.MatchString(a.Why) || identity.MatchString(a.Why) {
		return errors.New("the reason of an accepted difference has a host or an address, or is not one line of at most 200 ASCII characters")
	}
	return nil
}

// Decode decodes the JSON form. It rejects unknown fields, other versions, and any text of a response that is not
// redacted. It checks the texts that a person adds (Software and Accepted) only for their form.
func Decode(data []byte) (Capture, error) {
	if len(data) > maxCapture {
		return Capture{}, errors.New("decode capture: it is longer than 1 MiB")
	}
	var c Capture
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Capture{}, fmt.Errorf("decode capture: %w", err)
	}
	if c.Version != Version {
		return Capture{}, fmt.Errorf("decode capture: it has version %d, and this program reads version %d", c.Version, Version)
	}
	if err := c.checkRedacted(); err != nil {
		return Capture{}, fmt.Errorf("decode capture: %w", err)
	}
	return c, nil
}

// checkRedacted reports a text that is not redacted, without quoting it.
func (c Capture) checkRedacted() error {
	if c.Software != "" && (!software.MatchString(c.Software) || identity.MatchString(c.Software)) {
		return errors.New("the software is not the name of a product and its version, in at most 60 characters")
	}
	if _, ok := DialectNamed(c.Dialect); !ok && c.Dialect != "" {
		return errors.New("there is no such dialect")
	}
	for where, text := range map[string]string{
		"the media type": c.Setup.MediaType, "the realm": c.TokenServer.Realm, "the service": c.TokenServer.Service,
	} {
		if !clean(text) {
			return fmt.Errorf("%s is not redacted", where)
		}
	}
	for _, s := range c.Skipped {
		if !clean(s.Question) || !clean(string(s.Login)) {
			return errors.New("a skipped question is not redacted")
		}
		if !slices.Contains(reasons, s.Why) {
			return errors.New("a skipped question has an unknown reason")
		}
	}
	for _, a := range c.Accepted {
		if err := a.check(); err != nil {
			return err
		}
	}
	for i, e := range c.Exchanges {
		texts := []string{e.Question, string(e.Login)}
		if e.Failed != "" && !slices.Contains(failures, registry.Code(e.Failed)) {
			return fmt.Errorf("exchange %d has an unknown code of a failure", i+1)
		}
		if r := e.Reply; r != nil {
			texts = append(texts, r.Kind, r.Body)
			texts = append(texts, r.Challenges...)
			texts = append(texts, r.Codes...)
			for name, value := range r.Headers {
				if !slices.Contains(headers, name) {
					return fmt.Errorf("exchange %d has an unknown header", i+1)
				}
				texts = append(texts, value)
			}
		}
		for _, text := range texts {
			if !clean(text) {
				return fmt.Errorf("a text of exchange %d is not redacted", i+1)
			}
		}
	}
	return nil
}
