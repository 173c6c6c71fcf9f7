package providers_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// profileWith returns a profile that is valid except for problems of the login.
func profileWith(login credentials.Login) registry.Profile {
	return registry.Profile{Name: "a", Kind: "harbor", Endpoint: "registry.example.com", Login: login}
}

func user(name, password string) credentials.Login {
	return credentials.Login{Username: name, Password: credentials.NewSecret(password)}
}

func TestStaticHandsOutTheLogin(t *testing.T) {
	until := time.Now().Add(time.Hour)
	expiring := user("robot$ci", "s3cret")
	expiring.ExpiresAt = until
	tests := map[string]struct {
		login credentials.Login
		want  credentials.Credential
	}{
		"anonymous": {
			credentials.Login{Anonymous: true},
			credentials.Credential{Anonymous: true},
		},
		"user": {
			user("robot$ci", "s3cret"),
			credentials.Credential{Username: "robot$ci", Password: credentials.NewSecret("s3cret")},
		},
		"user with expiry": {
			expiring,
			credentials.Credential{Username: "robot$ci", Password: credentials.NewSecret("s3cret"), ExpiresAt: until},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := providers.Static{}.Credential(t.Context(), profileWith(test.login))
			require.NoError(t, err)
			require.True(t, got.Equal(test.want), "got %v", got)
		})
	}
}

func TestStaticRefusesLoginsOfClouds(t *testing.T) {
	tests := map[string]credentials.Login{
		"has the form ambient":   {Ambient: true},
		"has the form aws":       {AWS: &credentials.AWSLogin{}},
		"has the form google":    {Google: &credentials.GoogleLogin{}},
		"has the form azure":     {Azure: &credentials.AzureLogin{ManagedIdentity: true}},
		"has the form federated": {Federated: &credentials.FederatedLogin{Subject: credentials.Subject{File: "/a"}, Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}}}},
		"has the form fields":    {Fields: map[string]credentials.Secret{"a": credentials.NewSecret("b")}},
	}
	for problem, login := range tests {
		t.Run(problem, func(t *testing.T) {
			_, err := providers.Static{}.Credential(t.Context(), profileWith(login))
			require.ErrorIs(t, err, registry.ErrInvalid)
			require.ErrorContains(t, err, `profile "a": login `+problem)
		})
	}
}

func TestStaticEndsWithTheLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		login := user("u", "p")
		login.ExpiresAt = time.Now().Add(time.Minute)
		time.Sleep(time.Minute - time.Nanosecond)
		_, err := providers.Static{}.Credential(t.Context(), profileWith(login))
		require.NoError(t, err)
		time.Sleep(time.Nanosecond)
		c, err := providers.Static{}.Credential(t.Context(), profileWith(login))
		require.ErrorIs(t, err, registry.ErrExpired)
		require.ErrorIs(t, err, credentials.ErrCredentialExpired)
		require.Zero(t, c)
	})
}

func TestStaticAddsWhatCheckFinds(t *testing.T) {
	s := providers.Static{Check: func(_ registry.Profile, problems *field.List) {
		problems.Add("endpoint", "is closed", "another one")
	}}
	_, err := s.Credential(t.Context(), profileWith(user("u", "p")))
	require.ErrorContains(t, err, "endpoint is closed: expected another one")
}

func TestStaticLeavesWithItsCaller(t *testing.T) {
	cause := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err := providers.Static{}.Credential(ctx, profileWith(user("u", "p")))
	require.ErrorIs(t, err, cause)
	require.ErrorIs(t, err, registry.ErrCanceled)
}

func TestStaticRejectsSettings(t *testing.T) {
	p := profile(func(p *registry.Profile) { p.Login.Settings = map[string]string{"team": "shop"} })
	require.ErrorContains(t, providers.Validate(providers.Static{}, p), "login.settings is set")
}
