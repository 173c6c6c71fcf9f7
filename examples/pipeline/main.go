// Pipeline checks images with registry profiles, as a gate in CI, and prints a pull secret that can pull them:
//
//	helm template shop | go run ./examples/pipeline -profiles profiles.yaml -workload - -o none
//	go run ./examples/pipeline -profiles profiles.yaml -image ghcr.io/acme/shop:1.4 -namespace shop | kubectl apply -f -
//
// It fails closed: input without anything to check is an error. Run it with -h for all flags.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
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
	proven    = 0 // All logins work and all images can be pulled; the secret was printed.
	refuted   = 1 // At least one login or image failed; no secret was printed.
	badInput  = 2 // The flags or files are invalid, or there is nothing to check; no registry was called.
	uncertain = 3 // A registry did not respond, or is rate limiting; try again later.
)

const usage = `Usage: pipeline [-profiles FILE] [-docker-config FILE] [-image IMAGE]... [-workload FILE] [flags]

Checks that the logins work and that the images can be pulled with them, and prints the pull secret for kubectl apply -f -.
Results go to the standard error, the secret or the JSON report to the standard output. No secret is printed unless all is well.

Flags:
`

const more = `
A file of profiles, in YAML or JSON, may name variables and files in place of secrets (docs/profiles.md):

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

Exit codes: 0 all is well; 1 a login does not work, or an image cannot be pulled; 2 the flags or files are wrong, or there is
nothing to check; 3 a registry could not be asked.
`

// A command holds the flags.
type command struct {
	profiles, dockerConfig, workload string
	images                           []string
	platforms                        []validate.Platform
	deep, json, allowEmpty           bool
	secret                           pullsecret.Secret
	format                           string
	timeout                          time.Duration

	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       terminal
	roundTripper   http.RoundTripper // Set by tests.
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c := command{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, terminal: terminalOf(os.Stderr)}
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
	flags.StringVar(&c.dockerConfig, "docker-config", "", "a docker config `file` with logins for images that no profile serves; "+
		`"user" is the configuration of the user`)
	flags.Func("image", "an `image` to check, as in a workload; may be repeated", func(s string) error {
		c.images = append(c.images, s)
		return nil
	})
	flags.StringVar(&c.workload, "workload", "", "a `file` of Kubernetes manifests whose images are checked; - is the standard input")
	flags.Func("platform", "a `platform` of the nodes, such as linux/arm64; may be repeated", func(s string) error {
		p, err := validate.ParsePlatform(s)
		c.platforms = append(c.platforms, p)
		return err
	})
	flags.BoolVar(&c.deep, "deep", false, "check that the config and every layer can be read, too")
	flags.BoolVar(&c.json, "json", false, "print a report in JSON to the standard output, and no secret")
	flags.BoolVar(&c.allowEmpty, "allow-empty", false, "pass if -workload has no images")
	flags.StringVar(&c.secret.Name, "name", "regcred", "the name of the secret")
	flags.StringVar(&c.secret.Namespace, "namespace", "", "the namespace of the secret; empty leaves it to kubectl")
	flags.StringVar(&c.format, "o", "", "the `format` of the secret: yaml, json or none (default yaml, with -docker-config none)")
	flags.DurationVar(&c.timeout, "timeout", 5*time.Minute, "how long it may take in all")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if c.format == "" {
		c.format = "yaml"
		if c.dockerConfig != "" || c.json { // The logins of a person must not appear in the log of a job.
			c.format = "none"
		}
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q: images are named with -image", flags.Arg(0))
	case c.profiles == "" && c.dockerConfig == "":
		return errors.New("one of -profiles and -docker-config is required; -h lists the flags")
	case !slices.Contains([]string{"yaml", "json", "none"}, c.format):
		return fmt.Errorf("-o %s: the formats are yaml, json and none", c.format)
	case c.json && c.format != "none":
		return errors.New("-json and -o: the report and the secret cannot both go to the standard output")
	}
	return nil
}

func (c *command) run(ctx context.Context, args []string) int {
	if err := c.parse(args); errors.Is(err, flag.ErrHelp) {
		return proven
	} else if err != nil {
		return c.fail(err)
	}
	in, err := c.read()
	if err != nil {
		return c.fail(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("it took longer than -timeout %s", c.timeout))
	defer cancel()
	progress := c.progress(time.Now())
	pipeline := regcred.Pipeline{
		Provider: providers.Set{
			registry.DockerHub: dockerhub.Provider{},
			registry.Custom:    custom.Provider{},
			registry.ECR:       ecr.Provider{},
			registry.GCR:       gcr.Provider{},
			registry.System:    system.Provider{},
			dockerKind:         in.docker,
		},
		Checker: validate.Checker{
			Platforms: c.platforms, Deep: c.deep, Progress: progress.update, RoundTripper: c.roundTripper,
		},
	}
	outcome, err := pipeline.Run(ctx, regcred.Request{
		Name: c.secret.Name, Namespace: c.secret.Namespace, Profiles: in.profiles, Images: in.names(),
	})
	progress.clear()
	if err != nil && len(outcome.Logins)+len(outcome.Images) == 0 { // No registry was called.
		return c.fail(err)
	}
	report := newReport(in, outcome, err)
	if c.json {
		err := report.writeJSON(c.stdout)
		return cmp.Or(report.ExitCode, exitOf(err))
	}
	report.writeText(c.stderr, c.terminal)
	if report.ExitCode != proven || c.format == "none" {
		return report.ExitCode
	}
	return exitOf(c.print(outcome.Secret))
}

func (c *command) fail(err error) int {
	fmt.Fprintln(c.stderr, "pipeline:", err)
	return badInput
}

func exitOf(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "pipeline:", err)
		return refuted
	}
	return proven
}

func (c *command) print(secret pullsecret.Secret) error {
	manifest, err := secret.YAML()
	if c.format == "json" {
		manifest, err = secret.JSON()
	}
	if err == nil {
		_, err = c.stdout.Write(append(manifest, '\n'))
	}
	return err
}

func (c *command) readProfiles() ([]registry.Profile, error) {
	if c.profiles == "" {
		return nil, nil
	}
	return profilefile.Read(c.profiles)
}
