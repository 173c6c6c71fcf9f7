// Pipeline checks images with registry profiles, and prints the pull secret that they can be pulled with:
//
//	go run ./examples/pipeline -profiles profiles.yaml -image ghcr.io/acme/shop:1.4 -namespace shop | kubectl apply -f -
//
// Run it with -h for all it can do.
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
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilefile"
	"github.com/regcred/regcred/validate"
)

// The exit codes, for scripts.
const (
	proven    = 0 // All logins work, all images can be pulled; the secret was printed.
	refuted   = 1 // At least one does not; nothing was printed.
	badInput  = 2 // The flags or files are wrong; nobody was asked.
	uncertain = 3 // A registry could not be asked, or wants to be left alone; try again later.
)

const usage = `Usage: pipeline -profiles FILE [-image IMAGE]... [-workload FILE] [flags]

Checks that the logins in FILE work and that the images can be pulled with them, and prints the pull secret for kubectl apply -f -.
What was found out goes to the standard error, the secret to the standard output. Nothing is printed there unless all is well.

Flags:
`

const more = `
A file of profiles, in YAML or JSON. Passwords may stand in it, or in an environment variable or a file that it names:

  - name: hub
    kind: dockerhub
    login: {username: acme, password: {env: DOCKERHUB_TOKEN}}
  - name: shop
    kind: custom                # Quay, Harbor, Nexus, Artifactory, GHCR, GitLab, ...
    endpoint: registry.example.com:5000/shop
    login: {username: robot, password: {file: robot.password}}
    transport: {caBundle: {file: ca.pem}}
  - name: aws
    kind: ecr
    endpoint: 123456789012.dkr.ecr.eu-central-1.amazonaws.com
    login: {ambient: true}      # The identity of this process.

Exit codes: 0 all is well; 1 a login does not work, or an image cannot be pulled; 2 the flags or files are wrong; 3 a registry could not be asked.
`

// A command is what the flags say.
type command struct {
	profiles, workload string
	images             []string
	secret             pullsecret.Secret
	format             string
	timeout            time.Duration
	stdin              io.Reader
	stdout, stderr     io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c := command{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(c.run(ctx, os.Args[1:]))
}

func (c *command) parse(args []string) error {
	flags := flag.NewFlagSet("pipeline", flag.ContinueOnError)
	flags.SetOutput(c.stderr)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
		fmt.Fprint(flags.Output(), more)
	}
	flags.StringVar(&c.profiles, "profiles", "", "the `file` of registry profiles, YAML or JSON")
	flags.Func("image", "an `image` to check, as it stands in a workload; may be repeated", func(s string) error {
		c.images = append(c.images, s)
		return nil
	})
	flags.StringVar(&c.workload, "workload", "", "a `file` of Kubernetes manifests whose images are checked; - is the standard input")
	flags.StringVar(&c.secret.Name, "name", "regcred", "the name of the secret")
	flags.StringVar(&c.secret.Namespace, "namespace", "", "the namespace of the secret; empty leaves it to kubectl")
	flags.StringVar(&c.format, "o", "yaml", "the format of the secret: yaml or json")
	flags.DurationVar(&c.timeout, "timeout", 5*time.Minute, "how long it may take in all")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q: images are named with -image", flags.Arg(0))
	case c.profiles == "":
		return errors.New("-profiles is missing; -h tells what it holds")
	case c.format != "yaml" && c.format != "json":
		return fmt.Errorf("-o %s: the formats are yaml and json", c.format)
	}
	return nil
}

func (c *command) run(ctx context.Context, args []string) int {
	if err := c.parse(args); errors.Is(err, flag.ErrHelp) {
		return proven
	} else if err != nil {
		fmt.Fprintln(c.stderr, "pipeline:", err)
		return badInput
	}
	request, err := c.request()
	if err != nil {
		fmt.Fprintln(c.stderr, "pipeline:", err)
		return badInput
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("it took longer than -timeout %s", c.timeout))
	defer cancel()
	pipeline := regcred.Pipeline{
		Provider: providers.Set{
			registry.DockerHub: dockerhub.Provider{},
			registry.Custom:    custom.Provider{},
			registry.ECR:       ecr.Provider{},
			registry.GCR:       gcr.Provider{},
			registry.System:    system.Provider{},
		},
		Checker: validate.Checker{Progress: c.progress(time.Now())},
	}
	outcome, err := pipeline.Run(ctx, request)
	c.report(request, outcome)
	if err != nil {
		return c.exitCode(outcome, err)
	}
	return c.print(outcome.Secret)
}

func (c *command) request() (regcred.Request, error) {
	profiles, err := profilefile.Read(c.profiles)
	if err != nil {
		return regcred.Request{}, err
	}
	images, err := c.workloadImages()
	if err != nil {
		return regcred.Request{}, err
	}
	return regcred.Request{
		Name: c.secret.Name, Namespace: c.secret.Namespace,
		Profiles: profiles,
		Images:   append(c.images, images...),
	}, nil
}
