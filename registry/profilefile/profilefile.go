// Package profilefile decodes registry profiles from a file that people write, in YAML or in JSON, which is a subset of
// it.
//
// A file has the structure that [registry.DecodeProfiles] accepts. Any string may be replaced by {env: NAME} or {file:
// PATH}, so that the file itself need not hold a secret. Where an object is expected, as in login.federated.subject, and
// within the JSON of login.google.credentials, {file: PATH} is that object:
//
//	# profiles.yaml
//	- name: shop
//	  kind: custom
//	  endpoint: registry.example.com:5000/shop
//	  login: {username: robot, password: {env: SHOP_PASSWORD}}
//	  transport: {caBundle: {file: ca.pem}}
//
// [Read] is for a program that trusts the author of the file: it reads the environment variables and files that the
// file names. [Decode] resolves these references with functions of its caller.
//
// Decoding is strict, because a login with a silently ignored field does not work. An error has all problems of all
// profiles, each with its line and the full path of its field. This package does not call [registry.Profile.Validate].
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

// MaxSize is the maximum size of a file, and of all values that it refers to together: 1 MiB. The limit detects files
// that do not hold profiles: a profile has a few hundred bytes, and the certificates of all authorities that an
// operating system trusts have a quarter of the limit.
const MaxSize = 1 << 20

// Read decodes profiles from a file. {env: NAME} is a variable of the process, and {file: PATH} is relative to the
// folder of the file. Its error is the error of [Decode] with the path before it, or an error of package os.
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

// readFile reads at most one byte more than the limit, which is enough to detect a file that is too large.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}
