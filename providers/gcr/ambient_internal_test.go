package gcr

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
)

// Tests must not call the address of real metadata servers, so the error of a network without one is simulated.
func TestNobodyThere(t *testing.T) {
	dial := func(err error) error {
		return fmt.Errorf("GET http://x/: %w", &net.OpError{Op: "dial", Net: "tcp", Err: err})
	}
	require.True(t, nobodyThere(dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH))))
	require.True(t, nobodyThere(dial(os.NewSyscallError("connect", syscall.ENETUNREACH))))
	require.True(t, nobodyThere(dial(os.ErrDeadlineExceeded)))
	require.True(t, nobodyThere(fmt.Errorf("GET http://x/: %w", context.DeadlineExceeded)))

	require.False(t, nobodyThere(dial(os.NewSyscallError("connect", syscall.ECONNREFUSED))), "it is there, and not ready")
	require.False(t, nobodyThere(&net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}), "it is there, and has a problem")
	require.False(t, nobodyThere(registry.ErrTooLarge))
}
