package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	if errors.Is(err, store.ErrInUse) {
		return fmt.Errorf("check registry: stop it first, because one process at a time can read the folder: %w", err)
	}
	if err != nil {
		return fmt.Errorf("check registry: %w", err)
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

// backUp makes a backup of the registry in dir now, and then one every day until ctx ends. Pushes and pulls go on
// meanwhile.
func backUp(ctx context.Context, out io.Writer, registry *systemregistry.Registry, dir, folder string) {
	day := time.NewTicker(24 * time.Hour)
	defer day.Stop()
	for {
		err := registry.Backup(ctx, folder)
		if err == nil {
			err = copyPassword(dir, folder)
		}
		if err == nil {
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

// copyPassword copies the file with the password of the admin, if there is one.
func copyPassword(from, to string) error {
	text, err := os.ReadFile(filepath.Join(from, passwordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	path := filepath.Join(to, passwordFile)
	if err == nil {
		err = os.WriteFile(path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("password of the admin: %w", err)
	}
	return nil
}

const (
	// backupStore is the file of accounts in each backup.
	backupStore = "store.jsonl"
	// unfinished is the suffix of the file of accounts until it is restored completely.
	unfinished = ".new"
)

// restore fills an empty folder from a backup. The folder has no file of accounts until everything is restored, so that
// nothing mistakes a part for a registry.
func restore(ctx context.Context, out io.Writer, dir, backup string) error {
	if _, err := os.Stat(filepath.Join(backup, backupStore)); err != nil {
		return fmt.Errorf("restore registry: %s is no backup: %w", backup, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore registry: %w", err)
	}
	if len(files) > 0 {
		return fmt.Errorf("restore registry: %s is not empty: it has %s", dir, files[0].Name())
	}
	path := filepath.Join(dir, accountsFile)
	accounts, err := store.Open(path + unfinished) // It creates the folder.
	if err != nil {
		return fmt.Errorf("restore registry: %w", err)
	}
	images := filesystem.New(filesystem.DriverParameters{RootDirectory: filepath.Join(dir, "images"), MaxThreads: 100})
	if err := errors.Join(systemregistry.Restore(ctx, backup, images, accounts), accounts.Close()); err != nil {
		return err
	}
	err = copyPassword(backup, dir)
	if err == nil {
		err = os.Rename(path+unfinished, path)
	}
	if err != nil {
		return fmt.Errorf("restore registry: %w", err)
	}
	fmt.Fprintf(out, "restored %s; the password of an account is the one at the time of the backup\n", dir)
	return nil
}
