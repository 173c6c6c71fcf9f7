// Gcr turns a profile of Google Artifact Registry, or of gcr.io, into a pull secret and prints each step: the password
// that the registry gets, its expiry, and whether it pulls the images.
//
//	go run ./examples/gcr
//
// This command uses a Google Cloud in memory and needs only Go. To use the real one:
//
//	go run ./examples/gcr -cloud -key key.json -token -image europe-docker.pkg.dev/project/repository/app:1.4 -out secret.yaml
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
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

const usage = `Usage: gcr [-cloud -image IMAGE [-image IMAGE]...] [flags]

Gets a credential for Google's registries, checks that it pulls the images, and says what it does. Without -cloud, all of
Google Cloud is in memory.

With -cloud, the identity is the service account whose key is in the file that -key names; or else the one that Google's own
tools would use here: GOOGLE_APPLICATION_CREDENTIALS, what gcloud auth application-default login wrote, the service account of
the machine or pod. It needs the role roles/artifactregistry.reader on the repositories; see docs/gcr.md.

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
		fmt.Fprintln(os.Stderr, "gcr:", err)
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
	cloud       bool
	key         string
	token       bool
	impersonate string
	images      []string
	out         string
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("gcr", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprint(out, usage)
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.cloud, "cloud", false, "ask the real Google Cloud")
	flags.StringVar(&o.key, "key", "", "with -cloud, the `FILE` with the key of a service account; none means the identity of this machine")
	flags.BoolVar(&o.token, "token", false, "with -key, put an access token of an hour into the secret, and not the key itself")
	flags.StringVar(&o.impersonate, "impersonate", "", "with -cloud, the `ADDRESS` of a service account to impersonate")
	flags.Func("image", "with -cloud, an `IMAGE` to check; several may be on any hosts of Google's", func(s string) error {
		o.images = append(o.images, s)
		return nil
	})
	flags.StringVar(&o.out, "out", "", "write the pull secret to `FILE`, for kubectl apply -f FILE; it holds the key or token")
	err := flags.Parse(args)
	switch {
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("%q is no flag: images are named by -image", flags.Arg(0))
	case o.cloud && len(o.images) == 0:
		err = errors.New("-cloud needs an -image to check; -h says more")
	case !o.cloud && (len(o.images) > 0 || o.key != "" || o.impersonate != ""):
		err = errors.New("-image, -key and -impersonate are for -cloud: the Google Cloud in memory has its own")
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
	return runDemo(ctx, out, o)
}

// cloudProfile returns the profile for the images. The registry of the first image is the endpoint, and the registries
// of the other images are further hosts.
func cloudProfile(o options) (registry.Profile, error) {
	login := &credentials.GoogleLogin{AccessToken: o.token, Impersonate: o.impersonate}
	p := registry.Profile{Name: "gcr", Kind: registry.GCR, Login: credentials.Login{Google: login}}
	if o.key != "" {
		key, err := os.ReadFile(o.key)
		if err != nil {
			return p, err
		}
		login.Credentials = credentials.NewSecret(string(key))
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
	return p, providers.Validate(gcr.Provider{}, p)
}

// show makes the steps of a program: credential, check, secret. A real program takes the credential from a
// credentials.Cache.
func show(ctx context.Context, out io.Writer, o options, profile registry.Profile) error {
	credential, err := gcr.Provider{}.Credential(ctx, profile)
	if err != nil {
		return err
	}
	end := "without an end: it is the key itself"
	if !credential.ExpiresAt.IsZero() {
		end = fmt.Sprintf("good until %s (%s)", credential.ExpiresAt.Format(time.RFC3339), time.Until(credential.ExpiresAt).Round(time.Minute))
	}
	fmt.Fprintf(out, "\nA password for user %s at %s, %s.\n", credential.Username, profile.Endpoint, end)

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
	fmt.Fprintf(out, "A pull secret with it has a key for each of %s.\n", strings.Join(config.Keys(), ", "))
	if err := errors.Join(failed...); err != nil || o.out == "" {
		return err
	}
	manifest, err := pullsecret.Secret{Name: "gcr", Config: config}.YAML()
	if err != nil {
		return err
	}
	return os.WriteFile(o.out, manifest, 0o600)
}
