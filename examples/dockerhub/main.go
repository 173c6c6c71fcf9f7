// Dockerhub checks images of Docker Hub and prints each step: public images without a login, private images with an
// access token, and the number of pulls left.
//
//	go run ./examples/dockerhub
//
// This command uses a Docker Hub in memory and needs only Go. To use the real one:
//
//	DOCKERHUB_TOKEN=dckr_pat_... go run ./examples/dockerhub -cloud -user acmebot -image acme/app:1.4
//
// Without -user it sends no login.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

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
		fmt.Fprintln(os.Stderr, "dockerhub:", err)
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
	flags := flag.NewFlagSet("dockerhub", flag.ContinueOnError)
	flags.SetOutput(out)
	cloud := flags.Bool("cloud", false, "ask the real Docker Hub")
	user := flags.String("user", "", "with -cloud, the Docker ID or organization `NAME`; its token is in DOCKERHUB_TOKEN")
	var images []string
	flags.Func("image", "with -cloud, an `IMAGE` to check", func(s string) error { images = append(images, s); return nil })
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q: there are flags only", flags.Arg(0))}
	}
	if *cloud {
		return check(ctx, out, profile("hub", *user, env("DOCKERHUB_TOKEN")), images...)
	}

	network, err := startDockerHub()
	if err != nil {
		return err
	}
	defer network.Close()
	fmt.Fprintln(out, "Docker Hub is in memory. Try -h for the real one.")
	for _, p := range []registry.Profile{
		profile("anonymous", "", ""),
		profile("bot", "acmebot", "dckr_pat_demo"),
		profile("typing-mistake", "acmebot", "dckr_pat_dmeo"),
	} {
		p.Transport = network.TransportConfig() // For the Docker Hub in memory. Most profiles need no Transport.
		// The images that the login may not see belong to the demonstration; check has printed their errors.
		_ = check(ctx, out, p, "nginx", "acme/app:1.4", "acme/gone:1")
	}
	return nil
}

// profile returns the profile that a user fills in. Anonymous access is explicit, because a missing login counts as a
// mistake.
func profile(name, user, token string) registry.Profile {
	login := credentials.Login{Username: user, Password: credentials.NewSecret(token)}
	if user == "" {
		login = credentials.Login{Anonymous: true}
	}
	return registry.Profile{Name: name, Kind: registry.DockerHub, Login: login}
}

func check(ctx context.Context, out io.Writer, p registry.Profile, images ...string) error {
	var pipeline regcred.Pipeline
	fmt.Fprintf(out, "\nProfile %q:\n", p.Name)
	outcome, err := pipeline.Run(ctx, regcred.Request{Profiles: []registry.Profile{p}, Images: images})
	if len(outcome.Logins) == 0 {
		return err
	}
	if err := outcome.Logins[0].Err; err != nil {
		fmt.Fprintf(out, "   login: %v\n", err)
		return err
	}
	for i, result := range outcome.Images {
		if result.Err != nil {
			fmt.Fprintf(out, "   %s: no, code %s: %s\n", images[i], string(registry.CodeOf(result.Err)), registry.HintOf(result.Err))
			continue
		}
		fmt.Fprintf(out, "   %s: yes, it is %s; %s\n", images[i], result.Digest, result.RateLimit)
	}
	return err
}

// startDockerHub starts a Docker Hub in memory, under the real host names.
func startDockerHub() (*fakenet.Network, error) {
	hub := &registrytest.Registry{
		Dialect:   registrytest.DockerHub(),
		TokenHost: "auth.docker.io",
		Public:    []string{"library/*"},
		Accounts: []registrytest.Account{
			{Username: "acmebot", Password: credentials.NewSecret("dckr_pat_demo"), Pull: []string{"acme/*"}},
		},
		RateLimit: registrytest.RateLimit{Limit: 100, Window: 6 * time.Hour},
	}
	for _, name := range []string{"library/nginx:latest", "acme/app:1.4"} {
		if _, err := hub.Add(name, registrytest.Image{}); err != nil {
			return nil, err
		}
	}
	network, err := fakenet.New()
	if err != nil {
		return nil, err
	}
	for _, host := range []string{"registry-1.docker.io", "index.docker.io", "auth.docker.io"} {
		network.Handle(host, hub)
	}
	return network, nil
}
