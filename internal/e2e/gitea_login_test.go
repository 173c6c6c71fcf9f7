package e2e

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// enrol switches on two-factor authentication for a user, on the web pages.
func (g *gitea) enrol(t *testing.T, username string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	page := func(path string, form url.Values) string {
		var res *http.Response
		if form == nil {
			res, err = client.Get("http://" + g.host + path)
		} else {
			res, err = client.PostForm("http://"+g.host+path, form)
		}
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode, "%s: %.300s", path, body)
		return string(body)
	}
	const enrol = "/user/settings/security/two_factor/enroll"
	page("/user/login", url.Values{"user_name": {username}, "password": {"right"}})
	secret := regexp.MustCompile(`alt="([A-Z2-7]{32,})"`).FindStringSubmatch(page(enrol, nil))
	require.NotNil(t, secret, "the page has a secret")
	page(enrol, url.Values{"passcode": {passcode(t, secret[1], time.Now())}})
}

// passcode is a one-time password (RFC 6238).
func passcode(t *testing.T, secret string, now time.Time) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	require.NoError(t, err)
	mac := hmac.New(sha1.New, key)
	require.NoError(t, binary.Write(mac, binary.BigEndian, now.Unix()/30))
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[offset:])&0x7fffffff%1_000_000)
}

func plain(username, password string) validate.Candidate {
	c := validate.Candidate{Name: username, Transport: registry.TransportConfig{PlainHTTP: true, Proxy: registry.Direct}}
	if username != "" {
		c.Source = credentials.Static(credentials.Credential{Username: username, Password: credentials.NewSecret(password)})
	}
	return c
}

// giteaAndDialect fills a Gitea and its dialect.
func giteaAndDialect(t *testing.T, g *gitea) (real, fake *side, digest string) {
	t.Helper()
	g.addOwner(t, "team", "ann", "private")
	g.addOwner(t, "public", "ann", "public")
	g.addOwner(t, "other", "bob", "private")
	image, digest := newImage(t)
	fill(t, g.host, image)
	real = &side{host: g.host, tokenPath: "/v2/token"}
	fake = fakeOf(t, &registrytest.Registry{
		Dialect: registrytest.Gitea(),
		Accounts: []registrytest.Account{
			{Username: "ann", Password: credentials.NewSecret("right"), Pull: []string{"team/*", "public/*"}, Push: []string{"team/*", "public/*"}},
			{Username: "bob", Password: credentials.NewSecret("right"), Pull: []string{"other/*"}, Push: []string{"other/*"}},
		},
		Public: []string{"public/*"},
	}, image)
	fake.tokenPath = real.tokenPath
	return real, fake, digest
}

// TestGiteaTwoFactor has a user with two-factor authentication, whose password Gitea rejects as a wrong one, and whose
// access token it accepts.
func TestGiteaTwoFactor(t *testing.T) {
	g := startGitea(t)
	real, fake, digest := giteaAndDialect(t, g)
	token := g.addToken(t, "ann", "read", "read:package")
	g.enrol(t, "ann")

	for _, q := range questions(digest, true) {
		if q.login != "ann" || q.method == http.MethodPost {
			continue
		}
		a := real.ask(t, q)
		q.login = "wrong" // In the dialect, which has no second factor.
		b := fake.ask(t, q)
		matters, _ := differs(a, b)
		require.Empty(t, matters, "%s", q)
	}

	c := &validate.Checker{Deep: true}
	defer c.CloseIdleConnections()
	endpoint, err := registry.ParseEndpoint("http://" + g.host)
	require.NoError(t, err)
	image, err := registry.ParseImage(g.host + "/team/app:1")
	require.NoError(t, err)

	_, err = c.Image(t.Context(), image, plain("ann", "right"))
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	require.Contains(t, registry.HintOf(err), "two-factor")
	_, err = c.Login(t.Context(), endpoint, plain("ann", "right"))
	require.ErrorIs(t, err, registry.ErrUnauthorized)

	result, err := c.Image(t.Context(), image, plain("ann", "right"), plain("ann", token))
	require.NoError(t, err, "the password, then the token")
	require.Len(t, result.Attempts, 2)
	_, err = c.Login(t.Context(), endpoint, plain("ann", token))
	require.NoError(t, err)
}

// TestGiteaSignIn has a Gitea that shows nothing without a login (REQUIRE_SIGNIN_VIEW).
func TestGiteaSignIn(t *testing.T) {
	g := startGitea(t, "[service]\nREQUIRE_SIGNIN_VIEW = true\n")
	real, fake, digest := giteaAndDialect(t, g)
	real.login(t)
	fake.login(t)
	compare(t, real, fake, questions(digest, true), []known{
		{"TOKEN.* as nobody", "the dialect issues anonymous tokens"},
		{"/v2.* as anonymous token", "as above: there is no such token here"},
	})

	c := &validate.Checker{Deep: true}
	defer c.CloseIdleConnections()
	for _, tc := range []struct {
		image     string
		candidate validate.Candidate
		want      registry.Code
	}{
		{"team/app:1", plain("ann", "right"), ""},
		{"public/app:1", plain("ann", "right"), ""},
		{"public/app:1", plain("bob", "right"), ""},
		{"public/app:1", plain("", ""), registry.ErrUnauthorized},
		{"team/app:1", plain("", ""), registry.ErrUnauthorized},
		{"team/app:1", plain("ann", "wrong"), registry.ErrUnauthorized},
		{"other/app:1", plain("ann", "right"), registry.ErrHidden},
		{"team/gone:1", plain("ann", "right"), registry.ErrRepositoryNotFound},
		{"team/app:gone", plain("ann", "right"), registry.ErrImageNotFound},
		{"missing/app:1", plain("ann", "right"), registry.ErrNotFound},
	} {
		image, err := registry.ParseImage(g.host + "/" + tc.image)
		require.NoError(t, err)
		_, err = c.Image(t.Context(), image, tc.candidate)
		require.Equal(t, tc.want, registry.CodeOf(err), "%s as %s: %v", tc.image, tc.candidate.Name, err)
	}
	endpoint, err := registry.ParseEndpoint("http://" + g.host)
	require.NoError(t, err)
	for _, err := range c.Repositories(t.Context(), endpoint, plain("", "")) {
		require.ErrorIs(t, err, registry.ErrUnauthorized)
		require.NotContains(t, registry.HintOf(err), "does not list")
	}
}
