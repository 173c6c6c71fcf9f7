// Node serves the credentials of registry profiles on a node and at a terminal. It is one small program, whose name
// selects its function:
//
//	regcred-credential-provider   a kubelet's credential provider plugin
//	docker-credential-regcred     a credential helper of docker, podman, skopeo, BuildKit and ORAS
//
// Under any other name it takes a command:
//
//	node kubelet-config   print the kubelet's CredentialProviderConfig for the profiles
//	node audience-role    print the ClusterRole that lets nodes request tokens for the profiles' audiences
//	node demo             show both protocols with built-in profiles; the default
//
// docs/node.md has the steps to install it. Docker Hub, custom, System and Azure registries are built in; build it
// with -tags ecr,gcr for the other clouds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/helper"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/acr"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilefile"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	program := filepath.Base(os.Args[0])
	err := run(ctx, program, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, program+":", err)
		os.Exit(2)
	case program == dockerName: // docker reads errors from standard output.
		fmt.Println(err)
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, program+":", err)
		os.Exit(1)
	}
}

// A usageError reports an incorrect command line.
type usageError struct{ error }

const (
	kubeletName = "regcred-credential-provider"
	dockerName  = "docker-credential-regcred"
)

func run(ctx context.Context, program string, args []string, in io.Reader, out, log io.Writer) error {
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	flags.SetOutput(log)
	file := flags.String("profiles", os.Getenv("REGCRED_PROFILES"), "`file` with the profiles (YAML or JSON); REGCRED_PROFILES sets it, too")
	cache := flags.String("cache", os.Getenv("REGCRED_CACHE"), "`folder` for credentials between calls, \"off\" for none; REGCRED_CACHE sets it, too")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return usageError{err}
	}
	command := flags.Args()
	kubelet := strings.HasPrefix(program, kubeletName) // Links for further audiences end in a number.
	if !kubelet && program != dockerName && (len(command) == 0 || len(command) == 1 && command[0] == "demo") {
		return demo(ctx, out)
	}
	if program == dockerName && len(command) == 1 && command[0] != "get" && command[0] != "list" {
		return new(helper.Helper).Docker(ctx, command[0], in, out) // It needs no profiles.
	}
	path, err := profilesPath(*file, kubelet)
	if err != nil {
		return err
	}
	profiles, err := readProfiles(path)
	if err != nil {
		return err
	}
	h := &helper.Helper{
		Profiles: profiles, Provider: newProvider(), Disk: newDisk(*cache, kubelet),
		Warn: func(err error) { fmt.Fprintln(log, "warning:", err) },
	}
	switch {
	case kubelet && len(command) == 0:
		return h.Kubelet(ctx, in, out)
	case program == dockerName && len(command) == 1:
		return h.Docker(ctx, command[0], in, out)
	case len(command) == 1 && command[0] == "kubelet-config":
		if err := validate(profiles); err != nil {
			return err
		}
		config := helper.KubeletConfig{Name: kubeletName, Args: []string{"-profiles", path}, Profiles: profiles}
		return write(out, config.JSON)
	case len(command) == 1 && command[0] == "audience-role":
		return write(out, func() ([]byte, error) {
			return helper.AudienceRole("regcred-audiences", helper.KubeletConfig{Profiles: profiles}.Audiences()...)
		})
	}
	return usageError{fmt.Errorf("unexpected arguments %q: see -help", command)}
}

func write(out io.Writer, text func() ([]byte, error)) error {
	b, err := text()
	if err == nil {
		_, err = out.Write(b)
	}
	return err
}

// extra holds the providers that build tags add.
var extra = providers.Set{}

// validate fails for a profile that this program cannot serve. The program checks this while an administrator is
// watching, because later the error would only be in the log of a kubelet.
func validate(profiles []registry.Profile) error {
	set := newProvider()
	for _, p := range profiles {
		err := set.Validate(p)
		if _, ok := set[p.Kind]; !ok && (p.Kind == registry.ECR || p.Kind == registry.GCR) {
			err = fmt.Errorf("profile %q: %s is not built in; build this program with -tags %s", p.Name, p.Kind, p.Kind)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func newProvider() providers.Set {
	subjects := helper.PodSubjects{}
	set := providers.Set{
		registry.DockerHub: federated.Provider{Subjects: subjects, Fallback: dockerhub.Provider{}},
		registry.Custom:    federated.Provider{Subjects: subjects, Fallback: custom.Provider{}},
		registry.System:    federated.Provider{Subjects: subjects, Fallback: system.Provider{}},
		registry.ACR:       acr.Provider{Subjects: subjects},
	}
	for kind, provider := range extra {
		set[kind] = provider
	}
	return set
}

// profilesPath returns the absolute path of the file, because a kubelet calls the plugin from another folder. The default
// is /etc/regcred/profiles.yaml on a node, and otherwise regcred/profiles.yaml in the user's configuration folder.
func profilesPath(file string, node bool) (string, error) {
	switch {
	case file != "":
		return filepath.Abs(file)
	case node:
		return "/etc/regcred/profiles.yaml", nil
	}
	folder, err := os.UserConfigDir()
	return filepath.Join(folder, "regcred", "profiles.yaml"), err
}

func readProfiles(file string) ([]registry.Profile, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read profiles: %w; name the file with -profiles", err)
	}
	profiles, err := profilefile.Decode(text, profilefile.Lookup{Env: os.LookupEnv, File: os.ReadFile})
	if err != nil {
		return nil, fmt.Errorf("read profiles from %s: %w", file, err)
	}
	return profiles, nil
}

// newDisk returns the cache that keeps credentials between calls, or nil if there is no folder for it. A kubelet has no
// home, so a node has a folder of its own.
func newDisk(folder string, node bool) *helper.Disk {
	switch {
	case folder == "off":
		return nil
	case folder != "":
		return &helper.Disk{Dir: folder}
	case node:
		return &helper.Disk{Dir: "/var/cache/regcred"}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	return &helper.Disk{Dir: filepath.Join(cache, "regcred", "credentials")}
}

// demo prints the responses that a kubelet and docker get, for built-in profiles.
func demo(ctx context.Context, out io.Writer) error {
	h := &helper.Helper{
		Profiles: []registry.Profile{
			{Name: "team", Kind: registry.Custom, Endpoint: "ghcr.io/team", Login: credentials.Login{Username: "team-bot", Password: credentials.NewSecret("example")}},
			{Name: "hub", Kind: registry.DockerHub, Login: credentials.Login{Username: "acme", Password: credentials.NewSecret("example")}},
		},
		Provider: newProvider(),
	}
	fmt.Fprintln(out, "A kubelet asks for ghcr.io/team/app and gets:")
	request := `{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"ghcr.io/team/app"}`
	if err := h.Kubelet(ctx, strings.NewReader(request), out); err != nil {
		return err
	}
	fmt.Fprintln(out, "\ndocker asks for https://index.docker.io/v1/ and gets:")
	if err := h.Docker(ctx, "get", strings.NewReader("https://index.docker.io/v1/"), out); err != nil {
		return err
	}
	fmt.Fprintln(out, "\ndocker asks for quay.io, which no profile serves:")
	fmt.Fprintln(out, h.Docker(ctx, "get", strings.NewReader("quay.io"), io.Discard))
	fmt.Fprintln(out, "\nThe kubelet's configuration for these profiles:")
	return write(out, helper.KubeletConfig{Name: kubeletName, Profiles: h.Profiles}.JSON)
}
