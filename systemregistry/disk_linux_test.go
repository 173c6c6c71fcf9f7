package systemregistry_test

import (
	"fmt"
	"syscall"
)

func mount(dir string, size int) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", size))
}

// unmount also detaches a disk on which a failed test still has files open.
func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }
