package validate

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A response is a server's response to one request, reduced to the parts that verdicts depend on.
type response struct {
	step       Step
	method     string
	status     int
	header     http.Header
	challenges []challenge
	// codes and text are from the error body; text has all its messages, in lower case.
	codes []string
	text  string
	// html reports that the body is a web page: it is from a front end, not the registry.
	html bool
	// body is the body of a successful response.
	body []byte
	// length is the Content-Length; -1 if there is none.
	length int64
	// received is the time of the response.
	received time.Time
	// host and path identify the server that responded, after redirects.
	host, path string
	// sent was sent with the request, and sentElsewhere with its repetition at the target of a redirect.
	sent, sentElsewhere authorization
	ex                  Exchange
}

// without returns untrusted text, or nothing if the text contains an authorization that was sent for this response.
func (a *response) without(text string) string { return a.sentElsewhere.without(a.sent.without(text)) }

// cite returns text of the registry in one line of at most that length. It is searched for what was sent before it is cut,
// and after characters were removed.
func (a *response) cite(text string, length int) string {
	return a.without(cleanLine(a.without(text), length))
}

func (a *response) ok() bool { return a != nil && 200 <= a.status && a.status < 300 }

// says reports whether one of the codes is in the error body.
func (a *response) says(codes ...string) bool {
	return slices.ContainsFunc(a.codes, func(c string) bool { return slices.Contains(codes, c) })
}

// bearerError is the error parameter of RFC 6750, which registries send as well: "invalid_token", "insufficient_scope".
func (a *response) bearerError() string {
	for _, c := range a.challenges {
		if e := c.params["error"]; e != "" {
			return strings.ToLower(e)
		}
	}
	return ""
}

func (a *response) mediaType() string { return mediaType(a.header.Get("Content-Type")) }

func mediaType(contentType string) string {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		t, _, _ = strings.Cut(contentType, ";")
		t = strings.ToLower(strings.TrimSpace(t))
	}
	return t
}

// Limits for error bodies. The longest honest bodies are a few hundred bytes of AWS policy text.
const (
	maxErrorBody   = 64 << 10
	maxErrors      = 8
	maxMessage     = 200
	maxCode        = 64
	maxErrorText   = 4 << 10
	maxPlainSample = 1 << 10
)

// readErrorBody reads the codes and messages of an error body. Registries send {"errors": [...]} (OCI distribution
// specification, "Error Codes"); a bare error object (Zot); {"details": "..."} (Docker Hub's token server); text; and
// web pages. It never fails: a body that cannot be read has no codes or messages.
func (a *response) readErrorBody(body []byte) {
	var messages []string
	var parsed struct {
		Errors  []errorObject `json:"errors"`
		Error   any           `json:"error"` // RFC 6749.
		Details any           `json:"details"`
		errorObject
	}
	trimmed := bytes.TrimSpace(body[:min(len(body), maxErrorBody)])
	switch {
	case len(trimmed) == 0:
	case json.Unmarshal(trimmed, &parsed) == nil:
		list := append(parsed.Errors, parsed.errorObject)
		for _, e := range list[:min(len(list), maxErrors)] {
			if code := cleanCode(e.Code); code != "" {
				a.codes = append(a.codes, code)
			}
			a.readUpstream(e.Detail)
			if m, ok := e.Message.(string); ok && m != "" {
				messages = append(messages, m)
			}
		}
		for _, v := range []any{parsed.Details, parsed.Error} {
			if s, ok := v.(string); ok && s != "" {
				messages = append(messages, s)
			}
		}
	case trimmed[0] == '<' || strings.Contains(a.mediaType(), "html"):
		a.html = true
	case trimmed[0] != '{' && trimmed[0] != '[':
		messages = append(messages, string(trimmed[:min(len(trimmed), maxPlainSample)]))
	}
	text := strings.ToLower(strings.Join(messages, " | "))
	a.text = text[:min(len(text), maxErrorText)]
	if len(a.codes) > 0 && a.without(strings.ReplaceAll(a.codes[0], "_", " ")) != "" {
		a.ex.Code = a.without(a.codes[0])
	}
	if len(messages) > 0 {
		a.ex.Message = a.cite(messages[0], maxMessage)
	}
}

// readUpstream reads the error of the upstream that a pull-through cache reports: distribution 2.8 responds with 500
// for a missing digest, and has the error of the upstream in the detail.
func (a *response) readUpstream(detail json.RawMessage) {
	var upstream struct {
		Errors []errorObject `json:"errors"`
	}
	if a.status != http.StatusInternalServerError || json.Unmarshal(detail, &upstream) != nil {
		return
	}
	for _, e := range upstream.Errors[:min(len(upstream.Errors), maxErrors)] {
		switch code := cleanCode(e.Code); code {
		case "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NAME_UNKNOWN":
			a.codes = append(a.codes, code)
			a.status = http.StatusNotFound
		}
	}
}

// The types are loose, because one odd field must not hide the others: Artifactory sends no code, others send numbers.
type errorObject struct {
	Code    any             `json:"code"`
	Message any             `json:"message"`
	Detail  json.RawMessage `json:"detail"`
}

// cleanCode returns v if it has the form of a code. All other values are ignored.
func cleanCode(v any) string {
	s, ok := v.(string)
	if !ok || s == "" || len(s) > maxCode {
		return ""
	}
	s = strings.ToUpper(strings.ReplaceAll(s, " ", "_"))
	if strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return ""
	}
	return s
}

// cleanLine returns untrusted text in a form that is safe for a log: one line, printable, short.
func cleanLine(s string, limit int) string {
	space := true // The previous character was one. It starts true to trim leading space.
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			if space {
				return -1
			}
			space = true
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return -1
		}
		space = false
		return r
	}, s)
	s = strings.TrimSuffix(s, " ")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit-3], "") + "..."
	}
	return s
}

// retryAfter reads the header of that name, in seconds or as a date (RFC 9110, 10.2.3). It returns zero if the header
// is missing, invalid or in the past.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		const week = 7 * 24 * 3600
		return time.Duration(min(max(n, 0), week)) * time.Second
	}
	if t, err := http.ParseTime(value); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

// readRateLimit reads Docker Hub's headers: "ratelimit-limit: 100;w=21600". The window is read from the header because
// Docker Hub changes it.
func readRateLimit(h http.Header) RateLimit {
	if h.Get("Ratelimit-Limit") == "" {
		return RateLimit{}
	}
	limit, window, ok := budget(h.Get("Ratelimit-Limit"))
	remaining, _, okRemaining := budget(h.Get("Ratelimit-Remaining"))
	if !ok || !okRemaining || limit <= 0 {
		return RateLimit{}
	}
	source := cleanLine(h.Get("Docker-Ratelimit-Source"), 64)
	return RateLimit{Limit: limit, Remaining: remaining, Window: window, Source: source}
}

func budget(s string) (n int, window time.Duration, ok bool) {
	count, params, _ := strings.Cut(s, ";")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if err != nil || n < 0 {
		return 0, 0, false
	}
	if w, found := strings.CutPrefix(strings.TrimSpace(params), "w="); found {
		if seconds, err := strconv.Atoi(w); err == nil && seconds > 0 && seconds < 1<<31 {
			window = time.Duration(seconds) * time.Second
		}
	}
	return n, window, true
}
