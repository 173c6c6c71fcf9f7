package gcrtest_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/gcr/gcrtest"
	"github.com/regcred/regcred/registry/registrytest"
)

const (
	puller = "puller@project.iam.gserviceaccount.com"
	other  = "other@project.iam.gserviceaccount.com"
	host   = "us-docker.pkg.dev"
	scope  = "https://www.googleapis.com/auth/cloud-platform"
)

func newGoogle() *gcrtest.Google {
	return &gcrtest.Google{Accounts: []gcrtest.Account{{Email: puller, Pull: []string{host + "/project/*"}}, {Email: other}}}
}

type keyFile struct {
	ID  string `json:"private_key_id"`
	PEM string `json:"private_key"`
}

// exchange signs claims with a key, after the change, and exchanges them for a token.
func exchange(t *testing.T, cloud *gcrtest.Google, key credentials.Secret, change func(header, claims map[string]any)) *httptest.ResponseRecorder {
	t.Helper()
	var file keyFile
	require.NoError(t, json.Unmarshal([]byte(key.Reveal()), &file))
	block, _ := pem.Decode([]byte(file.PEM))
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	header := map[string]any{"alg": "RS256", "typ": "JWT", "kid": file.ID}
	claims := map[string]any{
		"iss": puller, "scope": scope, "aud": "https://oauth2.googleapis.com/token", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	change(header, claims)
	text := part(t, header) + "." + part(t, claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, private.(*rsa.PrivateKey), crypto.SHA256, sum[:])
	require.NoError(t, err)
	return post(cloud, "https://oauth2.googleapis.com/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {text + "." + base64.RawURLEncoding.EncodeToString(signature)},
	})
}

func part(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(b)
}

func post(cloud *gcrtest.Google, address string, form url.Values) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	cloud.ServeHTTP(w, req)
	return w
}

func set(name string, value any) func(header, claims map[string]any) {
	return func(_, claims map[string]any) { claims[name] = value }
}

// An assertion is valid for one service account, one issuer, and a short time.
func TestAssertions(t *testing.T) {
	cloud := newGoogle()
	key, othersKey := cloud.NewKey(puller), cloud.NewKey(other)
	same := func(_, _ map[string]any) {}
	for name, test := range map[string]struct {
		key    credentials.Secret
		change func(header, claims map[string]any)
		want   string
	}{
		"good":               {key, same, ""},
		"another's key":      {othersKey, same, "Invalid JWT Signature."},
		"another's key ID":   {othersKey, func(h, _ map[string]any) { maps.Copy(h, map[string]any{"kid": idOf(t, key)}) }, "Invalid JWT Signature."},
		"unknown key ID":     {key, func(h, _ map[string]any) { h["kid"] = "0" }, "Invalid JWT Signature."},
		"no algorithm":       {key, func(h, _ map[string]any) { h["alg"] = "none" }, "Invalid JWT Signature."},
		"symmetric":          {key, func(h, _ map[string]any) { h["alg"] = "HS256" }, "Invalid JWT Signature."},
		"unknown account":    {key, set("iss", "nobody@project.iam.gserviceaccount.com"), "Invalid grant: account not found"},
		"another audience":   {key, set("aud", "https://evil.example/token"), "Failed audience check"},
		"from the future":    {key, set("iat", time.Now().Add(10*time.Minute).Unix()), "Check your iat and exp"},
		"over":               {key, set("exp", time.Now().Add(-10*time.Minute).Unix()), "Check your iat and exp"},
		"good for too long":  {key, set("exp", time.Now().Add(2*time.Hour).Unix()), "Check your iat and exp"},
		"good for no time":   {key, set("exp", 0), "Check your iat and exp"},
		"without a scope":    {key, set("scope", ""), "Invalid OAuth scope"},
		"claims that are no": {key, set("iat", "now"), "Bad Request"},
	} {
		t.Run(name, func(t *testing.T) {
			w := exchange(t, cloud, test.key, test.change)
			var answer struct {
				Description string `json:"error_description"`
				Token       string `json:"access_token"`
			}
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
			require.Contains(t, answer.Description, test.want)
			require.Equal(t, test.want == "", answer.Token != "")
		})
	}
}

func idOf(t *testing.T, key credentials.Secret) string {
	t.Helper()
	var file keyFile
	require.NoError(t, json.Unmarshal([]byte(key.Reveal()), &file))
	return file.ID
}

// login requests a pull token from the registry's token endpoint.
func login(cloud *gcrtest.Google, username, password string) int {
	req := httptest.NewRequest(http.MethodGet, "https://"+host+"/v2/token?service="+host+"&scope=repository:project/repository/app:pull", nil)
	req.SetBasicAuth(username, password)
	w := httptest.NewRecorder()
	cloud.ServeHTTP(w, req)
	return w.Code
}

// The registries accept issued credentials until their expiry.
func TestLogins(t *testing.T) {
	cloud := newGoogle()
	_, err := cloud.Registry(host).Add("project/repository/app:1", registrytest.Image{})
	require.NoError(t, err)
	key := cloud.NewKey(puller)
	othersKey := cloud.NewKey(other)
	synctest.Test(t, func(t *testing.T) {
		var answer struct {
			Token string `json:"access_token"`
			Left  int    `json:"expires_in"`
		}
		require.NoError(t, json.Unmarshal(exchange(t, cloud, key, func(_, _ map[string]any) {}).Body.Bytes(), &answer))
		require.Equal(t, 3600, answer.Left)
		mail := exchange(t, cloud, key, set("scope", "https://mail.google.com/"))
		var narrow struct {
			Token string `json:"access_token"`
		}
		require.NoError(t, json.Unmarshal(mail.Body.Bytes(), &narrow))

		require.Equal(t, http.StatusOK, login(cloud, "_json_key", key.Reveal()))
		require.Equal(t, http.StatusOK, login(cloud, "_json_key_base64", base64.StdEncoding.EncodeToString([]byte(key.Reveal()))))
		require.Equal(t, http.StatusOK, login(cloud, "oauth2accesstoken", answer.Token))
		require.Equal(t, http.StatusForbidden, login(cloud, "_json_key", othersKey.Reveal()), "it has no right to the repository")
		require.Equal(t, http.StatusUnauthorized, login(cloud, "_json_key", strings.Replace(othersKey.Reveal(), other, puller, 1)))
		require.Equal(t, http.StatusUnauthorized, login(cloud, "_json_key", strings.Replace(key.Reveal(), "BEGIN PRIVATE", "BEGIN RSA", 1)))
		require.Equal(t, http.StatusUnauthorized, login(cloud, "AWS", answer.Token))
		require.Equal(t, http.StatusUnauthorized, login(cloud, "oauth2accesstoken", narrow.Token), "its scope is for something else")

		time.Sleep(time.Hour)
		require.Equal(t, http.StatusUnauthorized, login(cloud, "oauth2accesstoken", answer.Token))
		require.Equal(t, http.StatusOK, login(cloud, "_json_key", key.Reveal()))
		cloud.DisableKey(key)
		require.Equal(t, http.StatusUnauthorized, login(cloud, "_json_key", key.Reveal()))
	})
}
