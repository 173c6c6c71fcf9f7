// Custom shows how the responses of registries differ when they deny access. It makes the same four requests to each
// kind of registry that a Docker client can use, in memory, and prints how to fix each error.
//
//	go run ./examples/custom
//
// This command needs only Go. To check an image of a real registry:
//
//	REGISTRY_PASSWORD=... go run ./examples/custom -registry quay.io -user acme+robot -image quay.io/acme/app:1.4
package main

import (
	"context"
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
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "custom:", err)
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

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	flags := flag.NewFlagSet("custom", flag.ContinueOnError)
	flags.SetOutput(out)
	endpoint := flags.String("registry", "", "a real registry's `HOST`, optionally with a port or a path; empty means those in memory")
	user := flags.String("user", "", "with -registry, the user or robot `NAME`; the password is in REGISTRY_PASSWORD; empty means without a login")
	image := flags.String("image", "", "with -registry, the `IMAGE` to check")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q: there are flags only", flags.Arg(0))}
	}
	if *endpoint == "" {
		return showAll(ctx, out)
	}
	p := registry.Profile{Name: "custom", Kind: registry.Custom, Endpoint: *endpoint, Login: credentials.Login{Anonymous: true}}
	if *user != "" {
		p.Login = credentials.Login{Username: *user, Password: credentials.NewSecret(env("REGISTRY_PASSWORD"))}
	}
	return ask(ctx, out, p, *image)
}

// ask prints whether the image can be pulled, and returns the error if it cannot.
func ask(ctx context.Context, out io.Writer, p registry.Profile, image string) error {
	var pipeline regcred.Pipeline
	outcome, err := pipeline.Run(ctx, regcred.Request{Profiles: []registry.Profile{p}, Images: []string{image}})
	if err != nil {
		fmt.Fprintf(out, "no, code %s", string(registry.CodeOf(err)))
		if hint := registry.HintOf(err); hint != "" {
			fmt.Fprintf(out, ": %s", hint)
		}
		fmt.Fprintln(out)
		return err
	}
	fmt.Fprintf(out, "yes, it is %s\n", outcome.Images[0].Digest)
	return nil
}

// showAll checks images of the registries in memory that have profiles of kind custom.
func showAll(ctx context.Context, out io.Writer) error {
	for _, dialect := range registrytest.Dialects() {
		if strings.HasPrefix(dialect.Name, "ecr") || dialect.Name == "dockerhub" || dialect.Name == "gcr" || dialect.Name == "gar" {
			continue // They have their own providers.
		}
		if err := show(ctx, out, dialect); err != nil {
			return err
		}
	}
	return nil
}

func show(ctx context.Context, out io.Writer, dialect registrytest.Dialect) error {
	r := &registrytest.Registry{
		Dialect:  dialect,
		Accounts: []registrytest.Account{{Username: "robot", Password: credentials.NewSecret("s3cret"), Pull: []string{"team/*"}}},
	}
	host, transport, stop, err := serve(r)
	if err != nil {
		return err
	}
	defer stop()
	for _, name := range []string{"team/app:1", "other/app:1"} {
		if _, err := r.Add(name, registrytest.Image{}); err != nil {
			return err
		}
	}
	right := registry.Profile{
		Name: dialect.Name, Kind: registry.Custom, Endpoint: host, Transport: transport,
		Login: credentials.Login{Username: "robot", Password: credentials.NewSecret("s3cret")},
	}
	wrong := right
	wrong.Login.Password = credentials.NewSecret("secret")
	fmt.Fprintf(out, "%s\n", dialect.Name)
	for _, question := range []struct {
		what    string
		profile registry.Profile
		image   string
	}{
		{"all is right", right, "/team/app:1"},
		{"wrong password", wrong, "/team/app:1"},
		{"no such tag", right, "/team/app:2"},
		{"no permission", right, "/other/app:1"},
	} {
		fmt.Fprintf(out, "   %-15s ", question.what+":")
		_ = ask(ctx, out, question.profile, host+question.image) // It has printed the error.
	}
	return nil
}

// serve starts the registry, GHCR under its real name: the check knows GHCR by its host only, and interprets its
// ambiguous responses accordingly.
func serve(r *registrytest.Registry) (host string, transport registry.TransportConfig, stop func(), err error) {
	if r.Dialect.Name == "ghcr" {
		network, err := fakenet.New()
		if err != nil {
			return "", registry.TransportConfig{}, nil, err
		}
		network.HandleRegistry("ghcr.io", r)
		return "ghcr.io", network.TransportConfig(), network.Close, nil
	}
	server, err := registrytest.Start(r)
	if err != nil {
		return "", registry.TransportConfig{}, nil, err
	}
	return server.Host, server.TransportConfig(), server.Close, nil
}
