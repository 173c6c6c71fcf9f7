package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
)

// Kind is the kind of the profiles that the token service of the company serves.
const Kind registry.Kind = "acme"

// A Provider requests the credential of a registry from the token service of the company:
//
//	POST URL {"team": "shop", "registry": "registry.example.com"}
//	Authorization: Bearer KEY
//
// It is safe for concurrent use, and must not be copied after its first use.
type Provider struct {
	// URL is the URL of the service. The program sets it, and not the profile, because a user who fills in profiles must
	// not choose who gets the keys.
	URL string

	transports registry.Transports // One connection pool for each CA bundle and proxy.
}

// Credential requests a credential. It does not cache, because the cache of the Pipeline does.
func (p *Provider) Credential(ctx context.Context, profile registry.Profile) (credentials.Credential, error) {
	if err := p.Validate(profile); err != nil {
		return credentials.Credential{}, fail(profile, registry.ErrInvalid, err)
	}
	endpoint, err := profile.MainEndpoint()
	if err != nil {
		return credentials.Credential{}, fail(profile, registry.ErrInvalid, err)
	}
	body, err := json.Marshal(map[string]string{"team": profile.Login.Settings["team"], "registry": endpoint.Host})
	if err != nil {
		return credentials.Credential{}, fail(profile, registry.ErrInvalid, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, bytes.NewReader(body))
	if err != nil {
		return credentials.Credential{}, fail(profile, registry.ErrInvalid, err)
	}
	request.Header.Set("Authorization", "Bearer "+profile.Login.Fields["key"].Reveal())

	transport, err := p.transports.For(profile.Transport)
	if err != nil {
		return credentials.Credential{}, fail(profile, registry.ErrInvalid, err)
	}
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // The key is for one host.
	}
	response, err := client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return credentials.Credential{}, fail(profile, registry.ErrCanceled, context.Cause(ctx))
		}
		return credentials.Credential{}, fail(profile, registry.NetworkCode(err), err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return credentials.Credential{}, refused(profile, response)
	}
	return read(ctx, profile, response.Body)
}

// maxAnswer is far more than a token has.
const maxAnswer = 64 << 10

func read(ctx context.Context, profile registry.Profile, body io.Reader) (credentials.Credential, error) {
	var answer struct {
		Username  string             `json:"username"`
		Token     credentials.Secret `json:"token"`
		ExpiresAt time.Time          `json:"expiresAt"`
	}
	issued := time.Now()
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&answer); err != nil {
		if ctx.Err() != nil {
			return credentials.Credential{}, fail(profile, registry.ErrCanceled, context.Cause(ctx))
		}
		// The cause may quote the body.
		return credentials.Credential{}, fail(profile, registry.ErrUnavailable, errors.New("the token service returned an invalid response"))
	}
	// ExpiresAt is the issuer's own instant: the cache decides when to renew.
	c := credentials.Credential{Username: answer.Username, Password: answer.Token, IssuedAt: issued, ExpiresAt: answer.ExpiresAt}
	if err := c.Validate(issued); err != nil {
		return credentials.Credential{}, fail(profile, registry.ErrUnavailable, err)
	}
	return c, nil
}

// refused maps the status of an answer to a code. The cache and the Pipeline act on the code: they retry what is
// temporary, wait as long as Wait says, and report a rejected login to the user of the form.
func refused(profile registry.Profile, response *http.Response) error {
	code := registry.ErrUnavailable
	switch response.StatusCode {
	case http.StatusUnauthorized:
		code = registry.ErrUnauthorized
	case http.StatusForbidden, http.StatusNotFound:
		code = registry.ErrDenied
	case http.StatusTooManyRequests:
		code = registry.ErrRateLimited
	}
	e := fail(profile, code, fmt.Errorf("POST %s: %s", response.Request.URL.Redacted(), response.Status))
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.Wait = time.Duration(min(seconds, 3600)) * time.Second
	}
	switch code {
	case registry.ErrUnauthorized:
		e.Hint = "make a new key in the developer portal, under Registry keys"
	case registry.ErrDenied:
		e.Hint = "ask the owner of the team " + profile.Login.Settings["team"] + " for access to " + profile.Endpoint
	}
	return e
}

func fail(profile registry.Profile, code registry.Code, err error) *registry.Error {
	return &registry.Error{Op: "get credential", Ref: fmt.Sprintf("for profile %q", profile.Name), Code: code, Err: err}
}

// Validate reports what only this provider knows about its profiles, with every problem at its field, for a form.
func (p *Provider) Validate(profile registry.Profile) error {
	var problems field.List
	if profile.Login.Fields["key"].IsZero() {
		problems.Add("login.fields.key", "is missing", "a key of the developer portal")
	}
	for name := range profile.Login.Fields {
		if name != "key" {
			problems.Add("login.fields."+name, "is not a field of kind acme", "key")
		}
	}
	if profile.Login.Settings["team"] == "" {
		problems.Add("login.settings.team", "is missing", "the name of the team")
	}
	return problems.Err(fmt.Sprintf("profile %q", profile.Name))
}
