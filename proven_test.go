package regcred_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// A counted issues passwords for robot-a, one after the other, and repeats the last one.
type counted struct {
	passwords []string
	issued    atomic.Int32
}

func (c *counted) provider() providers.Provider {
	return providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
		n := int(c.issued.Add(1))
		return credentials.Credential{
			Username: "robot-a", Password: credentials.NewSecret(c.passwords[min(n, len(c.passwords))-1]),
			IssuedAt: time.Now(), ExpiresAt: time.Now().Add(12*time.Hour + time.Duration(n)),
		}, nil
	})
}

func TestCredential(t *testing.T) {
	a := profile("a", "harbor.test", "robot-a", "ignored")
	for name, tc := range map[string]struct {
		passwords []string
		password  string // Empty means rejected.
		issued    int32
	}{
		"let in":                   {[]string{"pw-a"}, "pw-a", 1},
		"refused once":             {[]string{"revoked", "pw-a"}, "pw-a", 2},
		"refused, and again":       {[]string{"revoked", "revoked too"}, "", 2},
		"refused, and never a new": {[]string{"revoked"}, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := harbor(t)
				p := newPipeline(hosts{"harbor.test": r})
				issuer := &counted{passwords: tc.passwords}
				p.Provider = issuer.provider()
				c, err := p.Credential(t.Context(), a)
				require.Equal(t, tc.issued, issuer.issued.Load())
				if tc.password == "" {
					require.ErrorIs(t, err, registry.ErrUnauthorized)
					require.Zero(t, c)
					return
				}
				require.NoError(t, err)
				require.Equal(t, tc.password, c.Password.Reveal())

				asked := len(r.Requests())
				_, err = p.Credential(t.Context(), a)
				require.NoError(t, err)
				require.Len(t, r.Requests(), asked, "its word is taken for an hour")
				time.Sleep(time.Hour)
				_, err = p.Credential(t.Context(), a)
				require.NoError(t, err)
				require.Greater(t, len(r.Requests()), asked)
			})
		})
	}
}

// A password change at the registry is noticed, without a restart.
func TestCredentialNoticesARevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := harbor(t)
		p := newPipeline(hosts{"harbor.test": r})
		a := profile("a", "harbor.test", "robot-a", "pw-a")
		_, err := p.Credential(t.Context(), a)
		require.NoError(t, err)
		r.SetAccounts()
		time.Sleep(59 * time.Minute)
		_, err = p.Credential(t.Context(), a)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = p.Credential(t.Context(), a)
		require.ErrorIs(t, err, registry.ErrUnauthorized)
	})
}

// A credential that cannot be proven now is still returned, because the secret that it replaces expires soon.
func TestCredentialOfARegistryThatIsDown(t *testing.T) {
	for name, fault := range map[string]registrytest.Fault{
		"down":      {Answer: registrytest.Answer{Status: http.StatusServiceUnavailable}},
		"busy":      {Answer: registrytest.Answer{Status: http.StatusTooManyRequests}},
		"no answer": {Hang: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := harbor(t)
				recovers := r.Inject(fault)
				p := newPipeline(hosts{"harbor.test": r})
				a := profile("a", "harbor.test", "robot-a", "wrong")
				start := time.Now()
				for range 2 {
					c, err := p.Credential(t.Context(), a)
					require.NoError(t, err)
					require.Equal(t, "wrong", c.Password.Reveal())
				}
				require.LessOrEqual(t, time.Since(start), 10*time.Second, "the second time, it is left alone")
				recovers()
				time.Sleep(time.Minute)
				_, err := p.Credential(t.Context(), a)
				require.ErrorIs(t, err, registry.ErrUnauthorized)
			})
		})
	}
}

func TestCredentialFails(t *testing.T) {
	p := newPipeline(hosts{"harbor.test": harbor(t)})
	_, err := p.Credential(t.Context(), registry.Profile{})
	require.ErrorAs(t, err, new(*field.Errors))

	broken := errors.New("issuer is down")
	p.Provider = providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
		return credentials.Credential{}, broken
	})
	_, err = p.Credential(t.Context(), profile("a", "harbor.test", "robot-a", "pw-a"))
	require.ErrorIs(t, err, broken)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = newPipeline(hosts{"harbor.test": harbor(t)}).Credential(ctx, profile("a", "harbor.test", "robot-a", "pw-a"))
	require.ErrorIs(t, err, context.Canceled)
}

func TestCheck(t *testing.T) {
	p := newPipeline(hosts{"harbor.test": harbor(t)})
	profiles := []registry.Profile{profile("a", "harbor.test", "robot-a", "pw-a")}
	require.NoError(t, p.Check(t.Context(), profiles, []string{"harbor.test/team-a/app:1"}))
	require.ErrorIs(t, p.Check(t.Context(), profiles, []string{"harbor.test/team-a/app:2"}), registry.ErrImageNotFound)
}

// The secret has an entry for each host of a profile, so each host must accept the login.
func TestCredentialIsProvenAtEachHost(t *testing.T) {
	p := newPipeline(hosts{"harbor.test": harbor(t), "mirror.test": harbor(t)})
	a := profile("a", "harbor.test/team-a", "robot-a", "pw-a")
	_, err := p.Credential(t.Context(), a) // It proves nothing about the mirror.
	require.NoError(t, err)
	a.Hosts = []string{"harbor.test/team-b", "mirror.test"}
	_, err = p.Credential(t.Context(), a)
	require.NoError(t, err)
	outcome, err := p.Run(t.Context(), regcred.Request{Profiles: []registry.Profile{a}})
	require.NoError(t, err)
	require.Len(t, outcome.Logins, 1)

	p = newPipeline(hosts{"harbor.test": harbor(t), "mirror.test": &registrytest.Registry{Dialect: registrytest.Harbor()}})
	main := a
	main.Hosts = nil
	_, err = p.Credential(t.Context(), main)
	require.NoError(t, err)
	_, err = p.Credential(t.Context(), a)
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	require.ErrorContains(t, err, "mirror.test")
	outcome, err = p.Run(t.Context(), regcred.Request{Profiles: []registry.Profile{a}})
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	require.ErrorContains(t, outcome.Logins[0].Err, "mirror.test")
	require.Zero(t, outcome.Secret)
}

// A shared is a provider whose credential is valid for every registry.
type shared struct{ providers.Provider }

func (shared) Scope(registry.Profile) string { return "everywhere" }

// A proof at one registry is no proof at another.
func TestCredentialIsProvenAtEachRegistry(t *testing.T) {
	r := harbor(t)
	p := newPipeline(hosts{"harbor.test": r, "other.test": &registrytest.Registry{Dialect: registrytest.Harbor()}})
	issuer := &counted{passwords: []string{"pw-a"}}
	p.Provider = shared{issuer.provider()}
	_, err := p.Credential(t.Context(), profile("a", "harbor.test", "robot-a", "ignored"))
	require.NoError(t, err)
	_, err = p.Credential(t.Context(), profile("b", "other.test", "robot-a", "ignored"))
	require.ErrorIs(t, err, registry.ErrUnauthorized)
}
