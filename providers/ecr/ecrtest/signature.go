package ecrtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// maxSkew is the maximum difference between a signature's time and AWS's clock:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-signing-elements.html.
const maxSkew = 15 * time.Minute

const signatureTime = "20060102T150405Z"

// A signature is a parsed Authorization header.
type signature struct {
	accessKeyID, date, region, service string
	headers                            []string
	value                              string
}

func parseSignature(header string) (s signature, ok bool) {
	rest, ok := strings.CutPrefix(header, "AWS4-HMAC-SHA256 ")
	if !ok {
		return s, false
	}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			scope := strings.Split(value, "/")
			if len(scope) != 5 || scope[4] != "aws4_request" {
				return s, false
			}
			s.accessKeyID, s.date, s.region, s.service = scope[0], scope[1], scope[2], scope[3]
		case "SignedHeaders":
			s.headers = strings.Split(value, ";")
		case "Signature":
			s.value = value
		}
	}
	return s, s.accessKeyID != "" && s.value != "" && slices.Contains(s.headers, "host")
}

// verify authenticates the signer of the request, and recomputes the signature:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. ECR and STS use different
// codes for the same errors.
func (a *AWS) verify(r *http.Request, body []byte, e endpoint, c *Call) (principal, *failure) {
	fail := func(ecrCode, stsCode, message string) (principal, *failure) {
		if e.service == "sts" {
			return principal{}, &failure{http.StatusForbidden, stsCode, message}
		}
		return principal{}, &failure{http.StatusBadRequest, ecrCode, message}
	}
	unknown := func() (principal, *failure) {
		return fail("UnrecognizedClientException", "InvalidClientTokenId", "The security token included in the request is invalid.")
	}
	s, ok := parseSignature(r.Header.Get("Authorization"))
	if !ok {
		return fail("MissingAuthenticationTokenException", "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	c.AccessKeyID = s.accessKeyID
	if slices.Contains(a.DisabledRegions, e.region) {
		if e.service == "sts" {
			return fail("", "RegionDisabledException", "STS is not activated in this region for account. Your account administrator can activate STS in this region using the IAM Console.")
		}
		return unknown()
	}
	p, ok := a.principalOf(s.accessKeyID)
	if !ok || p.partition() != partitionOf(e.region) {
		return unknown()
	}
	if r.Header.Get("X-Amz-Security-Token") != p.sessionToken || p.sessionToken != "" && !slices.Contains(s.headers, "x-amz-security-token") {
		return unknown()
	}
	if p.expired(a.now()) {
		return fail("ExpiredTokenException", "ExpiredToken", "The security token included in the request is expired")
	}
	at, err := time.Parse(signatureTime, r.Header.Get("X-Amz-Date"))
	now := a.now().UTC()
	switch {
	case err != nil || at.Format("20060102") != s.date || s.region != e.region || s.service != e.service:
		return fail("InvalidSignatureException", "SignatureDoesNotMatch", "Credential should be scoped to a valid region.")
	case at.Before(now.Add(-maxSkew)):
		return fail("InvalidSignatureException", "SignatureDoesNotMatch", "Signature expired: "+at.Format(signatureTime)+" is now earlier than "+
			now.Add(-maxSkew).Format(signatureTime)+" ("+now.Format(signatureTime)+" - 15 min.)")
	case at.After(now.Add(maxSkew)):
		return fail("InvalidSignatureException", "SignatureDoesNotMatch", "Signature not yet current: "+at.Format(signatureTime)+" is still later than "+
			now.Add(maxSkew).Format(signatureTime)+" ("+now.Format(signatureTime)+" + 15 min.)")
	}
	canonical := canonicalRequest(r, body, s.headers)
	if subtle.ConstantTimeCompare([]byte(s.value), []byte(sign(p.secret, s, at, canonical))) != 1 {
		return fail("InvalidSignatureException", "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "+
			"and signing method. Consult the service documentation for details.\n\nThe Canonical String for this request should have been\n'"+canonical+"'\n")
	}
	return p, nil
}

func canonicalRequest(r *http.Request, body []byte, headers []string) string {
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(r.URL.Query()) + "\n")
	for _, name := range headers {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = r.Header.Get("Content-Length")
			if value == "" {
				value = strconv.Itoa(len(body)) // net/http stores it separately.
			}
		}
		b.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	sum := sha256.Sum256(body)
	b.WriteString("\n" + strings.Join(headers, ";") + "\n" + hex.EncodeToString(sum[:]))
	return b.String()
}

func canonicalQuery(query url.Values) string {
	var pairs []string
	for name, values := range query {
		for _, value := range values {
			pairs = append(pairs, strings.ReplaceAll(url.QueryEscape(name)+"="+url.QueryEscape(value), "+", "%20"))
		}
	}
	sort.Strings(pairs)
	return strings.Join(pairs, "&")
}

func sign(secret string, s signature, at time.Time, canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	scope := strings.Join([]string{s.date, s.region, s.service, "aws4_request"}, "/")
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.date, s.region, s.service, "aws4_request"} {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+at.Format(signatureTime)+"\n"+scope+"\n"+hex.EncodeToString(sum[:])))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
