package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
)

func TestDemo(t *testing.T) {
	if _, why := testtool.ControlPlane(); why != nil {
		testtool.Missing(t, why.Error())
	}
	t.Chdir("..") // The folder in which the README runs it.
	require.NoError(t, run(t.Context()))
}
