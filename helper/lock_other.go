//go:build !unix

package helper

import (
	"context"
	"io/fs"
)

// lock does nothing on this system, so processes that start at once may each call the issuer.
func lock(context.Context, string) (unlock func(), err error) { return func() {}, nil }

// private returns true. It relies on the permissions of the user's profile folder, which file modes do not show.
func private(fs.FileInfo) bool { return true }
