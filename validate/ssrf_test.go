package validate_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// A hostile is a hostile registry at registry.example.com, and all other hosts. It records the hosts that receive
// requests, and the credentials in them.
type hostile struct {
	realm    string // Of its challenge.
	redirect string // Its redirect of requests for a manifest.
	token    string // Its token server's redirect of requests for a token.

	asked []string // Hosts.
	auth  []string // Their Authorization headers.
}

func (h *hostile) RoundTrip(req *http.Request) (*http.Response, error) {
	h.asked = append(h.asked, req.URL.Scheme+"://"+req.URL.Host)
	h.auth = append(h.auth, req.Header.Get("Authorization"))
	body := io.NopCloser(strings.NewReader(`{"token":"t0ken","access_token":"t0ken"}`))
	res := &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: req}
	switch own := req.URL.Hostname() == "registry.example.com"; {
	case strings.HasSuffix(req.URL.Path, "/token") && h.token != "":
		res.StatusCode = http.StatusTemporaryRedirect
		res.Header.Set("Location", h.token)
	case own && strings.Contains(req.URL.Path, "/v2/") && req.Header.Get("Authorization") == "":
		res.StatusCode = http.StatusUnauthorized
		res.Header.Set("WWW-Authenticate", `Bearer realm="`+h.realm+`",service="registry.example.com"`)
	case own && strings.Contains(req.URL.Path, "/manifests/") && h.redirect != "":
		res.StatusCode = http.StatusTemporaryRedirect
		res.Header.Set("Location", h.redirect)
	case strings.Contains(req.URL.Path, "/manifests/") || !own:
		res.Header.Set("Content-Type", manifestType)
		res.Header.Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
	}
	return res, nil
}

// others returns the hosts that received requests in addition to the registry.
func (h *hostile) others() []string {
	return slices.DeleteFunc(slices.Clone(h.asked), func(s string) bool { return s == "https://registry.example.com" })
}

func (h *hostile) check(t *testing.T, c *validate.Checker, login bool) error {
	c.RoundTripper = h
	candidate := validate.Candidate{Name: "ann"}
	if login {
		candidate.Source = source("ann", "right")
	}
	_, err := c.Image(t.Context(), image(t, "registry.example.com/team/app:1"), candidate)
	if err != nil {
		require.NotContains(t, err.Error(), "t0ken")
	}
	return err
}

// private are places that only the machine of the check can reach, in spellings that attackers have used.
var private = []string{
	"127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST", "localhost.", "app.localhost", "[::1]", "[::ffff:127.0.0.1]",
	"[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]",
	"0.0.0.0", "0", "[::]", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.1.",
	"169.254.169.254", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]",
	"2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "169.16689662",
	"metadata.google.internal", "metadata.google.internal.", "METADATA.google.internal", "metadata", "instance-data",
	"[fd00:ec2::254]", "[fd20:ce::254]", "[fd00:c1::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]", "[::ffff:0:169.254.169.254]",
	"[::ffff:0:a9fe:a9fe]", "[2001:0:a9fe:a9fe::1]", "192.0.0.192", "198.18.0.1", "100.100.100.200", "168.63.129.16", "[fe80::1]", "[fe80::1%25eth0]",
	"10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[fc00::1]", "[fd12:3456::1]", "[fec0::1]", "224.0.0.1",
	"255.255.255.255", "240.0.0.1", "[ff02::1]",
}

// No token is requested, with or without a login, from a place that the registry may not name.
func TestRealmRefused(t *testing.T) {
	realms := []string{
		"http://auth.example.com/token", "http://auth.example.com:443/token", "ftp://registry.example.com/token",
		"file:///etc/passwd", "gopher://registry.example.com/", "javascript:alert(1)",
		"/token", "//registry.example.com/token", "https:registry.example.com", "https:///token",
		"https://ann:x@registry.example.com/token", "https://registry.example.com@evil.org/token",
		"https://%31%32%37.0.0.1/token", "https://registry.example.com\\@127.0.0.1/token", "https://[::1",
		"unix:///var/run/docker.sock",
	}
	for _, host := range private {
		realms = append(realms, "https://"+host+"/token", "https://"+host+":8443/token")
	}
	for _, realm := range realms {
		for _, login := range []bool{true, false} {
			h := &hostile{realm: realm}
			err := h.check(t, &validate.Checker{}, login)
			require.True(t, errors.Is(err, registry.ErrInsecure) || errors.Is(err, registry.ErrChallenge), "%s: %v", realm, err)
			require.Empty(t, h.others(), realm)
		}
	}
}

// A login is sent to another site only if the program names it. A request without a login may be sent there, because
// the server is on the internet.
func TestRealmElsewhere(t *testing.T) {
	for _, realm := range []string{
		"https://evil.org/token", "https://registry.example.com.evil.org/token", "https://notexample.com/token",
		"https://example.org/token", "https://com/token", "https://evilregistry.example.com.co/token",
	} {
		h := &hostile{realm: realm}
		require.ErrorIs(t, h.check(t, &validate.Checker{}, true), registry.ErrInsecure, realm)
		require.Empty(t, h.others(), realm)

		h = &hostile{realm: realm}
		require.NoError(t, h.check(t, &validate.Checker{}, false), realm)
		require.NotEmpty(t, h.others(), realm)
	}
	for realm, c := range map[string]*validate.Checker{
		"https://registry.example.com/token":      {},
		"https://REGISTRY.example.com/token":      {},
		"https://registry.example.com:8443/token": {},
		"https://auth.example.com/token":          {},
		"https://example.com/token":               {},
		"https://login.evil.org/token":            {Realms: []string{"login.evil.org"}},
		"https://a.login.evil.org/token":          {Realms: []string{"*.login.evil.org"}},
		"https://10.0.0.1/token":                  {Realms: []string{"10.0.0.1"}},
	} {
		h := &hostile{realm: realm}
		require.NoError(t, h.check(t, c, true), realm)
	}
}

// A realm with http at the registry's own host, as behind a proxy that terminates TLS, is requested over https.
func TestRealmUpgraded(t *testing.T) {
	h := &hostile{realm: "http://registry.example.com/token"}
	c := &validate.Checker{RoundTripper: h}
	got, err := c.Image(t.Context(), image(t, "registry.example.com/team/app:1"), as("ann", "right"))
	require.NoError(t, err)
	require.Empty(t, h.others(), "something was sent in the clear")
	require.Len(t, got.Warnings, 1)
}

// A redirect to such places is not followed either, and the login is sent to no other host.
func TestRedirect(t *testing.T) {
	refused := []string{
		"http://registry.example.com/v2/", "http://cdn.example.org/x", "ftp://cdn.example.org/x",
		"https://ann:x@cdn.example.org/",
	}
	for _, host := range private {
		refused = append(refused, "https://"+host+"/x")
	}
	for _, to := range refused {
		h := &hostile{realm: "https://registry.example.com/token", redirect: to}
		require.ErrorIs(t, h.check(t, &validate.Checker{}, true), registry.ErrInsecure, to)
		require.Empty(t, h.others(), to)

		h = &hostile{realm: "https://registry.example.com/token", token: to}
		require.ErrorIs(t, h.check(t, &validate.Checker{}, true), registry.ErrInsecure, to)
		require.Empty(t, h.others(), to)
	}

	h := &hostile{realm: "https://registry.example.com/token", redirect: "https://cdn.example.org/x?signature=s3cret"}
	require.NoError(t, h.check(t, &validate.Checker{}, true))
	at := slices.Index(h.asked, "https://cdn.example.org")
	require.NotEqual(t, -1, at)
	require.Empty(t, h.auth[at], "the login went along")

	// The redirect would send the password, too.
	h = &hostile{realm: "https://registry.example.com/token", token: "https://auth.example.com/token2"}
	require.ErrorIs(t, h.check(t, &validate.Checker{}, true), registry.ErrInsecure)
	require.Empty(t, h.others())
}
