// Operator keeps image pull secrets in a cluster according to objects of the kind RegistryProfile. See README.md.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/regcred/regcred/examples/operator/internal/operator"
)

// version is set by the Dockerfile.
var version = "development"

// grace is the time in which running work must end after a signal. It is less than the 30 seconds that a pod has, so
// that the next leader need not wait for the lease to expire.
const grace = 20 * time.Second

// The flag -kubeconfig is defined by controller-runtime.
var (
	namespace    = flag.String("namespace", "regcred-system", "the `namespace` of the operator: its lease is there, and the secrets with logins")
	election     = flag.Bool("leader-elect", true, "let one of several replicas do the work")
	evict        = flag.Bool("evict", false, "evict pods that were created before their pull secret was there; see config/evict")
	serve        = flag.String("metrics", ":8080", "the `address` of the metrics, in plain HTTP for everybody; 0 for none")
	probes       = flag.String("probes", ":8081", "the `address` of the health probes; 0 for none")
	printVersion = flag.Bool("version", false, "print the version and end")
)

func main() {
	flag.Parse() // Exits with 2 if the flags are wrong.
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "operator: unexpected argument %q: there are flags only\n", flag.Arg(0))
		os.Exit(2)
	}
	if *printVersion {
		fmt.Println(version)
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}

func run() error {
	log := zap.New()
	ctrl.SetLogger(log)
	klog.SetLogger(log) // Logs of client-go.
	cluster, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	cluster.UserAgent = "regcred-operator/" + version // Appears in the audit log of the API server.
	mgr, err := operator.NewManager(
		operator.Config{API: cluster, Namespace: *namespace, Evict: *evict, Metrics: metrics.Registry},
		ctrl.Options{
			LeaderElection:                *election,
			LeaderElectionID:              "regcred",
			LeaderElectionNamespace:       *namespace,
			LeaderElectionReleaseOnCancel: true, // The program ends right after.
			GracefulShutdownTimeout:       new(grace),
			Metrics:                       server.Options{BindAddress: *serve},
			HealthProbeBindAddress:        *probes,
		},
	)
	if err != nil {
		return err
	}
	log.Info("starting", "version", version, "namespace", *namespace)
	return mgr.Start(ctrl.SetupSignalHandler())
}
