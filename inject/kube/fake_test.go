package kube_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/inject/kube"
)

func TestClusterOnFake(t *testing.T) {
	const (
		noVersions  = "the fake clientset gives objects no resource version, by which conflicts and own writes are known"
		noSelectors = "the fake clientset delivers to a watch what its label selector does not choose"
		noAdmission = "the fake clientset creates objects in namespaces that are not there"
	)
	client := fake.NewClientset()
	cluster := &kube.Cluster{Client: client, Owner: "conformance"}
	background(t, cluster.Run)
	_, err := cluster.State(t.Context(), inject.Scope{Owner: "conformance"}) // Before its watches have begun, it misses writes.
	require.NoError(t, err)
	injecttest.TestCluster(t, injecttest.Fixture{Cluster: cluster, World: world{client}, Except: map[string]string{
		"State: only secrets of the owner are shown":                              noSelectors,
		"State: what was just written is shown at once":                           noVersions,
		"State: what others change is shown":                                      noVersions,
		"UpdateSecret: it happens in place, and what others have put there stays": noVersions,
		"UpdateSecret: what has changed since is a conflict":                      noVersions,
		"UpdateSecret: the content of an immutable secret stays":                  noVersions,
		"ReplaceSecret: the secret gets the right type":                           noVersions,
		"ReplaceSecret: what has changed since is a conflict":                     noVersions,
		"DeleteSecret: what has changed since is a conflict":                      noVersions,
		"LinkAccount: what has changed since is a conflict":                       noVersions,
		"LinkAccount: of many at once, none is lost":                              noVersions,
		"nothing is created in a namespace that is gone or going":                 noAdmission,
	}})
}
