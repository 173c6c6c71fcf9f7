// Package oauth2source makes token sources of golang.org/x/oauth2 into sources of credentials, and the other way round.
//
// [Source] hands out access tokens as passwords; [TokenSource] hands out passwords as access tokens. The package gets
// no tokens itself, and does not cache: put a [credentials.Cache] around a Source.
package oauth2source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"

	"github.com/regcred/regcred/credentials"
)

// A Source hands out the access tokens of a token source as passwords. It is safe for concurrent use if its token
// source is.
type Source struct {
	// Tokens is who issues the tokens. It has to be set.
	Tokens oauth2.TokenSource
	// Username is what the registry wants beside the token: "oauth2accesstoken" for Google. It has to be set.
	Username string
}

// Credential returns a token of the token source, with its expiry. A token source cannot be told that ctx ends; it then
// goes on beside the caller, who gets the cause.
func (s Source) Credential(ctx context.Context) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, context.Cause(ctx)
	}
	type answer struct {
		token *oauth2.Token
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		token, err := s.Tokens.Token()
		answers <- answer{token, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		return credentials.Credential{}, context.Cause(ctx)
	}
	if a.err != nil {
		return credentials.Credential{}, fmt.Errorf("oauth2 token: %w", cleanError(a.err))
	}
	if a.token == nil {
		return credentials.Credential{}, fmt.Errorf("oauth2 token: %w", credentials.ErrEmpty)
	}
	c := credentials.Credential{
		Username: s.Username, Password: credentials.NewSecret(a.token.AccessToken), ExpiresAt: a.token.Expiry,
	}
	if err := c.Validate(time.Now()); err != nil {
		return credentials.Credential{}, fmt.Errorf("oauth2 token: %w", err)
	}
	return c, nil
}

// cleanError leaves out the body of the answer, which oauth2 puts into the text of its error.
func cleanError(err error) error {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return err
	}
	return &refusedError{answer}
}

type refusedError struct{ cause *oauth2.RetrieveError }

// Error says what the issuer answered, without the body.
func (e *refusedError) Error() string {
	text := "refused"
	if e.cause.Response != nil {
		text = e.cause.Response.Status
	}
	if e.cause.ErrorCode != "" {
		text += " " + e.cause.ErrorCode
	}
	return text
}

// TokenSource returns a token source that hands out the passwords of src as access tokens. As it cannot take a context,
// ctx is that of all its calls. An anonymous credential is an error.
func TokenSource(ctx context.Context, src credentials.Source) oauth2.TokenSource {
	return tokens{ctx, src}
}

type tokens struct {
	ctx context.Context
	src credentials.Source
}

// Token asks the source.
func (t tokens) Token() (*oauth2.Token, error) {
	c, err := t.src.Credential(t.ctx)
	if err != nil {
		return nil, err
	}
	if c.Anonymous {
		return nil, fmt.Errorf("an anonymous credential is no token: %w", credentials.ErrEmpty)
	}
	return &oauth2.Token{AccessToken: c.Password.Reveal(), TokenType: "Bearer", Expiry: c.ExpiresAt}, nil
}
