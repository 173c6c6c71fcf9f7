// Plugin is a kubelet's credential provider plugin whose credentials expire. It serves the profiles in a file, as
// examples/node does, and appends each image that it is called for to another file. For a profile named "broken" it fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/helper"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilefile"
)

func main() {
	profiles := flag.String("profiles", "", "`file` with the profiles")
	calls := flag.String("calls", "", "`file` for the endpoints of the profiles that are served")
	life := flag.Duration("life", 0, "lifetime of a credential")
	flag.Parse()
	if err := run(*profiles, *calls, *life); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(file, calls string, life time.Duration) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	profiles, err := profilefile.Decode(text, profilefile.Lookup{})
	if err != nil {
		return err
	}
	log, err := os.OpenFile(calls, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	h := &helper.Helper{Profiles: profiles, Provider: providers.Func(func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
		if _, err := fmt.Fprintln(log, p.Endpoint); err != nil {
			return credentials.Credential{}, err
		}
		if p.Name == "broken" {
			return credentials.Credential{}, &registry.Error{
				Op: "get credential", Ref: "from the issuer", Code: registry.ErrUnavailable, Hint: "start the issuer", Err: errors.New("it is down"),
			}
		}
		now := time.Now()
		return credentials.Credential{Username: p.Login.Username, Password: p.Login.Password, IssuedAt: now, ExpiresAt: now.Add(life)}, nil
	})}
	return h.Kubelet(context.Background(), os.Stdin, os.Stdout)
}
