package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/systemregistry/accounts"
)

// An Issuers checks tokens of OpenID Connect issuers. Make it with [NewIssuers]; it is safe for concurrent use. A nil
// Issuers has no issuers.
type Issuers struct{ byURL map[string]*issuer }

// issuer is one OpenID Connect issuer with the verifier of its tokens.
type issuer struct {
	accounts.Issuer
	keys     *remoteKeys
	verifier *oidc.IDTokenVerifier
}

// algorithms are the algorithms with asymmetric keys. They exclude "none", and HMAC, whose key would be public.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// NewIssuers returns the issuers, which must be valid. It sends no request before a token is checked.
func NewIssuers(list []accounts.Issuer) *Issuers {
	all := &Issuers{make(map[string]*issuer, len(list))}
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = string(a)
	}
	for _, one := range list {
		var client http.Client
		if one.Client != nil {
			client = *one.Client
		}
		client.Timeout = min(option.OrDefault(client.Timeout, fetchTimeout), fetchTimeout)
		keys := &remoteKeys{issuer: one.URL, url: one.KeysURL, client: &client, fetching: make(chan struct{}, 1)}
		verifier := oidc.NewVerifier(one.URL, keys, &oidc.Config{ClientID: one.Audience, SupportedSigningAlgs: names})
		all.byURL[one.URL] = &issuer{one, keys, verifier}
	}
	return all
}

// of returns the issuer that the token names. It does not check the token.
func (i *Issuers) of(text string) (*issuer, bool) {
	if i == nil || len(i.byURL) == 0 {
		return nil, false
	}
	_, rest, _ := strings.Cut(text, ".")
	payload, _, _ := strings.Cut(rest, ".")
	data, err := base64.RawURLEncoding.DecodeString(payload)
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err != nil || json.Unmarshal(data, &claims) != nil {
		return nil, false
	}
	found, ok := i.byURL[claims.Issuer]
	return found, ok
}

// maxToken is far above the length of a valid token. Longer tokens are not even parsed.
const maxToken = 64 << 10

// identity returns the identity of the token. If the token is not valid, it fails with an error that wraps
// [accounts.ErrWrongLogin] and contains the reason for the audit log. Other errors mean that the issuer's keys could
// not be fetched.
func (i *issuer) identity(ctx context.Context, text string) (Identity, error) {
	refuse := func(err error) (Identity, error) {
		return Identity{}, fmt.Errorf("%w: token of %s: %w", accounts.ErrWrongLogin, i.URL, err)
	}
	if len(text) > maxToken {
		return refuse(errors.New("it is too long"))
	}
	var unknown error // Error of fetching the keys: the verifier keeps only its text.
	got, err := i.verifier.Verify(context.WithValue(ctx, unknownKey{}, &unknown), text)
	switch {
	case unknown != nil:
		return Identity{}, unknown
	case err != nil:
		return refuse(err)
	case len(got.Audience) != 1:
		return refuse(fmt.Errorf("it is for %q, expected %q alone", got.Audience, i.Audience))
	case got.IssuedAt.After(time.Now().Add(leeway)):
		return refuse(errors.New("it was issued in the future"))
	case !time.Now().Before(got.Expiry):
		return refuse(errors.New("it is expired"))
	}
	account, ok := i.Account(got.Subject)
	if !ok {
		return refuse(fmt.Errorf("no right is given to subject %q", got.Subject))
	}
	return Identity{Account: account, ExpiresAt: got.Expiry, issuer: i.URL, subject: got.Subject}, nil
}

// leeway tolerates differences between the clocks of the issuer and of this machine.
const leeway = time.Minute

// current returns the account of a subject with its current rights.
func (i *Issuers) current(url, subject string) (accounts.Account, bool) {
	if i == nil || i.byURL[url] == nil {
		return accounts.Account{}, false
	}
	return i.byURL[url].Account(subject)
}

const (
	fetchTimeout = 5 * time.Second
	// maxDocument is above the size of every real key set.
	maxDocument = 1 << 20
	// A key that the issuer has withdrawn is valid for keysAge longer, or for keysKept while the issuer does not
	// respond: an issuer that restarts must not stop pulls.
	keysAge  = 5 * time.Minute
	keysKept = 24 * time.Hour
	// fetchEvery limits the requests to the issuer for tokens with unknown keys, which anyone can make.
	fetchEvery = 10 * time.Second
)

// unknownKey is the context key of a pointer to an error. remoteKeys stores in it the error that prevented the check.
type unknownKey struct{}

// remoteKeys fetches and caches an issuer's keys. It implements [oidc.KeySet]. It replaces the implementation of
// go-oidc, which fetches keys for every token with a wrong signature, and never forgets a key that the issuer has
// withdrawn.
type remoteKeys struct {
	issuer, url string
	client      *http.Client
	fetching    chan struct{} // Held during a fetch.

	mu      sync.Mutex
	keys    []jose.JSONWebKey // Not changed in place.
	fetched time.Time         // Time of the last successful fetch.
	tried   time.Time         // Time of the last attempt.
	failure error             // Error of the last attempt.
}

// VerifySignature implements [oidc.KeySet].
func (k *remoteKeys) VerifySignature(ctx context.Context, text string) ([]byte, error) {
	parsed, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil || len(parsed.Signatures) != 1 {
		return nil, errors.New("it cannot be read, or is signed in another way")
	}
	id := parsed.Signatures[0].Header.KeyID
	keys, err := k.find(ctx, id)
	if err != nil {
		if unknown, ok := ctx.Value(unknownKey{}).(*error); ok {
			*unknown = err
		}
		return nil, err
	}
	for _, key := range keys {
		if payload, err := parsed.Verify(key); err == nil {
			return payload, nil
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the issuer has no key %q", id)
	}
	return nil, errors.New("its signature is wrong")
}

// find returns the keys with the key ID. It returns none if the issuer has no such key, and an error if the issuer
// could not be reached.
func (k *remoteKeys) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	keys, wait, err := k.known(id)
	if !wait {
		return keys, err
	}
	select {
	case k.fetching <- struct{}{}:
		defer func() { <-k.fetching }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if keys, wait, err = k.known(id); !wait { // Another goroutine fetched meanwhile.
		return keys, err
	}
	tried := time.Now()
	fetched, failure := k.fetch(context.WithoutCancel(ctx)) // For all waiting callers; limited by the client's timeout.
	k.mu.Lock()
	k.tried, k.failure = tried, failure
	if failure == nil {
		k.keys, k.fetched = fetched, tried
	}
	k.mu.Unlock()
	keys, _, err = k.known(id)
	return keys, err
}

// known returns the keys with the ID, and reports whether they should be fetched first.
func (k *remoteKeys) known(id string) (keys []jose.JSONWebKey, fetch bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	kept := now.Sub(k.fetched) < keysKept
	if kept {
		for _, key := range k.keys {
			if (id == "" || key.KeyID == id) && key.IsPublic() && (key.Use == "" || key.Use == "sig") {
				keys = append(keys, key)
			}
		}
	}
	if (len(keys) == 0 || now.Sub(k.fetched) >= keysAge) && now.Sub(k.tried) >= fetchEvery {
		return nil, true, nil
	}
	if len(keys) == 0 && k.failure != nil {
		return nil, false, k.failure
	}
	return keys, false, nil
}

func (k *remoteKeys) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	url := k.url
	if url == "" {
		provider, err := oidc.NewProvider(oidc.ClientContext(ctx, &http.Client{
			Transport: bounded{k.client.Transport}, CheckRedirect: k.client.CheckRedirect, Timeout: k.client.Timeout,
		}), k.issuer)
		if err != nil {
			return nil, fmt.Errorf("discover issuer %s: %w", k.issuer, err)
		}
		var document struct {
			KeysURL string `json:"jwks_uri"`
		}
		if err := provider.Claims(&document); err != nil || document.KeysURL == "" {
			return nil, fmt.Errorf("discover issuer %s: the document names no keys", k.issuer)
		}
		url = document.KeysURL
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch keys of issuer %s: %w", k.issuer, err)
	}
	response, err := k.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetch keys of issuer %s: %w", k.issuer, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch keys of issuer %s: %s responded %s", k.issuer, url, response.Status)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxDocument)).Decode(&set); err != nil {
		return nil, fmt.Errorf("fetch keys of issuer %s: %s did not respond with a key set", k.issuer, url)
	}
	keys := []jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil { // Keys of unsupported kinds are skipped.
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// bounded is a transport that ends each response after maxDocument, because its callers read the whole response.
type bounded struct{ base http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	base := b.base
	if base == nil {
		base = http.DefaultTransport
	}
	response, err := base.RoundTrip(r)
	if err == nil {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(response.Body, maxDocument), response.Body}
	}
	return response, err
}
