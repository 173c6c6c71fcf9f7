// Operator keeps image pull secrets in a cluster, as objects of the kind RegistryProfile say. See README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/regcred/regcred/examples/operator/internal/operator"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("operator", flag.ContinueOnError)
	namespace := flags.String("namespace", "regcred-system", "the `namespace` of the operator: its secrets with logins are there")
	election := flags.Bool("leader-elect", true, "let one of several replicas do the work")
	evict := flags.Bool("evict", false, "evict pods that were created before their pull secret was there; see config/rbac.yaml")
	serve := flags.String("metrics", ":8080", "the `address` of the metrics; 0 for none")
	probes := flags.String("probes", ":8081", "the `address` of the health probes; 0 for none")
	config := flags.String("kubeconfig", os.Getenv("KUBECONFIG"), "the `file` that says how to reach the cluster; empty inside of one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctrl.SetLogger(zap.New())
	if err := os.Setenv("KUBECONFIG", *config); err != nil {
		return err
	}
	cluster, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	mgr, err := operator.NewManager(
		operator.Config{API: cluster, Namespace: *namespace, Evict: *evict, Metrics: metrics.Registry},
		ctrl.Options{
			LeaderElection:                *election,
			LeaderElectionID:              "regcred",
			LeaderElectionNamespace:       *namespace,
			LeaderElectionReleaseOnCancel: true, // The program ends right after.
			Metrics:                       server.Options{BindAddress: *serve},
			HealthProbeBindAddress:        *probes,
		},
	)
	if err != nil {
		return err
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}
