// Probe compares a real registry with this module's fake of it, and makes a redacted capture of the registry's
// responses for a bug report:
//
//	go run ./examples/probe
//
// This command needs only Go, and probes a registry in memory. To probe a real one with a profile of a file:
//
//	go run ./examples/probe -profiles profiles.yaml -image registry.example.com/team/app:1.4 -o capture.json
//
// It only reads. The capture has no names, digests, tokens or hosts, and is shown before it is written. docs/probe.md
// describes what is sent and what is kept.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/acr"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilefile"
	"github.com/regcred/regcred/registry/registrytest/probe"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "probe:", err)
		if hint := registry.HintOf(err); hint != "" {
			fmt.Fprintln(os.Stderr, "hint:", hint)
		}
		os.Exit(exitCode(err))
	}
}

// A usageError reports an incorrect command line.
type usageError struct{ error }

func exitCode(err error) int {
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

// options are the flags.
type options struct {
	profiles, profile, image, other, public string
	dialect, software, wrongLogin           string
	output                                  string
	yes, wording                            bool
}

func run(ctx context.Context, args []string, in io.Reader, out, log io.Writer) error {
	var o options
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.StringVar(&o.profiles, "profiles", "", "`file` with the profiles (YAML or JSON); empty probes a registry in memory")
	flags.StringVar(&o.profile, "profile", "", "`name` of the profile; empty means the first one that serves the image")
	flags.StringVar(&o.image, "image", "", "`image` with a tag that the profile may pull")
	flags.StringVar(&o.other, "other", "", "`image` of another owner that the profile may not pull; empty skips it")
	flags.StringVar(&o.public, "public", "", "`image` of the same registry that needs no login; empty skips it")
	flags.StringVar(&o.dialect, "dialect", "", "`name` of the fake to compare with; empty means the one of the host, or else the nearest one")
	flags.StringVar(&o.software, "software", "", "`product` and version of the registry for the capture: \"Harbor 2.11\"")
	flags.StringVar(&o.wrongLogin, "wrong-login", "auto", "send the user name once with a wrong password: auto, never or always; auto does not if the vendor locks users")
	flags.StringVar(&o.output, "o", "", "`file` for the capture; empty writes none")
	flags.BoolVar(&o.yes, "yes", false, "write the capture without a question")
	flags.BoolVar(&o.wording, "wording", false, "print differences in wording too")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q: there are flags only", flags.Arg(0))}
	}
	target, host, close, err := o.target(ctx, out)
	if err != nil {
		return err
	}
	defer close()
	return o.probe(ctx, target, host, in, out)
}

// policies are the values of -wrong-login.
var policies = map[string]probe.WrongLoginPolicy{
	"auto": probe.WrongLoginIfHarmless, "never": probe.WrongLoginNever, "always": probe.WrongLoginAlways,
}

// target returns the target to probe, and the registry's host, which selects the dialect.
func (o *options) target(ctx context.Context, out io.Writer) (t probe.Target, host string, close func(), err error) {
	close = func() {}
	if _, ok := policies[o.wrongLogin]; !ok {
		return t, "", close, usageError{fmt.Errorf("-wrong-login is %q: use auto, never or always", o.wrongLogin)}
	}
	if o.dialect != "" {
		if _, ok := probe.DialectNamed(o.dialect); !ok {
			return t, "", close, usageError{fmt.Errorf("there is no dialect %q: docs/probe.md lists them", o.dialect)}
		}
	}
	if o.profiles == "" {
		if o.image != "" {
			return t, "", close, usageError{errors.New("-image needs -profiles")}
		}
		return demo(out)
	}
	for _, part := range []struct {
		flag, name string
		image      *registry.Image
	}{{"-image", o.image, &t.Image}, {"-other", o.other, &t.Other}, {"-public", o.public, &t.Public}} {
		if part.name == "" {
			continue
		}
		if *part.image, err = registry.ParseImage(part.name); err != nil {
			return t, "", close, usageError{fmt.Errorf("%s: %w", part.flag, err)}
		}
	}
	if t.Image.Tag == "" {
		return t, "", close, usageError{errors.New("-image needs an image with a tag")}
	}
	all, err := profilefile.Read(o.profiles)
	if err != nil {
		return t, "", close, err
	}
	p, err := o.choose(registry.Serving(all, t.Image))
	if err != nil {
		return t, "", close, err
	}
	if err := p.Validate(); err != nil {
		return t, "", close, err
	}
	t.Transport = p.Transport
	t.Credential, err = newProvider().Credential(ctx, p)
	return t, t.Image.Host, close, err
}

// choose returns the profile of that name.
func (o *options) choose(serving []registry.Profile) (registry.Profile, error) {
	for _, p := range serving {
		if o.profile == "" || o.profile == p.Name {
			return p, nil
		}
	}
	return registry.Profile{}, usageError{errors.New("no profile of that name serves the image: see -profiles and -profile")}
}

func newProvider() providers.Provider {
	return providers.Set{
		registry.DockerHub: dockerhub.Provider{}, registry.Custom: custom.Provider{}, registry.System: system.Provider{},
		registry.ECR: ecr.Provider{}, registry.GCR: gcr.Provider{}, registry.ACR: acr.Provider{},
	}
}

// probe probes the registry, prints the differences, and writes the capture. It prints no names.
func (o *options) probe(ctx context.Context, t probe.Target, host string, in io.Reader, out io.Writer) error {
	p := probe.Probe{WrongLogin: policies[o.wrongLogin]}
	c, err := p.Run(ctx, t)
	if err != nil {
		return err
	}
	c.Software = o.software
	comparison, err := o.compare(ctx, c, host)
	if err != nil {
		return err
	}
	c.Dialect = comparison.Dialect
	o.report(out, c, comparison)
	if o.output == "" {
		return nil
	}
	text, err := c.Encode()
	if err != nil {
		return err
	}
	if _, err := probe.Decode(text); err != nil {
		return err // The software, or a text that is not redacted.
	}
	fmt.Fprintf(out, "\nThe capture:\n%s", text)
	if !o.yes && !confirm(in, out) {
		fmt.Fprintln(out, "Nothing was written.")
		return nil
	}
	if err := os.WriteFile(o.output, text, 0o600); err != nil {
		return err
	}
	fmt.Fprintln(out, "The capture was written. It can be attached to a bug report.")
	return nil
}

func (o *options) compare(ctx context.Context, c probe.Capture, host string) (probe.Comparison, error) {
	d, ok := probe.DialectOf(host)
	if o.dialect != "" {
		d, ok = probe.DialectNamed(o.dialect)
	}
	if !ok {
		return c.Nearest(ctx)
	}
	return c.Compare(ctx, d)
}

func (o *options) report(out io.Writer, c probe.Capture, comparison probe.Comparison) {
	fmt.Fprintf(out, "Compared %d responses with the fake of the dialect %s.\n", comparison.Compared, comparison.Dialect)
	if len(comparison.Assumed) > 0 {
		fmt.Fprintf(out, "Assumed: %s.\n", strings.Join(comparison.Assumed, "; "))
	}
	for _, s := range c.Skipped {
		fmt.Fprintf(out, "Not sent: %s (%s): %s.\n", s.Question, s.Login, s.Why)
	}
	relevant := comparison.Relevant()
	if len(relevant) == 0 {
		fmt.Fprintln(out, "No differences.")
	}
	for _, d := range relevant {
		fmt.Fprintf(out, "- %s\n", d)
	}
	wording := len(comparison.Differences) - len(relevant)
	if !o.wording && wording > 0 {
		fmt.Fprintf(out, "And %s in wording only; -wording prints them.\n", count(wording, "difference"))
	}
	for _, d := range comparison.Differences {
		if o.wording && d.Wording {
			fmt.Fprintf(out, "- in wording: %s\n", d)
		}
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// confirm asks whether to write the capture.
func confirm(in io.Reader, out io.Writer) bool {
	fmt.Fprint(out, "\nWrite it? [y/N] ")
	answer, _ := bufio.NewReader(in).ReadString('\n')
	fmt.Fprintln(out)
	return strings.EqualFold(cmp.Or(strings.TrimSpace(answer), "n"), "y")
}
