package validate

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/egress"
)

// A parsed challenge that is written in the strict form parses to the same challenge.
func FuzzChallenge(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull",error="insufficient_scope"`,
		`Basic realm="https://123456789012.dkr.ecr.us-east-1.amazonaws.com/",service="ecr.amazonaws.com"`,
		`BASIC realm="Sonatype Nexus Repository Manager"`, `basic realm=Zot`,
		`Bearer realm=https://gcr.io/v2/token,service=gcr.io`,
		`Basic realm="a", Bearer realm="b",service="c"`, `Negotiate`, `Negotiate, Basic realm="x"`,
		`Bearer realm="a\"b\\c"`, `Bearer realm="a`, `,, Bearer ,realm = "x" , ,y=z`,
		`Bearer realm="https://evil.example/"`, `Digest qop="auth,auth-int", nonce="x"`, "", "=", `"`, `Bearer =x`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		all := parseChallenges(http.Header{"Www-Authenticate": {s}})
		require.LessOrEqual(t, len(all), maxChallenges)
		for _, c := range all {
			require.NotEmpty(t, c.scheme)
			require.LessOrEqual(t, len(c.params), maxChallengeParams)
			strict := c.scheme
			separator := " "
			for name, value := range c.params {
				strict += separator + name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
				separator = ","
			}
			if len(strict) < maxChallengeBytes {
				require.Equal(t, []challenge{c}, parseChallenges(http.Header{"Www-Authenticate": {strict}}))
			}
		}
	})
}

// Every text from an error body is safe for a log.
func FuzzErrorBody(f *testing.F) {
	for _, s := range []string{
		`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":"unknown tag=x"}]}`,
		`{"errors":[{"status":401,"message":"Bad credentials"}]}`,
		`{"details":"incorrect username or password"}`, `{"code":"UNAUTHORIZED","message":"x"}`,
		`{"error":"invalid_grant"}`, `{"errors":null}`, `{"errors":[null]}`, `{"errors":{"code":1}}`,
		"Not Authorized\n", "<html><body>403</body></html>", `<?xml version="1.0"?><Error/>`, "Ref A: 1 Ref B: 2", `[]`,
		`"x"`, `{`, "\x00\xff\u202e", strings.Repeat("x", 300),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a := &response{header: http.Header{}}
		a.readErrorBody(body)
		require.LessOrEqual(t, len(a.ex.Message), maxMessage)
		require.True(t, utf8.ValidString(a.ex.Message))
		require.False(t, strings.ContainsFunc(a.ex.Message, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", a.ex.Message)
		require.LessOrEqual(t, len(a.codes), maxErrors)
		require.LessOrEqual(t, len(a.text), maxErrorText)
		for _, c := range a.codes {
			require.Equal(t, c, cleanCode(c))
		}
	})
}

// A token that is accepted can be sent, and its lifetime is within the limits.
func FuzzToken(f *testing.F) {
	for _, s := range []string{
		`{"token":"a","access_token":"a","expires_in":300,"issued_at":"2026-01-01T00:00:00Z"}`, `{"access_token":"a"}`,
		`{"token":"a","access_token":""}`, `{"token":"","access_token":"a"}`, `{"token":"a","expires_in":-1}`,
		`{"token":"a","expires_in":1e300}`, `{"token":"a","expires_in":"60"}`, `{"token":"a\nb"}`, `{"token":"é"}`,
		`{"token":1}`, `{}`, `null`, `[]`, ``, `<html>`,
	} {
		f.Add([]byte(s))
	}
	asked := time.Now()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, rules := range append([]*runtimeRules{ownRules}, runtimeTable...) {
			value, good, err := rules.readToken(&response{body: body}, false, asked)
			life := good.Sub(asked)
			if err != nil {
				require.True(t, value.IsZero())
				require.Equal(t, failureLife, life)
				continue
			}
			require.False(t, value.IsZero())
			require.False(t, strings.ContainsAny(value.Reveal(), " \r\n\x00"))
			require.True(t, life >= minTokenLife*9/10 && life <= maxTokenLife, "%s", life)
		}
	})
}

// The next page is always a page of the same list, at the same registry.
func FuzzLink(f *testing.F) {
	for _, s := range []string{
		`</v2/a/tags/list?last=x&n=2>; rel="next"`, `<https://a.example.com/v2/a/tags/list?n=1>; rel=next`,
		`<?last=x>; rel="next"`, `<//evil.example/v2/a/tags/list?x>; rel="next"`,
		`<x>; rel="prev", </v2/a/tags/list?y>; rel="next"`,
		`<../../a/tags/list?x>;rel="next"`, `<https://a.example.com@evil.example/v2/a/tags/list?x>; rel="next"`, `<`,
		`<>`, `<>; rel="next"`, ``, `<%zz>; rel="next"`, `<http://a.example.com:1/v2/a/tags/list?q>; REL="NEXT"`,
	} {
		f.Add(s)
	}
	o := &origin{base: &url.URL{Scheme: "https", Host: "a.example.com"}}
	f.Fuzz(func(t *testing.T, s string) {
		next, err := o.nextPage(&response{header: http.Header{"Link": {s}}}, "/v2/a/tags/list?n=1000")
		if err != nil || next == "" {
			return
		}
		require.True(t, strings.HasPrefix(next, "/v2/a/tags/list?"), next)
	})
}

// For any realm, a login goes over https, to the registry's site, and not to a private address.
func FuzzRealm(f *testing.F) {
	for _, s := range []string{
		"https://auth.example.com/token", "http://registry.example.com/token",
		"https://registry.example.com:8443/token", "https://127.0.0.1/", "https://[::ffff:a9fe:a9fe]/",
		"https://2130706433/", "https://evil.example/",
		"https://registry.example.com@evil.example/", "https://registry.example.com\\@evil.example/",
		"https://registry.example.com#@evil.example/", "//x", "", "https://example.com.", "https://ⓔxample.com/",
		"https://[fe80::1%25eth0]/",
	} {
		f.Add(s)
	}
	s := (&Checker{}).session()
	o := &origin{s: s, host: "registry.example.com", base: &url.URL{Scheme: "https", Host: "registry.example.com"}}
	f.Fuzz(func(t *testing.T, realm string) {
		u, _, err := o.checkRealm(realm, true)
		if err != nil {
			return
		}
		require.Equal(t, "https", u.Scheme)
		require.Nil(t, u.User)
		host := strings.ToLower(u.Hostname())
		require.True(t, host == "example.com" || strings.HasSuffix(host, ".example.com"), host)
		require.Equal(t, egress.Public, egress.ZoneOfName(host))
	})
}

// The waits and budgets from headers are zero or within sane limits.
func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"5", "-5", "99999999999999999999", "Wed, 21 Oct 2026 07:28:00 GMT", "100;w=21600", "100", ";w=1", "100;w=-1", "x"} {
		f.Add(s)
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, s string) {
		require.GreaterOrEqual(t, retryAfter(http.Header{"Retry-After": {s}}, now), time.Duration(0))
		l := readRateLimit(http.Header{"Ratelimit-Limit": {s}, "Ratelimit-Remaining": {s}})
		require.True(t, l.Limit >= 0 && l.Remaining >= 0 && l.Window >= 0)
	})
}
