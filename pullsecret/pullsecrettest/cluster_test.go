package pullsecrettest_test

import (
	"testing"

	"github.com/regcred/regcred/pullsecret/pullsecrettest"
)

func TestCluster(t *testing.T) {
	var c pullsecrettest.Cluster
	pullsecrettest.TestCluster(t, pullsecrettest.Subject{Cluster: &c, World: &c})
}
