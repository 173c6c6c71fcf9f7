package registrytest

import (
	"encoding/json"
	"html"
	"net/http"
	"regexp"
	"strings"
)

// An Answer is a response, as text with gaps. In Challenge, Header and Body, these gaps are replaced by properties of
// the request:
//
//	{scheme} {host}         of the request
//	{tokenhost}             the host of the token endpoint
//	{repository} {project}  team/app; and its first part, team
//	{rest}                  the repository after its first part
//	{key}                   the same as {project}; null without a repository
//	{reference}             tag or digest
//	{scope} {actions}       repository:team/app:pull; and pull
//	{access}                the scope in JSON, as in the error detail of the distribution project; or null
//	{account} {ip}          of the client
//
// In a Challenge, a part in square brackets is omitted if one of its gaps is empty:
//
//	Bearer realm="{scheme}://{host}/token"[,scope="{scope}"]
type Answer struct {
	// Status is the HTTP status. An Answer whose Status is zero and that does not set Cut is a zero Answer.
	Status int
	// Challenge is the WWW-Authenticate header. Each line is sent as a separate header. Empty means none.
	Challenge string
	// Header is further headers, with keys in their canonical form. Without a Content-Type, it is derived from Body: JSON,
	// HTML or plain text. An empty value omits a header that the dialect sends with each response.
	Header map[string]string
	// Body is the body of the response.
	Body string
	// Cut closes the connection instead of sending a response.
	Cut bool
}

func (a Answer) isZero() bool { return a.Status == 0 && !a.Cut }

// or returns the first of a and the others that is not zero.
func (a Answer) or(others ...Answer) Answer {
	for _, other := range others {
		if !a.isZero() {
			break
		}
		a = other
	}
	return a
}

// oci returns a response in the error format of the OCI distribution specification. The detail is JSON; empty means
// none.
func oci(status int, code, message, detail string) Answer {
	return Answer{Status: status, Body: errorBody(code, message, detail)}
}

func errorBody(code, message, detail string) string {
	body := `{"errors":[{"code":"` + code + `","message":"` + jsonEscape(message) + `"`
	if detail != "" {
		body += `,"detail":` + detail
	}
	return body + `}]}`
}

// with returns a copy of the response with a challenge.
func (a Answer) with(challenge string) Answer {
	a.Challenge = challenge
	return a
}

// gaps are the values for the gaps of an [Answer], by name without braces. The JSON in "access" is inserted unquoted.
type gaps map[string]string

var (
	gap      = regexp.MustCompile(`\{[a-z_]+\}`)
	optional = regexp.MustCompile(`\[[^\[\]]*\]`)
)

func (g gaps) fill(text string, escape func(string) string) string {
	return gap.ReplaceAllStringFunc(text, func(s string) string {
		name := s[1 : len(s)-1]
		value, ok := g[name]
		switch {
		case !ok:
			return s
		case name == "access":
			return value
		}
		return escape(value)
	})
}

func (g gaps) challenge(text string) string {
	text = optional.ReplaceAllStringFunc(text, func(part string) string {
		for _, name := range gap.FindAllString(part, -1) {
			if g[name[1:len(name)-1]] == "" {
				return ""
			}
		}
		return part[1 : len(part)-1]
	})
	return g.fill(text, strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace)
}

func (g gaps) header(text string) string {
	return g.fill(text, strings.NewReplacer("\r", "", "\n", "").Replace)
}

// body fills the gaps of a body, and returns its content type.
func (g gaps) body(text string) (body, contentType string) {
	switch trimmed := strings.TrimSpace(text); {
	case trimmed == "":
		return text, ""
	case strings.HasPrefix(trimmed, "{"), strings.HasPrefix(trimmed, "["):
		return g.fill(text, jsonEscape), "application/json"
	case strings.HasPrefix(trimmed, "<"):
		return g.fill(text, html.EscapeString), "text/html; charset=utf-8"
	}
	return g.fill(text, asItIs), "text/plain; charset=utf-8"
}

func asItIs(s string) string { return s }

func jsonEscape(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // As registries do.
	_ = e.Encode(s)        // A string always encodes.
	return strings.Trim(b.String(), "\n")[1 : b.Len()-2]
}

// send writes the response.
func (a Answer) send(w http.ResponseWriter, r *http.Request, g gaps) {
	if a.Cut {
		cut(r)
	}
	body, contentType := g.body(a.Body)
	h := w.Header()
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	if a.Challenge != "" {
		for line := range strings.SplitSeq(a.Challenge, "\n") {
			h.Add("WWW-Authenticate", g.challenge(line))
		}
	}
	for key, value := range a.Header {
		if h.Set(key, g.header(value)); value == "" {
			h.Del(key)
		}
	}
	writeBody(w, r, a.Status, []byte(body))
}
