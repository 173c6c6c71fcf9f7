package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"

	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/store"
)

// check reads all images of the stopped registry in the folder, and prints what is missing or damaged.
func check(ctx context.Context, out io.Writer, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, accountsFile)); err != nil {
		return fmt.Errorf("check registry: %w", err) // Open would create an empty one.
	}
	registry, err := systemregistry.Server{Dir: dir}.Open(ctx)
	if err != nil {
		return fmt.Errorf("check registry: stop it first, because one process at a time can read the folder: %w", err)
	}
	problems := 0
	for problem, failed := range registry.Images().Check(ctx) {
		if failed != nil {
			err = failed
			break
		}
		problems++
		fmt.Fprintln(out, problem)
	}
	if err := errors.Join(err, registry.Close()); err != nil {
		return err
	}
	if problems > 0 {
		return fmt.Errorf("%d problems: push the images again, or restore a backup", problems)
	}
	fmt.Fprintln(out, "all images are complete")
	return nil
}

// backUp makes a backup now, and then one every day until ctx ends. Pushes and pulls go on meanwhile.
func backUp(ctx context.Context, out io.Writer, registry *systemregistry.Registry, folder string) {
	day := time.NewTicker(24 * time.Hour)
	defer day.Stop()
	for {
		if err := registry.Backup(ctx, folder); err == nil {
			fmt.Fprintln(out, "backup:   ", folder)
		} else if ctx.Err() == nil {
			fmt.Fprintln(out, "error:", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-day.C:
		}
	}
}

// restore fills an empty folder from a backup.
func restore(ctx context.Context, out io.Writer, dir, backup string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("restore registry: %w", err)
	}
	accounts, err := store.Open(filepath.Join(dir, accountsFile))
	if err != nil {
		return fmt.Errorf("restore registry: %w", err)
	}
	images := filesystem.New(filesystem.DriverParameters{RootDirectory: filepath.Join(dir, "images"), MaxThreads: 100})
	if err := errors.Join(systemregistry.Restore(ctx, backup, images, accounts), accounts.Close()); err != nil {
		return err
	}
	fmt.Fprintf(out, "restored %s; the password of an account is the one at the time of the backup\n", dir)
	return nil
}
