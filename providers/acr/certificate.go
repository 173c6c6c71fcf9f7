package acr

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/regcred/regcred/credentials"
)

// A certificate is a client certificate with its private key, which authenticates an application to Entra ID.
type certificate struct {
	thumbprint [sha256.Size]byte
	key        *rsa.PrivateKey
}

func parseCertificate(pem credentials.Secret) (*certificate, error) {
	text := pem.AppendTo(nil)
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, errors.New("is not a certificate with its private key") // The cause may quote the text.
	}
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("has a key that is not RSA, which Entra requires")
	}
	return &certificate{sha256.Sum256(pair.Certificate[0]), key}, nil
}

// assertion returns a token that authenticates the client and is valid for ten minutes:
// learn.microsoft.com/entra/identity-platform/certificate-credentials.
func (c *certificate) assertion(audience, client string, now time.Time) (string, error) {
	b64 := base64.RawURLEncoding.EncodeToString
	header, _ := json.Marshal(map[string]string{"alg": "PS256", "typ": "JWT", "x5t#S256": b64(c.thumbprint[:])})
	claims, _ := json.Marshal(map[string]any{
		"aud": audience, "iss": client, "sub": client, "jti": rand.Text(),
		"nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	}) // Strings and numbers can always be encoded.
	input := b64(header) + "." + b64(claims)
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPSS(rand.Reader, c.key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	if err != nil {
		return "", errors.New("the key of the certificate cannot sign")
	}
	return input + "." + b64(signature), nil
}
