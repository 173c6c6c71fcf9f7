package ecr_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*ecrtest.AWS)
		login  credentials.Login
		want   registry.Code
		text   string
		hint   string
	}{
		"no right to a token": {
			change: func(a *ecrtest.AWS) { a.Users[0].Allow = []string{"ecr:BatchGetImage"} },
			want:   registry.ErrDenied, text: "User: " + ciARN + " is not authorized to perform: ecr:GetAuthorizationToken", hint: ecr.PullPolicy,
		},
		"wrong secret": {
			change: func(a *ecrtest.AWS) { a.Users[0].SecretAccessKey = credentials.NewSecret("another") },
			want:   registry.ErrUnauthorized, text: "as access key " + ciKey, hint: "check the access key",
		},
		"deleted key": {
			change: func(a *ecrtest.AWS) { a.Users = nil },
			want:   registry.ErrUnauthorized, text: "UnrecognizedClientException", hint: "deleted or inactive",
		},
		"session token that is not ours": {
			login: awsLogin(credentials.AWSLogin{AccessKeyID: ciKey, SecretAccessKey: credentials.NewSecret(ciText), SessionToken: credentials.NewSecret("another-session")}),
			want:  registry.ErrUnauthorized,
		},
		"region that is not enabled": {
			change: func(a *ecrtest.AWS) { a.DisabledRegions = []string{"us-east-1"} },
			want:   registry.ErrUnauthorized, hint: "if the region us-east-1 is not enabled",
		},
		"STS that is not enabled": {
			change: func(a *ecrtest.AWS) { a.DisabledRegions = []string{"us-east-1"} },
			login:  ciLogin(credentials.AWSRole{ARN: hubARN}),
			want:   registry.ErrUnsupported, text: "RegionDisabledException", hint: "enable the region us-east-1",
		},
		"role that does not exist": {
			login: ciLogin(credentials.AWSRole{ARN: "arn:aws:iam::123456789012:role/none"}),
			want:  registry.ErrDenied, text: "role/none", hint: "trust policy",
		},
		"key of another partition": {
			change: func(a *ecrtest.AWS) { a.Users[0].ARN = "arn:aws-cn:iam::123456789012:user/ci" },
			want:   registry.ErrUnauthorized,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := newAWS()
			if test.change != nil {
				test.change(cloud)
			}
			if test.login.AWS == nil {
				test.login = ciLogin()
			}
			n := attach(t, cloud)
			c, err := ecr.Provider{}.Credential(t.Context(), profile(n, home, test.login))
			require.Equal(t, test.want, registry.CodeOf(err), err)
			require.Equal(t, credentials.Credential{}, c)
			require.ErrorContains(t, err, test.text)
			require.Contains(t, registry.HintOf(err), test.hint)
			require.NotContains(t, err.Error(), ciText)
			require.NotContains(t, err.Error(), "another-session")
		})
	}
}

func TestExpiredSession(t *testing.T) {
	cloud := newAWS()
	n := attach(t, cloud)
	noAmbient(t)
	cloud.SessionTTL = time.Nanosecond
	_, err := ecr.Provider{}.Credential(t.Context(), profile(n, home, ciLogin(credentials.AWSRole{ARN: hubARN})))
	require.ErrorIs(t, err, registry.ErrExpired)
	require.ErrorContains(t, err, "ecr:GetAuthorizationToken as role "+hubARN)
	require.Contains(t, registry.HintOf(err), "enter new ones in the profile")
}

// The clocks of both sides may differ by hours: AWS's clients learn the difference from the response and sign again. If
// that does not help, the error names the clock.
func TestClockSkew(t *testing.T) {
	cloud := newAWS()
	cloud.Skew = 2 * time.Hour
	n := attach(t, cloud)
	_, err := ecr.Provider{}.Credential(t.Context(), profile(n, home, ciLogin()))
	require.NoError(t, err)
	require.Len(t, cloud.Calls(), 2)

	cloud = answering(func(w http.ResponseWriter, c ecrtest.Call) {
		c.Fail(w, http.StatusBadRequest, "InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z")
	})
	n = attach(t, cloud)
	_, err = ecr.Provider{}.Credential(t.Context(), profile(n, home, ciLogin()))
	require.ErrorIs(t, err, registry.ErrClockSkew)
	require.Contains(t, registry.HintOf(err), "correct the clock")

	cloud = newAWS()
	cloud.TokenTTL = -time.Hour // Like a machine whose clock is more than twelve hours ahead.
	n = attach(t, cloud)
	_, err = ecr.Provider{}.Credential(t.Context(), profile(n, home, ciLogin()))
	require.ErrorIs(t, err, registry.ErrClockSkew)
}

// answering returns a cloud whose APIs respond with f.
func answering(f func(http.ResponseWriter, ecrtest.Call)) *ecrtest.AWS {
	cloud := newAWS()
	cloud.Intercept = func(w http.ResponseWriter, _ *http.Request, c ecrtest.Call) bool {
		f(w, c)
		return true
	}
	return cloud
}

func TestThrottling(t *testing.T) {
	cloud := newAWS()
	cloud.Rate, cloud.Burst = 1, 1
	n := attach(t, cloud)
	errs := make(chan error, 20)
	for range cap(errs) {
		go func() {
			_, err := ecr.Provider{}.Credential(t.Context(), profile(n, home, ciLogin()))
			errs <- err
		}()
	}
	var throttled error
	for range cap(errs) {
		throttled = cmp.Or(<-errs, throttled)
	}
	require.ErrorIs(t, throttled, registry.ErrRateLimited)
	e, ok := errors.AsType[*registry.Error](throttled)
	require.True(t, ok)
	require.Equal(t, 10*time.Second, e.RetryAfter())
	require.Contains(t, registry.HintOf(throttled), "cache")
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	text := func(status int, body string) func(http.ResponseWriter, ecrtest.Call) {
		return func(w http.ResponseWriter, _ ecrtest.Call) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	fail := func(status int, code, message string, wait ...string) func(http.ResponseWriter, ecrtest.Call) {
		return func(w http.ResponseWriter, c ecrtest.Call) {
			if len(wait) > 0 {
				w.Header().Set("Retry-After", wait[0])
			}
			c.Fail(w, status, code, message)
		}
	}
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter, ecrtest.Call)
		want   registry.Code
		wait   time.Duration
	}{
		"throttled":            {fail(400, "ThrottlingException", "Rate exceeded"), registry.ErrRateLimited, 10 * time.Second},
		"throttled for a time": {fail(429, "TooManyRequestsException", "", "3"), registry.ErrRateLimited, 3 * time.Second},
		"throttled for ever":   {fail(429, "TooManyRequestsException", "", "999999"), registry.ErrRateLimited, 15 * time.Minute},
		"throttled by AWS's own header": {func(w http.ResponseWriter, c ecrtest.Call) {
			w.Header().Set("X-Amz-Retry-After", "1500")
			c.Fail(w, 400, "ThrottlingException", "Rate exceeded")
		}, registry.ErrRateLimited, 1500 * time.Millisecond},
		"server error":        {fail(500, "ServerException", "oops"), registry.ErrUnavailable, 0},
		"blocked":             {fail(400, "BlockedByOrganizationPolicyException", "no"), registry.ErrBlocked, 0},
		"expired":             {fail(400, "ExpiredTokenException", "over"), registry.ErrExpired, 0},
		"a page of a network": {text(200, "<html>log in</html>"), registry.ErrUnavailable, 0},
		"a redirect": {func(w http.ResponseWriter, _ ecrtest.Call) {
			w.Header().Set("Location", "https://evil.example/")
			w.WriteHeader(302)
		}, registry.ErrUnavailable, 0},
		"no token":               {text(200, `{"authorizationData":[]}`), registry.ErrUnavailable, 0},
		"a token of nobody":      {text(200, `{"authorizationData":[{"authorizationToken":"QVdTOg==","expiresAt":4102444800}]}`), registry.ErrUnavailable, 0},
		"a token of another":     {text(200, `{"authorizationData":[{"authorizationToken":"Ym9iOnNlY3JldA==","expiresAt":4102444800}]}`), registry.ErrUnavailable, 0},
		"a token that is none":   {text(200, `{"authorizationData":[{"authorizationToken":"%%%secret%%%","expiresAt":4102444800}]}`), registry.ErrUnavailable, 0},
		"a token without an end": {text(200, `{"authorizationData":[{"authorizationToken":"QVdTOnNlY3JldA=="}]}`), registry.ErrUnavailable, 0},
		"more than an answer":    {text(200, strings.Repeat(" ", 2<<20)), registry.ErrTooLarge, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := attach(t, answering(test.answer))
			c, err := ecr.Provider{}.Credential(t.Context(), profile(n, home, ciLogin()))
			require.Equal(t, test.want, registry.CodeOf(err), err)
			require.Equal(t, credentials.Credential{}, c)
			require.NotContains(t, err.Error(), "secret")
			require.NotContains(t, err.Error(), "html")
			e, ok := errors.AsType[*registry.Error](err)
			require.True(t, ok)
			require.Equal(t, test.wait, e.RetryAfter())
			require.NotContains(t, strings.Join(n.Dialed(), " "), "evil.example")
		})
	}
}

// If a service echoes the request, no error of this package shows it: AWS does so for a wrong signature.
func TestEchoesAreNotShown(t *testing.T) {
	session := strings.Repeat("session-token-", 40)
	cloud := newAWS()
	cloud.Intercept = func(w http.ResponseWriter, r *http.Request, c ecrtest.Call) bool {
		c.Fail(w, http.StatusBadRequest, "InvalidSignatureException", "cannot read "+r.Header.Get("X-Amz-Security-Token")+" and "+ciText+"\nx-amz-security-token:"+session)
		return true
	}
	n := attach(t, cloud)
	_, err := ecr.Provider{}.Credential(t.Context(), profile(n, home, awsLogin(credentials.AWSLogin{
		AccessKeyID: ciKey, SecretAccessKey: credentials.NewSecret(ciText), SessionToken: credentials.NewSecret(session),
	})))
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	require.ErrorContains(t, err, "cannot read")
	require.NotContains(t, err.Error(), "session-token-")
	require.NotContains(t, err.Error(), ciText)
}

func TestCallersLeaveWhenTheirContextEnds(t *testing.T) {
	noAmbient(t)
	arrived, ended := make(chan bool, 100), make(chan bool, 100)
	cloud := newAWS()
	cloud.Intercept = func(_ http.ResponseWriter, r *http.Request, _ ecrtest.Call) bool {
		arrived <- true
		<-r.Context().Done()
		ended <- true
		return true
	}
	// The chain of AWS's SDK returns to its caller, and its call continues.
	requireEnd := func() {
		select {
		case <-ended:
		case <-time.After(15 * time.Second): // The SDK's own time limit is twice that.
			t.Error("the request goes on without its caller")
		}
	}
	n := attach(t, cloud)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", writeFile(t, cloud.WebIdentity(podSubject, 0).Reveal()))
	t.Setenv("AWS_ROLE_ARN", podARN)
	for name, login := range map[string]credentials.Login{
		"key": ciLogin(), "role": ciLogin(credentials.AWSRole{ARN: hubARN}), "identity of the process": {Ambient: true},
	} {
		t.Run(name, func(t *testing.T) {
			cause := errors.New("the user left")
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-arrived
				cancel(cause)
			}()
			_, err := through(n, ecr.Provider{}).Credential(ctx, profile(n, home, login))
			require.ErrorIs(t, err, cause)
			require.ErrorIs(t, err, registry.ErrCanceled)
			requireEnd()
		})
	}
}

// A request that outlives its caller would prevent the end of the bubble.
func TestTimeout(t *testing.T) {
	noAmbient(t)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", writeFile(t, newAWS().WebIdentity(podSubject, 0).Reveal()))
	t.Setenv("AWS_ROLE_ARN", podARN)
	for name, login := range map[string]credentials.Login{
		"key": ciLogin(), "role": ciLogin(credentials.AWSRole{ARN: hubARN}), "identity of the process": {Ambient: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := newAWS()
				cloud.Intercept = func(_ http.ResponseWriter, r *http.Request, _ ecrtest.Call) bool {
					<-r.Context().Done()
					return true
				}
				p := ecr.Provider{Timeout: time.Minute, RoundTripper: registrytest.NewRoundTripper(cloud)}
				start := time.Now()
				_, err := p.Credential(t.Context(), registry.Profile{Name: "team-a", Kind: registry.ECR, Endpoint: home, Login: login})
				require.ErrorIs(t, err, registry.ErrTimeout)
				require.ErrorContains(t, err, "no answer within 1m0s")
				require.Equal(t, time.Minute, time.Since(start))
				synctest.Wait() // The chain of AWS's SDK returns to its caller before its call ends.
				require.NotEmpty(t, cloud.Calls())
			})
		})
	}
}

func TestNetworkErrors(t *testing.T) {
	n := attach(t, newAWS())
	p := profile(n, home, ciLogin())
	p.Transport.CABundle = ""
	_, err := ecr.Provider{}.Credential(t.Context(), p)
	require.ErrorIs(t, err, registry.ErrTLSUnknownIssuer)

	p = profile(n, home, ciLogin())
	p.Transport.Proxy = "http://127.0.0.1:1"
	_, err = ecr.Provider{}.Credential(t.Context(), p)
	require.ErrorIs(t, err, registry.ErrProxy)
}
