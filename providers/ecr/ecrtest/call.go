package ecrtest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A Call is one call of an API. It never holds a secret.
type Call struct {
	// Action is the action as named in a policy: "ecr:GetAuthorizationToken". If the request names none, it is only the
	// service: "ecr".
	Action string
	// Host and Region are the host and the region of the API.
	Host   string
	Region string
	// AccessKeyID is the access key of the request's signature; empty if there is none.
	AccessKeyID string
	// Principal is the ARN of the caller; empty if unknown.
	Principal string
	// Code is AWS's error code in the response; empty if the call succeeded.
	Code string
}

// Calls returns the calls so far, in the order of the responses.
func (a *AWS) Calls() []Call {
	var calls []Call
	a.locked(func() { calls = slices.Clone(a.calls) })
	return calls
}

// A failure is an error response of AWS.
type failure struct {
	status        int
	code, message string
}

// A reply is the response to a successful call.
type reply struct{ contentType, body string }

func (a *AWS) serveAPI(w http.ResponseWriter, r *http.Request, e endpoint) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	c := Call{Action: e.service, Host: r.Host, Region: e.region}
	form := url.Values{}
	if e.service == "sts" {
		form, _ = url.ParseQuery(string(body))
		c.Action += ":" + form.Get("Action")
	} else if _, op, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		c.Action += ":" + op
	}
	w.Header().Set("Date", a.now().UTC().Format(http.TimeFormat))
	w.Header().Set("X-Amzn-Requestid", requestID())
	if a.Intercept != nil && a.Intercept(w, r, c) {
		a.note(c)
		return
	}
	ok, failed := a.answer(r, body, form, e, &c)
	if failed != nil {
		c.Code = failed.code
		a.note(c)
		c.Fail(w, failed.status, failed.code, failed.message)
		return
	}
	a.note(c)
	w.Header().Set("Content-Type", ok.contentType)
	_, _ = io.WriteString(w, ok.body)
}

func (a *AWS) note(c Call) {
	a.locked(func() { a.calls = append(a.calls, c) })
}

func requestID() string { return strings.ToLower(rand.Text()) }

// answer authenticates the caller and executes the call.
func (a *AWS) answer(r *http.Request, body []byte, form url.Values, e endpoint, c *Call) (*reply, *failure) {
	if r.Method != http.MethodPost {
		return nil, &failure{http.StatusNotFound, "UnknownOperationException", ""}
	}
	if c.Action == "sts:AssumeRoleWithWebIdentity" { // The only action without a signature.
		return a.assumeRoleWithWebIdentity(e, form)
	}
	p, failed := a.verify(r, body, e, c)
	if failed != nil {
		return nil, failed
	}
	c.Principal = p.arn
	switch c.Action {
	case "sts:AssumeRole":
		return a.assumeRole(p, form)
	case "ecr:GetAuthorizationToken", "ecr-public:GetAuthorizationToken":
		want := "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
		if e.service == "ecr-public" {
			want = "SpencerFrontendService.GetAuthorizationToken"
		}
		if r.Header.Get("X-Amz-Target") != want || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
			return nil, &failure{http.StatusBadRequest, "UnknownOperationException", ""}
		}
		return a.getAuthorizationToken(p, e)
	}
	return nil, &failure{http.StatusBadRequest, "UnknownOperationException", ""}
}

// Fail sends an error response in the form of the call's service.
func (c Call) Fail(w http.ResponseWriter, status int, code, message string) {
	if strings.HasPrefix(c.Action, "sts") {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>`+escapeXML(code)+
			`</Code><Message>`+escapeXML(message)+`</Message></Error><RequestId>`+w.Header().Get("X-Amzn-Requestid")+`</RequestId></ErrorResponse>`)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": message})
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // A Builder does not fail.
	return b.String()
}
