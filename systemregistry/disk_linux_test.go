package systemregistry_test

import (
	"fmt"
	"syscall"
)

func mount(dir string, size int) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", size))
}

func unmount(dir string) error { return syscall.Unmount(dir, 0) }
