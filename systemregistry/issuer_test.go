package systemregistry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/accounts"
)

// A token of an issuer pulls what its subject may pull. It cannot change accounts, and cannot start a session.
func TestIssuer(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1"}}})
	}))
	t.Cleanup(issuer.Close)
	r := start(t, systemregistry.Server{Issuers: []accounts.Issuer{{
		URL: issuer.URL, KeysURL: issuer.URL + "/keys", Audience: "https://registry.example.com",
		Subjects: []accounts.Subject{{Pattern: "system:serviceaccount:{tenant}:puller", Rules: []accounts.Rule{rule("**", "pull")}}},
	}}})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	require.NoError(t, err)
	of := func(subject string, life time.Duration) credentials.Secret {
		text, err := jwt.Signed(signer).Claims(jwt.Claims{
			Issuer: issuer.URL, Audience: jwt.Audience{"https://registry.example.com"}, Subject: subject,
			IssuedAt: jwt.NewNumericDate(time.Now()), Expiry: jwt.NewNumericDate(time.Now().Add(life)),
		}).Serialize()
		require.NoError(t, err)
		return credentials.NewSecret(text)
	}
	good := of("system:serviceaccount:team:puller", time.Hour)
	require.Equal(t, http.StatusOK, r.pull(t, "token", good, "team/app", "1"))
	require.Equal(t, http.StatusUnauthorized, r.pull(t, "token", of("system:serviceaccount:other:puller", time.Hour), "team/app", "1"))
	_, err = r.tryToken(t, "token", of("system:serviceaccount:team:default", time.Hour), "repository:team/app:pull")
	require.ErrorContains(t, err, "401")
	_, err = r.tryToken(t, "token", of("system:serviceaccount:team:puller", -time.Second), "repository:team/app:pull")
	require.ErrorContains(t, err, "401")

	for _, e := range r.Events() {
		if e.Err != nil {
			require.Contains(t, e.Err.Error(), issuer.URL, "the audit log does not say why")
		}
	}
	for path, body := range map[string]string{
		"/api/v1/logins":   `{"repositories":["team/**"],"actions":["pull"]}`,
		"/api/v1/accounts": `{"name":"eve","password":"password of eve"}`,
	} {
		resp, _ := r.do(t, "POST", path, body, basic("token", good), asJSON)
		require.Equal(t, http.StatusForbidden, resp.StatusCode, path)
	}
	resp, _ := r.do(t, "POST", "/api/v1/session", `{"username":"token","password":"`+good.Reveal()+`"}`, asJSON)
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	resp, body := r.do(t, "GET", "/api/v1/images?repository=team/app", "", basic("token", good))
	require.Equal(t, http.StatusOK, resp.StatusCode, body)
}

func TestIssuersThatAreRefused(t *testing.T) {
	good := accounts.Issuer{URL: "https://issuer.example.com", Audience: "a"}
	for want, issuers := range map[string][]accounts.Issuer{
		"no audience": {{URL: "https://issuer.example.com"}},
		"there twice": {good, good},
	} {
		_, err := systemregistry.Server{Issuers: issuers}.Open(t.Context())
		require.ErrorContains(t, err, want)
	}
}

// The old secret of a robot pulls until the time that its admin chose.
func TestTwoSecrets(t *testing.T) {
	r := start(t, systemregistry.Server{})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	robot, old := r.robot(t, "team", "ci", rule("team/**", "pull"))
	token := r.token(t, robot, old, "repository:team/app:pull")
	rotate := func(body string) credentials.Secret {
		resp, answer := r.do(t, "POST", "/api/v1/accounts/secret?name=team%2Bci", body, basic("root", password("root")), asJSON)
		require.Equal(t, http.StatusCreated, resp.StatusCode, answer)
		var got struct {
			Secret          string
			OldSecretEndsAt time.Time
		}
		require.NoError(t, json.Unmarshal([]byte(answer), &got))
		require.Equal(t, body != "{}", !got.OldSecretEndsAt.IsZero())
		return credentials.NewSecret(got.Secret)
	}
	status := func() int {
		resp, _ := r.do(t, "GET", "/v2/team/app/manifests/1", "", bearer(token), header("Accept", ociManifest))
		return resp.StatusCode
	}
	second := rotate(`{"oldEndsAt":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"}`)
	require.Equal(t, http.StatusOK, r.pull(t, robot, old, "team/app", "1"))
	require.Equal(t, http.StatusOK, r.pull(t, robot, second, "team/app", "1"))
	require.Equal(t, http.StatusOK, status(), "a token of the old secret")
	rotate(`{}`)
	for _, secret := range []credentials.Secret{old, second} {
		_, err := r.tryToken(t, robot, secret, "repository:team/app:pull")
		require.ErrorContains(t, err, "401")
	}
	require.Equal(t, http.StatusUnauthorized, status())
}
