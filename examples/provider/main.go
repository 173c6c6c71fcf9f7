// Provider shows how to write your own provider: the token service of a company issues the credential for a registry.
// The service and the registry are in memory:
//
//	go run ./examples/provider
//
// docs/provider.md explains it step by step.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintf(os.Stderr, "provider: unexpected argument %q\n", os.Args[1])
		os.Exit(2)
	}
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "provider:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	network, err := fakenet.New()
	if err != nil {
		return err
	}
	defer network.Close()
	harbor := &registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "issued", Password: credentials.NewSecret("token-of-an-hour"), Pull: []string{"shop/*"}}},
	}
	if _, err := harbor.Add("shop/web:1.4", registrytest.Image{}); err != nil {
		return err
	}
	network.HandleRegistry("registry.example.com", harbor)
	network.Handle("tokens.example.com", service(http.StatusOK))

	pipeline := &regcred.Pipeline{Provider: providers.Set{Kind: &Provider{URL: "https://tokens.example.com/v1/registry-token"}}}
	profile := registry.Profile{
		Name: "shop", Kind: Kind, Endpoint: "registry.example.com/shop", Transport: network.TransportConfig(),
		Login: credentials.Login{
			Fields:   map[string]credentials.Secret{"key": credentials.NewSecret("key-of-the-shop")},
			Settings: map[string]string{"team": "shop"},
		},
	}
	outcome, err := pipeline.Run(ctx, regcred.Request{Profiles: []registry.Profile{profile}, Images: []string{"registry.example.com/shop/web:1.4"}})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The image can be pulled, with a token that is renewed at %s and expires at %s.\n",
		outcome.RenewAt.UTC().Format(time.TimeOnly), outcome.ExpiresAt.UTC().Format(time.TimeOnly))

	profile.Login.Fields = map[string]credentials.Secret{"key": credentials.NewSecret("key-of-somebody")}
	_, err = pipeline.CheckLogin(ctx, profile)
	fmt.Fprintf(out, "With another key: %s. What to do: %s.\n", registry.CodeOf(err), registry.HintOf(err))
	return nil
}

// service returns the token service. It responds with 401 to an unknown key, and otherwise with the status.
func service(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var question struct{ Team, Registry string }
		err := json.NewDecoder(r.Body).Decode(&question)
		switch {
		case err != nil || r.Method != http.MethodPost:
			status = http.StatusBadRequest
		case strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") != "key-of-the-"+question.Team:
			status = http.StatusUnauthorized
		}
		if status != http.StatusOK {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(status)
			return
		}
		expires := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		fmt.Fprintf(w, `{"username": "issued", "token": "token-of-an-hour", "expiresAt": %q}`, expires)
	})
}
