package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

// A proxy is a module proxy in a folder, for GOPROXY=file://.
type proxy struct {
	dir string
	at  time.Time // The time of the versions.
}

// add packs a module of a Git tree as the go command does, and returns the hash that go.sum has of it.
func (p proxy) add(m module.Version, repo, tree, dir string) (hash string, err error) {
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(p.dir, escaped, "@v")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	base := filepath.Join(folder, m.Version)
	file, err := os.Create(base + ".zip")
	if err != nil {
		return "", err
	}
	if err := errors.Join(zip.CreateFromVCS(file, m, repo, tree, dir), file.Close()); err != nil {
		return "", fmt.Errorf("pack %s: %w", m, err)
	}
	goMod, err := os.ReadFile(filepath.Join(repo, dir, "go.mod"))
	if err != nil {
		return "", err
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{m.Version, p.at})
	if err != nil {
		return "", err
	}
	for name, data := range map[string][]byte{
		base + ".mod": goMod, base + ".info": info, filepath.Join(folder, "list"): []byte(m.Version + "\n"),
	} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return "", err
		}
	}
	return dirhash.HashZip(base+".zip", dirhash.Hash1)
}
