package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

func newProvider(t *testing.T, h http.Handler) (*Provider, registry.TransportConfig) {
	t.Helper()
	network, err := fakenet.New()
	require.NoError(t, err)
	t.Cleanup(network.Close)
	network.Handle("tokens.example.com", h)
	p := &Provider{URL: "https://tokens.example.com/v1/registry-token"}
	t.Cleanup(p.transports.CloseIdleConnections)
	return p, network.TransportConfig()
}

func profile(way registry.TransportConfig, name, team, key string) registry.Profile {
	return registry.Profile{
		Name: name, Kind: Kind, Endpoint: "registry.example.com/shop", Transport: way,
		Login: credentials.Login{Fields: map[string]credentials.Secret{"key": credentials.NewSecret(key)}, Settings: map[string]string{"team": team}},
	}
}

// behind returns the provider on a network of its own, whatever the transport of the profile.
type behind struct {
	*Provider
	way registry.TransportConfig
}

func (b behind) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	p.Transport = b.way
	return b.Provider.Credential(ctx, p)
}

func TestProvider(t *testing.T) {
	good, way := newProvider(t, service(http.StatusOK))
	failing, failingWay := newProvider(t, service(http.StatusForbidden))
	stalled, stalledWay := newProvider(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	noTeam := profile(way, "no-team", "", "key-of-the-shop")
	providerstest.TestProvider(t, providerstest.Fixture{
		Provider: good,
		Profiles: []registry.Profile{profile(way, "shop", "shop", "key-of-the-shop"), profile(way, "blog", "blog", "key-of-the-blog")},
		Invalid:  []registry.Profile{noTeam},
		Failing:  behind{failing, failingWay},
		Stalled:  behind{stalled, stalledWay},
	})
}

func TestCodes(t *testing.T) {
	for status, want := range map[int]registry.Code{
		401: registry.ErrUnauthorized, 403: registry.ErrDenied, 404: registry.ErrDenied, 429: registry.ErrRateLimited,
		500: registry.ErrUnavailable, 302: registry.ErrUnavailable,
	} {
		p, way := newProvider(t, service(status))
		_, err := p.Credential(t.Context(), profile(way, "shop", "shop", "key-of-the-shop"))
		require.ErrorIs(t, err, want)
		e, ok := errors.AsType[*registry.Error](err)
		require.True(t, ok)
		require.Equal(t, 30*time.Second, e.Wait)
	}
	p, way := newProvider(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hunter2")) }))
	_, err := p.Credential(t.Context(), profile(way, "shop", "shop", "key-of-the-shop"))
	require.ErrorIs(t, err, registry.ErrUnavailable)
	require.NotContains(t, err.Error(), "hunter2")
	p.URL = "https://gone.example.com/"
	_, err = p.Credential(t.Context(), profile(way, "shop", "shop", "key-of-the-shop"))
	require.ErrorIs(t, err, registry.ErrHostNotFound)
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Contains(t, out.String(), "The image can be pulled, with a token that is renewed at ")
	require.Contains(t, out.String(), "With another key: unauthorized. What to do: make a new key in the developer portal, under Registry keys.")
}

// The guide quotes this code exactly.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/provider.md")
	require.NoError(t, err)
	var code string
	for _, file := range []string{"provider.go", "main.go", "main_test.go"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		code += string(text)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(guide), -1)
	require.NotEmpty(t, blocks)
	for _, b := range blocks {
		for _, part := range strings.Split(b[1], "\t...\n") {
			require.Contains(t, code, part)
		}
	}
}
