package regcred_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// hosts serves registries in memory under their real names.
type hosts map[string]*registrytest.Registry

func (h hosts) RoundTrip(req *http.Request) (*http.Response, error) {
	if r := h[req.URL.Host]; r != nil {
		return r.RoundTripper().RoundTrip(req)
	}
	return nil, errors.New("no such host: " + req.URL.Host)
}

func newPipeline(h hosts) *regcred.Pipeline {
	return &regcred.Pipeline{Checker: validate.Checker{RoundTripper: h}}
}

// harbor returns a Harbor registry with an account for each of two teams.
func harbor(t *testing.T) *registrytest.Registry {
	t.Helper()
	r := &registrytest.Registry{
		Dialect: registrytest.Harbor(),
		Accounts: []registrytest.Account{
			{Username: "robot-a", Password: credentials.NewSecret("pw-a"), Pull: []string{"team-a/*"}},
			{Username: "robot-b", Password: credentials.NewSecret("pw-b"), Pull: []string{"team-b/*"}},
		},
	}
	add(t, r, "team-a/app:1", "team-b/app:1")
	return r
}

func profile(name, endpoint, username, password string) registry.Profile {
	return registry.Profile{
		Name: name, Kind: registry.Custom, Endpoint: endpoint,
		Login: credentials.Login{Username: username, Password: credentials.NewSecret(password)},
	}
}

func TestRun(t *testing.T) {
	p := newPipeline(hosts{"harbor.test": harbor(t)})
	outcome, err := p.Run(t.Context(), regcred.Request{
		Name: "pull", Namespace: "shop", Labels: map[string]string{"team": "a"},
		Profiles: []registry.Profile{
			profile("a", "https://harbor.test/team-a/", "robot-a", "pw-a"),
			profile("b", "harbor.test/team-b", "robot-b", "pw-b"),
		},
		Images: []string{"harbor.test/team-b/app:1", "harbor.test/team-a/app:1"},
	})
	require.NoError(t, err)
	require.Equal(t, "pull", outcome.Secret.Name)
	require.Equal(t, "shop", outcome.Secret.Namespace)
	require.Equal(t, map[string]string{"team": "a"}, outcome.Secret.Labels)
	require.JSONEq(t, `{"auths":{
		"harbor.test/team-a":{"auth":"cm9ib3QtYTpwdy1h"},
		"harbor.test/team-b":{"auth":"cm9ib3QtYjpwdy1i"}}}`, string(outcome.Secret.Config.Reveal()))
	require.Len(t, outcome.Logins, 2)
	require.Equal(t, "b", outcome.Images[0].Candidate)
	require.Equal(t, "a", outcome.Images[1].Candidate)
	require.Zero(t, outcome.RenewAt, "passwords do not expire")
	require.Zero(t, outcome.ExpiresAt)
}

// If any check fails, no secret is published, and all failures are reported at once.
func TestRunFails(t *testing.T) {
	h := hosts{"harbor.test": harbor(t)}
	tests := map[string]struct {
		profiles []registry.Profile
		images   []string
		want     []registry.Code // One for each login, then one for each image.
	}{
		"wrong password": {
			profiles: []registry.Profile{profile("a", "harbor.test", "robot-a", "wrong")},
			want:     []registry.Code{registry.ErrUnauthorized},
		},
		"one of two images is missing": {
			profiles: []registry.Profile{profile("a", "harbor.test", "robot-a", "pw-a")},
			images:   []string{"harbor.test/team-a/app:1", "harbor.test/team-a/app:2"},
			want:     []registry.Code{"", "", registry.ErrImageNotFound},
		},
		"an image of another team": {
			profiles: []registry.Profile{profile("a", "harbor.test", "robot-a", "pw-a")},
			images:   []string{"harbor.test/team-b/app:1"},
			want:     []registry.Code{"", registry.ErrDenied},
		},
		"an image that no profile serves": {
			profiles: []registry.Profile{profile("a", "harbor.test/team-a", "robot-a", "pw-a")},
			images:   []string{"harbor.test/team-b/app:1"},
			want:     []registry.Code{"", registry.ErrNoProfile},
		},
		"a host that does not exist": {
			profiles: []registry.Profile{profile("x", "nowhere.test", "x", "y")},
			want:     []registry.Code{registry.ErrUnreachable},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			outcome, err := newPipeline(h).Run(t.Context(), regcred.Request{Profiles: test.profiles, Images: test.images})
			require.Error(t, err)
			require.Zero(t, outcome.Secret)
			var got []registry.Code
			for _, result := range append(outcome.Logins, outcome.Images...) {
				got = append(got, registry.CodeOf(result.Err))
				if result.Err != nil {
					require.ErrorIs(t, err, result.Err)
				}
			}
			require.Equal(t, test.want, got)
		})
	}
}

// All problems of an invalid request are reported at once, and no request is sent.
func TestRunInvalid(t *testing.T) {
	r := harbor(t)
	_, err := newPipeline(hosts{"harbor.test": r}).Run(t.Context(), regcred.Request{
		Name: "Not A Name",
		Profiles: []registry.Profile{
			profile("a", "harbor.test", "robot-a", "pw-a"),
			profile("a", "https://", "robot-a", ""),
		},
		Images: []string{"harbor.test/team-a/app:1", "UPPER:case"},
	})
	require.Equal(t, registry.ErrInvalid, registry.CodeOf(err))
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.False(t, registry.Temporary(err))
	invalid, ok := errors.AsType[*field.Errors](err)
	require.True(t, ok, "%v", err)
	var fields []string
	for _, f := range invalid.Fields {
		fields = append(fields, f.Field)
	}
	require.Equal(t, []string{"profiles[1].endpoint", "profiles[1].login.password", "profiles[1].name", "images[1]", "name"}, fields)
	require.Empty(t, r.Requests())
}

// A code means the same from the pipeline and from the providers.
func TestInvalidHasACode(t *testing.T) {
	good := profile("a", "harbor.test", "robot-a", "pw-a")
	wrong := profile("b", "https://", "robot-b", "pw-b")
	other := good
	other.Name, other.Kind = "c", "quay"
	p := newPipeline(hosts{"harbor.test": harbor(t)})
	for name, test := range map[string]struct {
		profile registry.Profile
		want    registry.Code
		text    string
	}{
		"a profile with a problem": {wrong, registry.ErrInvalid, "endpoint"},
		"a kind without provider":  {other, registry.ErrNoProvider, `kind no provider: it is "quay"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, run := p.Run(t.Context(), regcred.Request{Profiles: []registry.Profile{good, test.profile}})
			_, login := p.CheckLogin(t.Context(), test.profile)
			_, credential := p.Credential(t.Context(), test.profile)
			check := p.Check(t.Context(), []registry.Profile{test.profile}, nil)
			_, set := providers.Set{registry.Custom: custom.Provider{}}.Credential(t.Context(), test.profile)
			for who, err := range map[string]error{"run": run, "login": login, "credential": credential, "check": check, "set": set} {
				require.Equal(t, test.want, registry.CodeOf(err), who)
				require.ErrorIs(t, err, test.want, who)
				require.ErrorContains(t, err, test.text, who)
			}
			require.ErrorContains(t, run, "profiles[1]")
		})
	}

	_, err := p.Run(t.Context(), regcred.Request{Profiles: []registry.Profile{other, wrong}})
	require.Equal(t, registry.ErrInvalid, registry.CodeOf(err), "the form is wrong, whatever else is")
	require.ErrorIs(t, err, registry.ErrNoProvider)
	require.Equal(t, 1, strings.Count(err.Error(), "hint: "), "%v", err)
}

// A secret that is too large is invalid too, even if everything in it works.
func TestRunTooLarge(t *testing.T) {
	a := profile("a", "harbor.test", "robot-a", "pw-a")
	for i := range 4_000 { // All on one host, so that only one login is checked.
		a.Hosts = append(a.Hosts, fmt.Sprintf("harbor.test/%s%d", strings.Repeat("a-long-name-of-a-project/", 9), i))
	}
	outcome, err := newPipeline(hosts{"harbor.test": harbor(t)}).Run(t.Context(), regcred.Request{Profiles: []registry.Profile{a}})
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.ErrorAs(t, err, new(*field.Errors))
	require.Zero(t, outcome.Secret)
	require.NoError(t, outcome.Logins[0].Err)
}

// A credential that was revoked before it expired is issued again once, and everything proven with the old one is
// proven again.
func TestRunRenewsWhatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := harbor(t)
		issued := atomic.Int32{}
		p := newPipeline(hosts{"harbor.test": r})
		p.Provider = providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
			password := "revoked"
			if issued.Add(1) > 1 {
				password = "pw-a"
			}
			return credentials.Credential{
				Username: "robot-a", Password: credentials.NewSecret(password),
				IssuedAt: time.Now(), ExpiresAt: time.Now().Add(12 * time.Hour),
			}, nil
		})
		request := regcred.Request{
			Profiles: []registry.Profile{profile("a", "harbor.test", "robot-a", "ignored")},
			Images:   []string{"harbor.test/team-a/app:1"},
		}
		outcome, err := p.Run(t.Context(), request)
		require.NoError(t, err)
		require.EqualValues(t, 2, issued.Load())
		require.JSONEq(t, `{"auths":{"harbor.test":{"auth":"cm9ib3QtYTpwdy1h"}}}`, string(outcome.Secret.Config.Reveal()))
		require.Equal(t, time.Now().Add(12*time.Hour), outcome.ExpiresAt)
		require.True(t, outcome.RenewAt.After(time.Now()) && outcome.RenewAt.Before(outcome.ExpiresAt))

		_, err = p.Run(t.Context(), request)
		require.NoError(t, err)
		require.EqualValues(t, 2, issued.Load(), "the second one is in the cache")
	})
}

// A kubelet tries the longest path first, and then the others; so does the pipeline.
func TestRunTriesAsAKubelet(t *testing.T) {
	p := newPipeline(hosts{"harbor.test": harbor(t)})
	outcome, err := p.Run(t.Context(), regcred.Request{
		Profiles: []registry.Profile{
			profile("whole", "harbor.test", "robot-b", "pw-b"),
			profile("part", "harbor.test/team-b", "robot-a", "pw-a"),
		},
		Images: []string{"harbor.test/team-b/app:1"},
	})
	require.NoError(t, err)
	require.Equal(t, "whole", outcome.Images[0].Candidate)
	require.Len(t, outcome.Images[0].Attempts, 2)
	require.Equal(t, "part", outcome.Images[0].Attempts[0].Candidate)
}

func TestRunAnonymous(t *testing.T) {
	mcr := &registrytest.Registry{Dialect: registrytest.MCR()}
	_, err := mcr.Add("dotnet/runtime:9.0", registrytest.Image{})
	require.NoError(t, err)
	p := newPipeline(hosts{"mcr.microsoft.com": mcr})
	outcome, err := p.Run(t.Context(), regcred.Request{
		Profiles: []registry.Profile{{Name: "mcr", Kind: registry.Custom, Endpoint: "mcr.microsoft.com", Login: credentials.Login{Anonymous: true}}},
		Images:   []string{"mcr.microsoft.com/dotnet/runtime:9.0"},
	})
	require.NoError(t, err)
	require.JSONEq(t, `{"auths":{}}`, string(outcome.Secret.Config.Reveal()))
	require.True(t, outcome.Images[0].Anonymous)
	require.Equal(t, "mcr", outcome.Images[0].Candidate)
}

// An image is requested through its profile's transport even if the profile's credential cannot be obtained. Without
// the profile's proxy and certificates, a healthy registry would be reported as unreachable.
func TestRunWithoutCredential(t *testing.T) {
	hub := harbor(t)
	hub.Public = []string{"team-a/app"}
	server, err := registrytest.Start(hub)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	failed := errors.New("no credential today")
	p := &regcred.Pipeline{Provider: providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
		return credentials.Credential{}, failed
	})}
	main := profile("a", server.Host+"/team-a", "robot-a", "pw-a")
	mirror := profile("a", "harbor.test", "robot-a", "pw-a")
	mirror.Hosts = []string{server.Host + "/team-a"}
	for _, a := range []registry.Profile{main, mirror} {
		a.Transport = server.TransportConfig()
		outcome, err := p.Run(t.Context(), regcred.Request{
			Profiles: []registry.Profile{a},
			Images:   []string{server.Host + "/team-a/app:1", server.Host + "/team-b/app:1"},
		})
		require.ErrorIs(t, err, failed)
		require.ErrorIs(t, outcome.Logins[0].Err, failed)
		require.NoError(t, outcome.Images[0].Err)
		require.True(t, outcome.Images[0].Anonymous)
		require.ErrorIs(t, outcome.Images[1].Err, registry.ErrNoProfile, "the host is that of a profile, the path is not")
		require.Zero(t, outcome.Secret)
	}
}

// If an image is rejected because its profile's credential could not be obtained, the error is that failure, because
// the user has to fix it or wait, and not the rejection of a login that was never sent.
func TestRunRefusedWithoutCredential(t *testing.T) {
	h := hosts{"harbor.test": harbor(t)}
	image := "harbor.test/team-a/app:1"
	for name, test := range map[string]struct {
		failed error
		want   registry.Code
		others []registry.Profile
	}{
		"the issuer is down": {
			&registry.Error{Op: "get credential", Code: registry.ErrTimeout, Hint: "have patience", Wait: time.Minute}, registry.ErrTimeout, nil,
		},
		"no reason is known": {errors.New("no credential today"), registry.ErrUnknown, nil},
		"another profile's login is refused": {
			&registry.Error{Op: "get credential", Code: registry.ErrNoIdentity}, registry.ErrNoIdentity,
			[]registry.Profile{profile("b", "harbor.test", "robot-b", "pw-b")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPipeline(h)
			p.Provider = providers.Func(func(ctx context.Context, profile registry.Profile) (credentials.Credential, error) {
				if profile.Name == "a" {
					return credentials.Credential{}, test.failed
				}
				return custom.Provider{}.Credential(ctx, profile)
			})
			outcome, err := p.Run(t.Context(), regcred.Request{
				Profiles: append([]registry.Profile{profile("a", "harbor.test/team-a", "robot-a", "pw-a")}, test.others...),
				Images:   []string{image},
			})
			got := outcome.Images[0].Err
			require.Equal(t, test.want, registry.CodeOf(got))
			require.ErrorIs(t, got, test.failed)
			require.NotErrorIs(t, got, registry.ErrUnauthorized)
			require.NotErrorIs(t, got, registry.ErrDenied)
			require.ErrorContains(t, got, "check image "+image)
			require.ErrorContains(t, got, "harbor.test/v2/team-a/app/manifests/1: 40", "what the registry said")
			require.ErrorContains(t, got, "without the login of its profile: get credential")
			require.Equal(t, registry.HintOf(test.failed), registry.HintOf(got))
			require.LessOrEqual(t, strings.Count(got.Error(), "hint: "), 1, "%v", got)
			require.Equal(t, test.want == registry.ErrTimeout, registry.Temporary(err))
			e, ok := errors.AsType[*registry.Error](got)
			require.True(t, ok)
			if test.want == registry.ErrTimeout {
				require.Equal(t, time.Minute, e.Wait)
			}
		})
	}
}

func TestRunCanceled(t *testing.T) {
	cause := errors.New("the user closed the form")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	outcome, err := newPipeline(hosts{"harbor.test": harbor(t)}).Run(ctx, regcred.Request{
		Profiles: []registry.Profile{profile("a", "harbor.test", "robot-a", "pw-a")},
		Images:   []string{"harbor.test/team-a/app:1"},
	})
	require.ErrorIs(t, err, cause)
	require.ErrorIs(t, err, registry.ErrCanceled)
	require.Zero(t, outcome.Secret)
}

func TestLogin(t *testing.T) {
	p := newPipeline(hosts{"harbor.test": harbor(t)})
	result, err := p.CheckLogin(t.Context(), profile("a", "harbor.test", "robot-a", "pw-a"))
	require.NoError(t, err)
	require.Equal(t, "a", result.Candidate)
	_, err = p.CheckLogin(t.Context(), profile("a", "harbor.test", "robot-a", "wrong"))
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	_, err = p.CheckLogin(t.Context(), registry.Profile{})
	require.ErrorContains(t, err, "name is missing")
}

// The login of a Harbor robot expires, and the time of its creation is not known.
func TestRenewAtOfALoginThatExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, month := time.Now(), 30*24*time.Hour
		p := profile("a", "harbor.test", "robot-a", "pw-a")
		p.Login.ExpiresAt = start.Add(month)
		pipeline := newPipeline(hosts{"harbor.test": harbor(t)})
		outcome, err := pipeline.Run(t.Context(), regcred.Request{Profiles: []registry.Profile{p}})
		require.NoError(t, err)
		require.WithinRange(t, outcome.RenewAt, start.Add(month/5*4), start.Add(month/10*9))
		require.Equal(t, pipeline.Lookup(p).NextCall, outcome.RenewAt, "the cache decides")

		passes := 0
		for ; time.Now().Before(p.Login.ExpiresAt); passes++ { // A program that sleeps until RenewAt does not spin.
			require.Less(t, passes, 40)
			outcome, err = pipeline.Run(t.Context(), regcred.Request{Profiles: []registry.Profile{p}})
			if err != nil {
				break
			}
			time.Sleep(max(time.Second, time.Until(outcome.RenewAt)))
		}
	})
}

// A user who runs a check is warned that a working login expires soon and is not renewed.
func TestRunWarnsOfExpiry(t *testing.T) {
	p := newPipeline(hosts{"harbor.test": harbor(t)})
	soon := profile("a", "harbor.test/team-a", "robot-a", "pw-a")
	soon.Login.ExpiresAt = time.Now().Add(26 * time.Hour)
	result, err := p.CheckLogin(t.Context(), soon)
	require.NoError(t, err)
	require.Contains(t, strings.Join(result.Warnings, "\n"), "expires in ")

	later := soon
	later.Login.ExpiresAt = time.Now().AddDate(1, 0, 0)
	result, err = p.CheckLogin(t.Context(), later)
	require.NoError(t, err)
	require.Empty(t, result.Warnings)
}
