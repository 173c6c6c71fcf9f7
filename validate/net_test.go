package validate_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// start serves a registry on loopback until the test ends.
func start(t testing.TB, r *registrytest.Registry) *registrytest.Server {
	t.Helper()
	s, err := registrytest.Start(r)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// add puts images into a registry and returns the digest of the last one.
func add(t testing.TB, r *registrytest.Registry, image registrytest.Image, names ...string) string {
	t.Helper()
	var digest string
	for _, name := range names {
		var err error
		digest, err = r.Add(name, image)
		require.NoError(t, err)
	}
	return digest
}

// user is an account that may pull from the repositories.
func user(name, password string, pull ...string) registrytest.Account {
	return registrytest.Account{Username: name, Password: credentials.NewSecret(password), Pull: pull}
}

// newRegistry returns a registry that speaks the dialect and has the accounts.
func newRegistry(d registrytest.Dialect, accounts ...registrytest.Account) *registrytest.Registry {
	return &registrytest.Registry{Dialect: d, Accounts: accounts}
}

// as returns the candidate that logs in as the user with the default transport.
func as(name, password string) validate.Candidate {
	return validate.Candidate{Name: name, Source: source(name, password)}
}

// login returns the candidate that logs in at the server as the user.
func login(s *registrytest.Server, name, password string) validate.Candidate {
	return validate.Candidate{Name: name, Source: source(name, password), Transport: s.TransportConfig()}
}

func source(name, password string) credentials.Source {
	return credentials.Static(credentials.Credential{Username: name, Password: credentials.NewSecret(password)})
}

func image(t testing.TB, name string) registry.Image {
	t.Helper()
	i, err := registry.ParseImage(name)
	require.NoError(t, err)
	return i
}

func endpoint(t testing.TB, host string) registry.Endpoint {
	t.Helper()
	e, err := registry.ParseEndpoint(host)
	require.NoError(t, err)
	return e
}

// steps returns the requests of an attempt in short form: "ping 401".
func steps(a validate.Attempt) []string {
	var all []string
	for _, e := range a.Exchanges {
		all = append(all, e.String())
	}
	return all
}
