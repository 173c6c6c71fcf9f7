// Embed keeps pull secrets from inside a manager of controller-runtime. The program is complete, so that you can copy
// it into your own controller. It reads profiles from a JSON file (see docs/profiles.md) and serves every namespace
// except kube-*.
//
//	go run . -profiles profiles.json
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

// The namespace of the program, which has to exist. Its Secret with the adoption key needs the same protection as the
// logins.
const namespace = "regcred-system"

func main() {
	path := flag.String("profiles", "profiles.json", "the `file` with the registry profiles")
	flag.Parse() // Exits with 2 if the flags are wrong.
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "embed: unexpected argument %q: there are flags only\n", flag.Arg(0))
		os.Exit(2)
	}
	data, err := os.ReadFile(*path)
	if err == nil {
		var profiles []registry.Profile
		if profiles, err = registry.DecodeProfiles(data); err == nil {
			err = run(ctrl.SetupSignalHandler(), profiles, "*")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, profiles []registry.Profile, namespaces string) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		LeaderElection: true, LeaderElectionID: "regcred", LeaderElectionNamespace: namespace,
	})
	if err != nil {
		return err
	}
	if _, err := keepPullSecrets(mgr, config, profiles, namespaces); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// keepPullSecrets adds to a manager everything that keeps pull secrets. It returns the Controller, whose method
// EnsureReady waits until the pull secret of a workload is ready.
func keepPullSecrets(mgr ctrl.Manager, config *rest.Config, profiles []registry.Profile, namespaces string) (*kube.Controller, error) {
	client, err := kube.NewClient(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	key, err := kube.AdoptionKey(ctx, client, namespace, "regcred-adoption")
	if err != nil {
		return nil, err
	}
	pipeline := &regcred.Pipeline{} // Provider: a providers.Set, where there are clouds among the profiles.
	target := inject.Target{
		Name:       "regcred",
		Profiles:   profiles,
		Namespaces: inject.Selection{Names: []string{namespaces}, Except: []string{"kube-*"}},
		Accounts:   inject.Selection{Names: []string{"default"}},
	}
	controller := &kube.Controller{
		Cluster: &kube.Cluster{Client: client},
		Syncer: &inject.Syncer{
			Credential: pipeline.Credential, Check: pipeline.Check, Lookup: pipeline.Lookup,
			Adopt: pipeline.Adopt, AdoptionKey: key, // A restart calls no issuer and writes nothing.
		},
		Targets: func(context.Context) ([]inject.Target, error) { return []inject.Target{target}, nil },
		OnPass: func(p kube.Pass) {
			if err := errors.Join(p.Err, p.Result.Err()); err != nil {
				mgr.GetLogger().Error(err, "pull secrets are out of sync")
			}
		},
	}
	pipeline.Cache.Hooks = pipeline.Cache.Hooks.Join(credentials.Hooks{Issued: controller.Renewed})
	renew := manager.RunnableFunc(pipeline.Cache.Run) // Renews ahead of time, so that no pass waits.
	return controller, errors.Join(target.Validate(), mgr.Add(renew), mgr.Add(controller))
}
