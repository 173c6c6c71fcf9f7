package storetest_test

import (
	"testing"

	"github.com/regcred/regcred/systemregistry/store"
	"github.com/regcred/regcred/systemregistry/store/storetest"
)

// table represents a store over a database of the platform.
type table struct{ store.Memory }

func openTable(*testing.T) store.Store { return &table{} }

func TestTable(t *testing.T) { storetest.Run(t, openTable) }

// The example is compiled and not run, because it needs the t of a test function. TestTable runs the same call.
func ExampleRun() {
	var t *testing.T // The parameter of func TestTable(t *testing.T), in a file whose name ends in _test.go.

	storetest.Run(t, openTable)
}
