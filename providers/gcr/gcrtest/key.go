package gcrtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
)

// A key is a key of a service account.
type key struct {
	id, email, pem string
	public         *rsa.PublicKey
}

// keyFile is the JSON of a key that the console offers for download.
type keyFile struct {
	Type           string `json:"type"`
	ProjectID      string `json:"project_id"`
	PrivateKeyID   string `json:"private_key_id"`
	PrivateKey     string `json:"private_key"`
	ClientEmail    string `json:"client_email"`
	ClientID       string `json:"client_id"`
	AuthURI        string `json:"auth_uri"`
	TokenURI       string `json:"token_uri"`
	AuthCertURL    string `json:"auth_provider_x509_cert_url"`
	ClientCertURL  string `json:"client_x509_cert_url"`
	UniverseDomain string `json:"universe_domain"`
}

// NewKey creates a key of a service account, and returns the JSON that the console would offer for download. It panics
// if the account does not exist.
func (g *Google) NewKey(email string) credentials.Secret {
	if _, ok := g.account(email); !ok {
		panic("gcrtest: no service account " + email)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // Neither an invalid size nor a lack of randomness happens.
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	var id [20]byte
	_, _ = rand.Read(id[:])
	k := &key{
		id: hex.EncodeToString(id[:]), email: email, public: &private.PublicKey,
		pem: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
	g.locked(func() { g.keys[k.id] = k })
	_, project, _ := strings.Cut(email, "@")
	project, _, _ = strings.Cut(project, ".")
	text, _ := json.MarshalIndent(keyFile{
		Type: "service_account", ProjectID: project, PrivateKeyID: k.id, PrivateKey: k.pem, ClientEmail: email, ClientID: "117000000000000000000",
		AuthURI: "https://accounts.google.com/o/oauth2/auth", TokenURI: tokenURL, AuthCertURL: "https://www.googleapis.com/oauth2/v1/certs",
		ClientCertURL: "https://www.googleapis.com/robot/v1/metadata/x509/" + email, UniverseDomain: "googleapis.com",
	}, "", "  ") // Text is always JSON.
	return credentials.NewSecret(string(text) + "\n")
}

// DisableKey disables or deletes a key from NewKey: Google's response is the same in both cases.
func (g *Google) DisableKey(file credentials.Secret) {
	var f keyFile
	_ = json.Unmarshal([]byte(file.Reveal()), &f) // An invalid file has no ID.
	g.locked(func() { g.disabled[f.PrivateKeyID] = true })
}

// DisableAccount disables a service account, and all its keys and tokens with it.
func (g *Google) DisableAccount(email string) {
	g.locked(func() { g.disabled[email] = true })
}

// DeleteAccount deletes a service account.
func (g *Google) DeleteAccount(email string) {
	g.locked(func() { g.deleted[email] = true })
}

// account returns a service account that was not deleted.
func (g *Google) account(email string) (Account, bool) {
	gone := false
	g.locked(func() { gone = g.deleted[email] })
	for _, a := range g.Accounts {
		if a.Email == email && !gone {
			return a, true
		}
	}
	return Account{}, false
}

func (g *Google) isDisabled(name string) (disabled bool) {
	g.locked(func() { disabled = g.disabled[name] })
	return disabled
}

const (
	tokenURL = "https://" + tokenHost + "/token"
	grantJWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"

	// maxAssertion is the longest lifetime of an assertion, and leeway the accepted difference between clocks.
	maxAssertion = time.Hour
	leeway       = 5 * time.Minute
)

// verify verifies an assertion and returns the service account and the scope:
// https://developers.google.com/identity/protocols/oauth2/service-account#httprest.
func (g *Google) verify(assertion string) (email, scope string, failed *failure) {
	bad := func(message string) (string, string, *failure) {
		return email, "", oauthFailure(http.StatusBadRequest, "invalid_grant", message)
	}
	var header struct{ Alg, Typ, Kid string }
	var claims struct {
		Iss, Scope, Aud string
		Iat, Exp        int64
	}
	part := strings.Split(assertion, ".")
	if len(part) != 3 || decodePart(part[0], &header) != nil || decodePart(part[1], &claims) != nil {
		return bad("Bad Request")
	}
	email = claims.Iss
	if _, ok := g.account(email); !ok {
		return bad("Invalid grant: account not found")
	}
	var k *key
	disabled := false
	g.locked(func() { k, disabled = g.keys[header.Kid], g.disabled[header.Kid] })
	signature, err := base64.RawURLEncoding.DecodeString(part[2])
	sum := sha256.Sum256([]byte(part[0] + "." + part[1]))
	if header.Alg != "RS256" || err != nil || k == nil || disabled || k.email != email ||
		rsa.VerifyPKCS1v15(k.public, crypto.SHA256, sum[:], signature) != nil {
		return bad("Invalid JWT Signature.")
	}
	now, issued, ends := g.now(), time.Unix(claims.Iat, 0), time.Unix(claims.Exp, 0)
	switch {
	case issued.After(now.Add(leeway)) || ends.Before(now.Add(-leeway)) || ends.Sub(issued) > maxAssertion:
		return bad("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.")
	case claims.Aud != tokenURL:
		return bad("Invalid JWT: Failed audience check. The right audience is " + tokenURL)
	case g.isDisabled(email):
		return bad("Invalid grant: account is disabled")
	case claims.Scope == "":
		return email, "", oauthFailure(http.StatusBadRequest, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
	}
	return email, claims.Scope, nil
}

func decodePart(text string, into any) error {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
