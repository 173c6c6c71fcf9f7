// Package oauth2source converts between token sources of golang.org/x/oauth2 and credential sources.
//
// [Source] returns access tokens as passwords; [TokenSource] returns passwords as access tokens. The package requests
// no tokens itself, and does not cache: put a [credentials.Cache] around a Source.
package oauth2source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/panics"
)

// A Source is a credential source that returns the access tokens of a token source as passwords. It is safe for
// concurrent use if its token source is.
type Source struct {
	// Tokens issues the tokens. Required.
	Tokens oauth2.TokenSource
	// Username is the user name that the registry expects with a token: "oauth2accesstoken" for Google. Required.
	Username string
}

// Credential returns a token of the token source, with its expiry. Token sources accept no context: if ctx ends,
// Credential returns its cause, and the call continues in the background. A panic of the token source is an error.
func (s Source) Credential(ctx context.Context) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, context.Cause(ctx)
	}
	var token *oauth2.Token
	select {
	case r := <-panics.Go("oauth2source.Source.Tokens", func() (*oauth2.Token, error) { return s.Tokens.Token() }):
		if r.Err != nil {
			return credentials.Credential{}, fmt.Errorf("oauth2 token: %w", cleanError(r.Err))
		}
		token = r.Value
	case <-ctx.Done():
		return credentials.Credential{}, context.Cause(ctx)
	}
	if token == nil {
		return credentials.Credential{}, fmt.Errorf("oauth2 token: %w", credentials.ErrEmpty)
	}
	c := credentials.Credential{
		Username: s.Username, Password: credentials.NewSecret(token.AccessToken), ExpiresAt: token.Expiry,
	}
	if err := c.Validate(time.Now()); err != nil {
		return credentials.Credential{}, fmt.Errorf("oauth2 token: %w", err)
	}
	return c, nil
}

// cleanError removes the body of the response, which oauth2 includes in the text of its error.
func cleanError(err error) error {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return err
	}
	return &refusedError{answer}
}

type refusedError struct{ cause *oauth2.RetrieveError }

// Error returns the issuer's status and error code, without the body.
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

// TokenSource returns a token source that returns the passwords of src as access tokens. All calls of src use ctx,
// because a token source accepts no context. An anonymous credential is an error.
func TokenSource(ctx context.Context, src credentials.Source) oauth2.TokenSource {
	return tokens{ctx, src}
}

type tokens struct {
	ctx context.Context
	src credentials.Source
}

// Token calls the source.
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
