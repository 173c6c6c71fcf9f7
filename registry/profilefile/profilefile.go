// Package profilefile reads registry profiles from a file that people write: YAML, or JSON, which is a part of it.
//
// A file is what [registry.DecodeProfiles] takes, in YAML or JSON. In place of any text there may be {env: NAME} or
// {file: PATH}, so that the file itself need not hold a secret:
//
//	# profiles.yaml
//	- name: shop
//	  kind: custom
//	  endpoint: registry.example.com:5000/shop
//	  login: {username: robot, password: {env: SHOP_PASSWORD}}
//	  transport: {caBundle: {file: ca.pem}}
//
// [Read] is for a program that trusts who wrote the file: it looks up what the file names. [Decode] looks up what its
// caller lets it.
//
// Decoding is strict, because what is silently ignored is a login that does not work. An error has all problems of all
// profiles, each with its line and the full path of its field. It does not call [registry.Profile.Validate].
//
// https://github.com/regcred/regcred/blob/main/docs/profiles.md describes the format.
package profilefile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/regcred/regcred/registry"
)

// MaxSize is the most bytes that a file may have, and that all it names may have together: 1 MiB. It is there for files
// that are something else; a profile has a few hundred bytes, and the certificates of a system a quarter of that.
const MaxSize = 1 << 20

// Read reads profiles from a file. {env: NAME} is a variable of the process, and {file: PATH} is relative to the folder
// of the file. The error is that of [Decode], with the path before it, or that of package os.
func Read(path string) ([]registry.Profile, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	beside := func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		return readFile(name)
	}
	profiles, err := Decode(data, Lookup{Env: os.LookupEnv, File: beside})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return profiles, nil
}

// readFile reads no more than it takes to know that a file is too large.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}
