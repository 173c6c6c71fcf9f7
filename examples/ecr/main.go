// Ecr turns a profile of AWS ECR into a pull secret and prints each step: the identity that requests the token, the
// token's expiry, and whether it pulls the images.
//
//	go run ./examples/ecr
//
// This command uses an AWS in memory and needs only Go. To use the real one, with the identity of this machine:
//
//	go run ./examples/ecr -cloud -image 123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/app:1.4 -out secret.yaml
//
// Run it with -h for all flags.
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
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

const usage = `Usage: ecr [-cloud -image IMAGE [-image IMAGE]...] [flags]

Gets a token of AWS ECR, checks that it pulls the images, and says what it does. Without -cloud, all of AWS is in memory.

With -cloud, the identity is the one that AWS's own tools would use here: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the
profile in AWS_PROFILE, the role of the pod or of the machine. It needs the permission ecr:GetAuthorizationToken, and for the
repositories ecr:BatchCheckLayerAvailability, ecr:GetDownloadUrlForLayer and ecr:BatchGetImage; see docs/ecr.md.

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ecr:", err)
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

type options struct {
	cloud  bool
	images []string
	roles  []credentials.AWSRole
	out    string
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("ecr", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprint(out, usage)
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.cloud, "cloud", false, "ask the real AWS")
	flags.Func("image", "with -cloud, an `IMAGE` of ECR to check; several must be in one region, in whatever accounts", func(s string) error {
		o.images = append(o.images, s)
		return nil
	})
	flags.Func("role", "with -cloud, the `ARN` of a role to assume, or ARN,EXTERNAL-ID; several are assumed one after the other", func(s string) error {
		arn, externalID, _ := strings.Cut(s, ",")
		o.roles = append(o.roles, credentials.AWSRole{ARN: arn, ExternalID: externalID})
		return nil
	})
	flags.StringVar(&o.out, "out", "", "write the pull secret to `FILE`, for kubectl apply -f FILE; it holds the token")
	err := flags.Parse(args)
	switch {
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("%q is no flag: images are named by -image", flags.Arg(0))
	case o.cloud && len(o.images) == 0:
		err = errors.New("-cloud needs an -image to check; -h says more")
	case !o.cloud && len(o.images)+len(o.roles) > 0:
		err = errors.New("-image and -role are for -cloud: the AWS in memory has its own")
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		err = usageError{err}
	}
	return o, err
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	if o.cloud {
		profile, err := cloudProfile(o)
		if err != nil {
			return err
		}
		return show(ctx, out, o, profile)
	}
	demo, err := startDemo()
	if err != nil {
		return err
	}
	defer demo.network.Close()
	fmt.Fprintln(out, "AWS is in memory: accounts 111111111111, 222222222222 and 333333333333. Try -h for the real one.")
	o.images = demo.images
	err = show(ctx, out, o, demo.profile)
	fmt.Fprintf(out, "\nWhat AWS was asked:\n")
	for _, call := range demo.aws.Calls() {
		fmt.Fprintf(out, "   %s by %s\n", call.Action, call.Principal)
	}
	if o.out == "" && errors.Is(err, registry.ErrDenied) {
		return nil // The third image, to which access is denied, belongs to the demonstration.
	}
	return err
}

// cloudProfile returns the profile for the images. The registry of the first image is the endpoint, and the registries
// of the other images are further hosts.
func cloudProfile(o options) (registry.Profile, error) {
	p := registry.Profile{Name: "ecr", Kind: registry.ECR, Login: credentials.Login{Ambient: true}}
	if len(o.roles) > 0 {
		p.Login = credentials.Login{AWS: &credentials.AWSLogin{Roles: o.roles}}
	}
	for _, name := range o.images {
		image, err := registry.ParseImage(name)
		if err != nil {
			return p, err
		}
		if p.Endpoint == "" {
			p.Endpoint = image.Host
		} else if image.Host != p.Endpoint {
			p.Hosts = append(p.Hosts, image.Host)
		}
	}
	return p, providers.Validate(ecr.Provider{}, p)
}

// show makes the steps of a program: credential, check, secret. A real program takes the credential from a
// credentials.Cache.
func show(ctx context.Context, out io.Writer, o options, profile registry.Profile) error {
	credential, err := ecr.Provider{}.Credential(ctx, profile)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nA token for %s, good until %s (%s).\n", profile.Endpoint, credential.ExpiresAt.Format(time.RFC3339),
		time.Until(credential.ExpiresAt).Round(time.Minute))

	var checker validate.Checker
	var failed []error
	for _, name := range o.images {
		image, err := registry.ParseImage(name)
		if err != nil {
			return err
		}
		result, err := checker.Image(ctx, image, validate.Candidate{Name: profile.Name, Source: credentials.Static(credential), Transport: profile.Transport})
		if err != nil {
			fmt.Fprintf(out, "   %s: no, code %q: %s\n", name, string(registry.CodeOf(err)), registry.HintOf(err))
			failed = append(failed, err)
			continue
		}
		fmt.Fprintf(out, "   %s: yes, it is %s\n", name, result.Digest)
	}
	config, err := pullsecret.Build(pullsecret.Entry{Profile: profile, Credential: credential})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "A pull secret with the token has a key for each of %s.\n", strings.Join(config.Keys(), ", "))
	if err := errors.Join(failed...); err != nil || o.out == "" {
		return err
	}
	manifest, err := pullsecret.Secret{Name: "ecr", Config: config}.YAML()
	if err != nil {
		return err
	}
	return os.WriteFile(o.out, manifest, 0o600)
}
