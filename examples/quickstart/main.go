// Quickstart runs all steps from a registry profile to a pull secret, and prints each. It needs only Go, because the
// registry, which requires a login, is in memory.
//
//	go run github.com/regcred/regcred/examples/quickstart
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(exitCode(err))
	}
}

// A usageError reports incorrect flags.
type usageError struct{ error }

func exitCode(err error) int {
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(out)
	reveal := flags.Bool("reveal", false, "show the content of the secret, with the password in it")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q: there are flags only", flags.Arg(0))}
	}
	say := func(format string, a ...any) { fmt.Fprintf(out, format+"\n", a...) }

	// A registry that behaves like Harbor. A real one would be remote.
	server, err := registrytest.Start(&registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "robot$shop", Password: credentials.NewSecret("s3cret"), Pull: []string{"shop/*"}}},
	})
	if err != nil {
		return err
	}
	defer server.Close()
	if _, err := server.Registry.Add("shop/web:1.4", registrytest.Image{}); err != nil {
		return err
	}
	say("1. A registry that requires a login listens on %s. It holds the image shop/web:1.4.", server.Host)

	profile := registry.Profile{
		Name:     "shop",
		Kind:     registry.Custom,
		Endpoint: server.Host,
		Login: credentials.Login{
			Username: "robot$shop",
			Password: credentials.NewSecret("s3cret"),
		},
		Transport: server.TransportConfig(), // It has its own certificates. Most profiles need no Transport.
	}
	say("\n2. The profile, as a user fills it in: %q, kind %s, endpoint %s, user %s, password %s.",
		profile.Name, profile.Kind, profile.Endpoint, profile.Login.Username, profile.Login.Password)

	var pipeline regcred.Pipeline

	say("\n3. Does the login work?")
	result, err := pipeline.CheckLogin(ctx, profile)
	if err != nil {
		return err
	}
	say("   Yes. The requests:")
	for _, exchange := range result.Attempts[0].Exchanges {
		say("   %s", exchange)
	}
	typo := profile
	typo.Login.Password = credentials.NewSecret("secret")
	_, err = pipeline.CheckLogin(ctx, typo)
	say("   And with a wrong password? Code %s:", string(registry.CodeOf(err)))
	say("   %v", err)

	request := regcred.Request{
		Name:      "shop-pull",
		Namespace: "shop",
		Profiles:  []registry.Profile{profile},
		Images:    []string{server.Host + "/shop/web:1.4", server.Host + "/shop/web:1.5"},
	}
	say("\n4. Can the images be pulled with it?")
	outcome, _ := pipeline.Run(ctx, request) // The error joins the errors in the results.
	for i, result := range outcome.Images {
		if result.Err == nil {
			say("   %s: yes, it is %s", request.Images[i], result.Digest)
			continue
		}
		say("   %s: no, code %s:", request.Images[i], string(registry.CodeOf(result.Err)))
		say("   %v", result.Err)
	}
	say("   There is no secret, because one image is not proven to pull.")

	say("\n5. Without the image that does not exist, there is one:")
	request.Images = request.Images[:1]
	outcome, err = pipeline.Run(ctx, request)
	if err != nil {
		return err
	}
	manifest, err := outcome.Secret.YAML()
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(manifest))
	if !*reveal {
		content := base64.StdEncoding.EncodeToString(outcome.Secret.Config.Reveal())
		text = strings.Replace(text, content, "[redacted]", 1)
	}
	say("%s", indent(text))
	say("   It has a login for %s.", strings.Join(outcome.Secret.Config.Keys(), ", "))
	if !*reveal {
		say("   To see the password in it: go run github.com/regcred/regcred/examples/quickstart -reveal")
	}
	return nil
}

func indent(text string) string {
	return "     " + strings.ReplaceAll(text, "\n", "\n     ")
}
