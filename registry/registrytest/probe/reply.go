package probe

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A response is a response before redaction.
type response struct {
	status int
	header http.Header
	body   []byte
	head   bool
	err    error // If there was no response.
}

// maxBody bounds the part of a body that is read. The longest lists of honest registries are shorter, because they are
// divided into pages.
const maxBody = 1 << 20

func readResponse(res *http.Response, head bool) *response {
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxBody)) // The status counts, even if the body was truncated.
	return &response{status: res.StatusCode, header: res.Header, body: body, head: head}
}

func (r *response) ok() bool { return r != nil && r.status == http.StatusOK }

var challengeParameter = regexp.MustCompile(`(?i)\b(realm|service|scope)=("[^"]*"|[^\s,"]+)`)

// bearer returns the realm and the service of the response's Bearer challenge.
func (r *response) bearer() (realm, service string, ok bool) {
	for _, line := range r.header.Values("Www-Authenticate") {
		at := strings.Index(strings.ToLower(line), "bearer ")
		if at < 0 {
			continue
		}
		for _, m := range challengeParameter.FindAllStringSubmatch(line[at:], -1) {
			switch value := strings.Trim(m[2], `"`); strings.ToLower(m[1]) {
			case "realm":
				realm = value
			case "service":
				service = value
			}
		}
		return realm, service, realm != ""
	}
	return "", "", false
}

// A form selects the part of a body that is kept.
type form int

const (
	errorForm form = iota // The body of an error, and nothing of a success.
	listForm              // A list.
	tokenForm             // The response of a token server.
	pingForm              // The response to GET /v2/.
)

// reply redacts the response.
func (r *redactor) reply(question string, res *response, of form) *Reply {
	reply := &Reply{Status: res.status, Headers: make(map[string]string)}
	for _, line := range res.header.Values("Www-Authenticate")[:min(len(res.header.Values("Www-Authenticate")), 8)] {
		reply.Challenges = append(reply.Challenges, r.challenge(line))
	}
	mediaType := r.headers(res, reply.Headers)
	if strings.HasPrefix(question, "other") || strings.HasPrefix(question, "public") {
		otherImage(reply)
	}
	if len(reply.Headers) == 0 {
		reply.Headers = nil
	}
	if res.head || len(res.body) == 0 {
		return reply
	}
	v, isJSON := parseJSON(res.body)
	object, _ := v.(map[string]any)
	if of == tokenForm && res.status/100 == 2 {
		hideTexts(object)
	}
	trimmed := strings.TrimSpace(string(res.body[:min(len(res.body), maxText)]))
	switch {
	case res.status/100 == 2 && of == errorForm:
		reply.Kind = "data"
		return reply
	case isJSON:
		reply.Kind = "json"
		reply.Body = r.text(r.json(v, 0))
	case strings.Contains(mediaType, "xml"):
		reply.Kind = "xml"
		return reply
	case strings.HasPrefix(trimmed, "<"), strings.Contains(mediaType, "html"):
		reply.Kind = "html"
		return reply
	case trimmed == "":
		return reply
	case of == tokenForm && res.status/100 == 2:
		reply.Kind = "text" // It may be a token.
		return reply
	default:
		reply.Kind = "text"
		reply.Body = r.text(trimmed)
	}
	switch {
	case res.status/100 != 2:
		reply.Codes = r.codes(object)
	case of == listForm:
		reply.Entries = entries(object)
	case of == tokenForm:
		if n, ok := object["expires_in"].(float64); ok && n > 0 && n < 1<<31 {
			reply.ExpiresIn = int(n)
		}
	}
	return reply
}

// otherImage drops the properties of an image that is not the probe's own: its type, and whether it is the same image.
func otherImage(reply *Reply) {
	if reply.Headers["Docker-Content-Digest"] != "" {
		reply.Headers["Docker-Content-Digest"] = "a digest"
	}
	if reply.Status/100 == 2 && strings.HasPrefix(reply.Headers["Content-Type"], "application/vnd.") {
		reply.Headers["Content-Type"] = "an image"
	}
}

// challenge redacts a challenge. The realm and service that most challenges of the registry have are replaced as a
// whole.
func (r *redactor) challenge(line string) string {
	line = challengeParameter.ReplaceAllStringFunc(line, func(s string) string {
		name, value, _ := strings.Cut(s, "=")
		bare, quote := strings.Trim(value, `"`), ""
		if strings.HasPrefix(value, `"`) {
			quote = `"`
		}
		switch name := strings.ToLower(name); {
		case name == "realm" && bare == r.realm:
			return name + "=" + quote + gapRealm + quote
		case name == "service" && bare == r.service:
			return name + "=" + quote + gapService + quote
		}
		return s
	})
	return r.text(line)
}

// headers are the headers of responses that clients use.
var headers = []string{
	"Content-Type", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "Link", "Location", "Retry-After", "Ratelimit-Limit",
	"Ratelimit-Remaining",
}

// headers sets the forms of the headers that clients use, and returns the media type.
func (r *redactor) headers(res *response, forms map[string]string) (mediaType string) {
	var none redactor
	h := res.header
	if t := h.Get("Content-Type"); t != "" {
		mediaType, _, _ = mime.ParseMediaType(t)
		forms["Content-Type"] = none.text(mediaType)
	}
	if v := h.Get("Docker-Distribution-Api-Version"); v != "" {
		forms["Docker-Distribution-Api-Version"] = none.text(v)
	}
	if v := h.Get("Docker-Content-Digest"); v != "" {
		if forms["Docker-Content-Digest"] = r.text(v); forms["Docker-Content-Digest"] != gapDigest {
			forms["Docker-Content-Digest"] = "another digest"
		}
	}
	if v := h.Get("Link"); v != "" {
		forms["Link"] = r.link(v)
	}
	if v := h.Get("Location"); v != "" {
		forms["Location"] = r.location(v)
	}
	if v := h.Get("Retry-After"); v != "" {
		forms["Retry-After"] = "another form"
		if _, err := strconv.Atoi(v); err == nil {
			forms["Retry-After"] = "seconds"
		} else if _, err := time.Parse(http.TimeFormat, v); err == nil {
			forms["Retry-After"] = "date"
		}
	}
	for _, name := range []string{"Ratelimit-Limit", "Ratelimit-Remaining"} {
		if v := h.Get(name); v != "" {
			forms[name] = none.text(v)
		}
	}
	return mediaType
}

var linkForm = regexp.MustCompile(`^<([^>]*)>\s*;\s*(.*)$`)

// link redacts a link to the next page: its path, and the names of its parameters.
func (r *redactor) link(value string) string {
	m := linkForm.FindStringSubmatch(value)
	if m == nil {
		return "another form"
	}
	u, err := url.Parse(m[1])
	if err != nil {
		return "another form"
	}
	var none redactor
	return "<" + r.address(u) + parameters(none, u) + ">; " + none.text(m[2])
}

func (r *redactor) location(value string) string {
	u, err := url.Parse(value)
	if err != nil {
		return "another form"
	}
	return r.address(u)
}

// address redacts a URL without its parameters.
func (r *redactor) address(u *url.URL) string {
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return r.text(bare.String())
}

func parameters(r redactor, u *url.URL) string {
	var names []string
	for name := range u.Query() {
		names = append(names, r.text(name))
	}
	slices.Sort(names)
	if len(names) == 0 {
		return ""
	}
	return " " + strings.Join(slices.Compact(names), " ")
}

// codes returns the codes of an error body, in the form of the OCI distribution specification or as a bare object.
func (r *redactor) codes(object map[string]any) []string {
	var none redactor
	var codes []string
	list, _ := object["errors"].([]any)
	for _, e := range list[:min(len(list), 8)] {
		fields, _ := e.(map[string]any)
		if code, ok := fields["code"].(string); ok {
			codes = append(codes, none.text(code))
		}
	}
	if code, ok := object["code"].(string); ok {
		codes = append(codes, none.text(code)+" (not in errors)")
	}
	return codes
}

// entries returns the number of names in a list, up to 2.
func entries(object map[string]any) *int {
	for _, name := range []string{"tags", "repositories"} {
		if v, ok := object[name]; ok {
			list, _ := v.([]any)
			n := min(len(list), 2)
			return &n
		}
	}
	return nil
}
