package oauth2source_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialstest"
	"github.com/regcred/regcred/credentials/oauth2source"
)

type tokenFunc func() (*oauth2.Token, error)

func (f tokenFunc) Token() (*oauth2.Token, error) { return f() }

func TestSourceKeepsTheRules(t *testing.T) {
	credentialstest.TestSource(t, oauth2source.Source{Username: "oauth2accesstoken", Tokens: tokenFunc(func() (*oauth2.Token, error) {
		time.Sleep(time.Millisecond)
		return &oauth2.Token{AccessToken: "ya29", Expiry: time.Now().Add(time.Hour)}, nil
	})})
}

func TestSourceRefuses(t *testing.T) {
	broken := errors.New("no network")
	tests := map[string]struct {
		token *oauth2.Token
		err   error
		want  error
	}{
		"an error":       {nil, broken, broken},
		"no token":       {nil, nil, credentials.ErrEmpty},
		"an empty one":   {&oauth2.Token{}, nil, credentials.ErrEmpty},
		"an expired one": {&oauth2.Token{AccessToken: "x", Expiry: time.Unix(1, 0)}, nil, credentials.ErrCredentialExpired},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			src := oauth2source.Source{Username: "u", Tokens: tokenFunc(func() (*oauth2.Token, error) { return test.token, test.err })}
			_, err := src.Credential(t.Context())
			require.ErrorIs(t, err, test.want)
		})
	}
}

// The source calls the token source in a goroutine of its own, in which no caller can recover a panic.
func TestSourceSurvivesBrokenTokenSources(t *testing.T) {
	for want, tokens := range map[string]oauth2.TokenSource{
		"oauth2 token: oauth2source.Source.Tokens panicked in oauth2source_test.": tokenFunc(func() (*oauth2.Token, error) { panic("hunter2") }),
		"oauth2 token: oauth2source.Source.Tokens ended its goroutine":            tokenFunc(func() (*oauth2.Token, error) { runtime.Goexit(); return nil, nil }),
		"nil pointer dereference": nil,
	} {
		_, err := oauth2source.Source{Username: "u", Tokens: tokens}.Credential(t.Context())
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestErrorsHoldNoBody(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "you sent the key hunter2", http.StatusForbidden)
	}))
	defer server.Close()
	config := clientcredentials.Config{ClientID: "id", ClientSecret: "hunter2", TokenURL: server.URL}
	_, err := oauth2source.Source{Username: "u", Tokens: config.TokenSource(t.Context())}.Credential(t.Context())
	require.ErrorContains(t, err, "403 Forbidden")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestTokenSource(t *testing.T) {
	expires := time.Now().Add(time.Hour)
	src := credentials.Static(credentials.Credential{Username: "u", Password: credentials.NewSecret("p"), ExpiresAt: expires})
	token, err := oauth2source.TokenSource(t.Context(), src).Token()
	require.NoError(t, err)
	require.Equal(t, "p", token.AccessToken)
	require.Equal(t, expires, token.Expiry)

	_, err = oauth2source.TokenSource(t.Context(), credentials.Static(credentials.Credential{Anonymous: true})).Token()
	require.ErrorIs(t, err, credentials.ErrEmpty)
}

func ExampleSource() {
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "ya29", Expiry: time.Now().Add(time.Hour)})
	var cache credentials.Cache
	src := cache.Source(credentials.Key{Issuer: "google"}, oauth2source.Source{Tokens: tokens, Username: "oauth2accesstoken"})
	c, err := src.Credential(context.Background())
	fmt.Println(c.Username, c.Password, err)
	// Output: oauth2accesstoken [redacted] <nil>
}
