package injecttest_test

import (
	"testing"

	"github.com/regcred/regcred/inject/injecttest"
)

func TestCluster(t *testing.T) {
	var c injecttest.Cluster
	injecttest.TestCluster(t, injecttest.Fixture{Cluster: &c, World: &c})
}
