//go:build !unix

package helper

import (
	"context"
	"io/fs"
)

// lock does nothing: here, processes that start at once may each call the issuer.
func lock(context.Context, string) (unlock func(), err error) { return func() {}, nil }

// private relies on the rights of the user's profile folder, which modes do not show.
func private(fs.FileInfo) bool { return true }
