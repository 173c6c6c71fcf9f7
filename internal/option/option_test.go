package option_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/option"
)

func TestOrDefault(t *testing.T) {
	require.Equal(t, 3, option.OrDefault(3, 16))
	require.Equal(t, 16, option.OrDefault(0, 16))
	require.Equal(t, 16, option.OrDefault(-1, 16))
	require.Equal(t, time.Second, option.OrDefault(-time.Minute, time.Second))
}

func TestOrOff(t *testing.T) {
	require.InDelta(t, 0.5, option.OrOff(0.5, 20.0), 0)
	require.InDelta(t, 20.0, option.OrOff(0, 20.0), 0)
	require.Zero(t, option.OrOff(-1, 20.0))
	require.Zero(t, option.OrOff(-time.Minute, time.Second))
}
