package gcr_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/gcr/gcrtest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// answering returns a cloud whose APIs respond with f.
func answering(f http.HandlerFunc) *gcrtest.Google {
	cloud := newGoogle()
	cloud.Intercept = func(w http.ResponseWriter, r *http.Request, _ gcrtest.Call) bool {
		f(w, r)
		return true
	}
	return cloud
}

// logins are one login for each of the APIs.
func logins(t *testing.T, cloud *gcrtest.Google) (map[string]credentials.Login, gcr.Provider) {
	t.Helper()
	file := writeFile(t, cloud.SubjectToken(provider, "repo:team/app", 0).Reveal())
	return map[string]credentials.Login{
		"key":        googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(puller), AccessToken: true}),
		"federation": external(map[string]any{"file": file}, nil),
	}, gcr.Provider{SubjectTokens: []string{file}}
}

// Package oauth2 waits without a context. Callers of this package do not.
func TestCallersLeaveWhenTheirContextEnds(t *testing.T) {
	noAmbient(t)
	arrived := make(chan bool, 10)
	cloud := answering(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-r.Context().Done() // The request itself ends, so that no goroutine remains.
	})
	n := attach(t, cloud)
	all, p := logins(t, cloud)
	all["file of the process"] = credentials.Login{Ambient: true}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", writeFile(t, cloud.UserCredentials(builder).Reveal()))
	for name, login := range all {
		t.Run(name, func(t *testing.T) {
			cause := errors.New("the user left")
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-arrived
				cancel(cause)
			}()
			_, err := through(n, p).Credential(ctx, profile(n, login))
			require.ErrorIs(t, err, cause)
			require.ErrorIs(t, err, registry.ErrCanceled)
		})
		t.Run(name+", bounded", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := p
				p.Timeout = time.Minute
				p.RoundTripper = registrytest.NewRoundTripper(answering(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
				start := time.Now()
				_, err := p.Credential(t.Context(), registry.Profile{Name: "team-a", Kind: registry.GCR, Endpoint: home, Login: login})
				require.ErrorIs(t, err, registry.ErrTimeout)
				require.ErrorContains(t, err, "no answer within 1m0s")
				require.Equal(t, time.Minute, time.Since(start))
			})
		})
	}
	t.Run("metadata server", func(t *testing.T) {
		noAmbient(t)
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			arrived <- true
			<-r.Context().Done()
		}))
		t.Cleanup(s.Close)
		t.Setenv("GCE_METADATA_HOST", s.Listener.Addr().String())
		cause := errors.New("the user left")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			<-arrived
			cancel(cause)
		}()
		_, err := through(n, p).Credential(ctx, profile(n, credentials.Login{Ambient: true}))
		require.ErrorIs(t, err, cause)
		require.ErrorIs(t, err, registry.ErrCanceled)
	})
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   registry.Code
		wait   time.Duration
	}{
		"throttled":               {status(429, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Quota exceeded"}}`), registry.ErrRateLimited, time.Minute},
		"throttled for a time":    {header("Retry-After", "7", 429, `{}`), registry.ErrRateLimited, 7 * time.Second},
		"throttled for ever":      {header("Retry-After", "999999999999", 429, `{}`), registry.ErrRateLimited, 15 * time.Minute},
		"failed":                  {status(503, `{"error":{"code":503,"status":"UNAVAILABLE"}}`), registry.ErrUnavailable, 0},
		"a page of a proxy":       {status(407, `<html>log in</html>`), registry.ErrUnavailable, 0},
		"a page of a network":     {status(200, `<html>log in</html>`), registry.ErrUnavailable, 0},
		"a redirect":              {header("Location", "https://evil.example/", 302, ""), registry.ErrUnavailable, 0},
		"no token":                {status(200, `{"expires_in":3600}`), registry.ErrUnavailable, 0},
		"no end":                  {status(200, `{"access_token":"ya29.secret"}`), registry.ErrUnavailable, 0},
		"an end in the past":      {status(200, `{"access_token":"ya29.secret","expires_in":-5}`), registry.ErrUnavailable, 0},
		"no token that is text":   {status(200, `{"access_token":{"ya29.secret":1},"expires_in":3600}`), registry.ErrUnavailable, 0},
		"an answer without end":   {endless, registry.ErrTooLarge, 0},
		"API is not enabled":      {status(403, `{"error":{"status":"PERMISSION_DENIED","message":"x","details":[{"reason":"SERVICE_DISABLED"}]}}`), registry.ErrUnsupported, 0},
		"denied":                  {status(403, `{"error":"unauthorized_client","error_description":"no"}`), registry.ErrDenied, 0},
		"refused without a body":  {status(401, ``), registry.ErrUnauthorized, 0},
		"forbidden without words": {status(403, `no`), registry.ErrDenied, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := answering(test.answer)
			n := attach(t, cloud)
			all, p := logins(t, cloud)
			for name, login := range all {
				c, err := through(n, p).Credential(t.Context(), profile(n, login))
				require.Equal(t, test.want, registry.CodeOf(err), "%s: %v", name, err)
				require.Equal(t, credentials.Credential{}, c)
				require.NotContains(t, err.Error(), "ya29")
				require.NotContains(t, err.Error(), "html")
				e, ok := errors.AsType[*registry.Error](err)
				require.True(t, ok)
				require.Equal(t, test.wait, e.RetryAfter())
			}
			require.NotContains(t, strings.Join(n.Dialed(), " "), "evil.example")
		})
	}
}

func status(code int, body string) http.HandlerFunc { return header("X-Nothing", "", code, body) }

func header(name, value string, code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(name, value)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
			return
		}
	}
}

func TestHiccupsAreRiddenOut(t *testing.T) {
	cloud := newGoogle()
	var calls atomic.Int32
	cloud.Intercept = func(w http.ResponseWriter, _ *http.Request, _ gcrtest.Call) bool {
		if calls.Add(1) > 2 {
			return false
		}
		w.WriteHeader(http.StatusBadGateway)
		return true
	}
	n := attach(t, cloud)
	_, err := gcr.Provider{}.Credential(t.Context(), profile(n, googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(puller)})))
	require.NoError(t, err)
	require.EqualValues(t, 3, calls.Load())
}

// If a server echoes the request, no error of this package shows it.
func TestEchoesAreNotShown(t *testing.T) {
	for name, form := range map[string]string{
		"OAuth": `{"error":"invalid_grant","error_description":%q}`,
		"API":   `{"error":{"status":"PERMISSION_DENIED","message":%q}}`,
		"text":  `%s`,
	} {
		t.Run(name, func(t *testing.T) {
			var sent string
			cloud := answering(func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				sent = r.PostFormValue("assertion") + r.PostFormValue("subject_token")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = fmt.Fprintf(w, form, "cannot read "+sent+" of yours")
			})
			n := attach(t, cloud)
			all, p := logins(t, cloud)
			for _, login := range all {
				_, err := through(n, p).Credential(t.Context(), profile(n, login))
				require.Error(t, err)
				require.NotEmpty(t, sent)
				require.NotContains(t, err.Error(), sent[:30])
			}
		})
	}
}

func TestNetworkErrors(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	key := googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(puller), AccessToken: true})

	p := profile(n, key)
	p.Transport.CABundle = ""
	_, err := gcr.Provider{}.Credential(t.Context(), p)
	require.ErrorIs(t, err, registry.ErrTLSUnknownIssuer)

	p = profile(n, key)
	p.Transport.Proxy = "http://127.0.0.1:1"
	_, err = gcr.Provider{}.Credential(t.Context(), p)
	require.ErrorIs(t, err, registry.ErrProxy)

	p = profile(n, key)
	p.Transport.PlainHTTP = true
	_, err = gcr.Provider{}.Credential(t.Context(), p)
	require.ErrorIs(t, err, registry.ErrInvalid)
}

func TestTransportsAreShared(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	shared := new(registry.Transports)
	t.Cleanup(shared.CloseIdleConnections)
	p := gcr.Provider{Transports: shared}
	for range 3 {
		_, err := p.Credential(t.Context(), profile(n, googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(puller), AccessToken: true})))
		require.NoError(t, err)
	}
	require.Equal(t, []string{"oauth2.googleapis.com:443"}, n.Dialed(), "one connection for three calls")
}
