package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/regcred/regcred/registry"
)

// readProfiles reads profiles from a file of YAML, of which JSON is a part. In place of a text there may be {env: NAME}
// or {file: PATH}, so that the file itself need not hold a secret; a path is relative to the folder of the file.
func readProfiles(path string, env func(string) (string, bool)) ([]registry.Profile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var content any
	if err := yaml.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("%s: not YAML or JSON: %w", path, withoutValues(err))
	}
	lookup := lookup{folder: filepath.Dir(path), env: env}
	if content, err = lookup.fill(content); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if data, err = json.Marshal(content); err != nil {
		return nil, fmt.Errorf("%s: a key that is not a text", path)
	}
	profiles, err := registry.DecodeProfiles(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return profiles, nil
}

// withoutValues keeps the first part of an error of the YAML parser: its details may quote a line, and with it a
// password.
func withoutValues(err error) error {
	text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "yaml: "), ": ")
	return errors.New(text)
}

// A lookup finds the texts that stand elsewhere.
type lookup struct {
	folder string
	env    func(string) (string, bool)
}

// fill replaces each {env: NAME} and {file: PATH} in a tree of YAML by what it stands for.
func (l lookup) fill(node any) (any, error) {
	var err error
	switch node := node.(type) {
	case []any:
		for i := range node {
			if node[i], err = l.fill(node[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if name, ok := node["env"].(string); ok && len(node) == 1 {
			return l.variable(name)
		}
		if path, ok := node["file"].(string); ok && len(node) == 1 {
			return l.file(path)
		}
		for key := range node {
			if node[key], err = l.fill(node[key]); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return node, nil
}

func (l lookup) variable(name string) (string, error) {
	value, ok := l.env(name)
	if !ok || value == "" {
		return "", fmt.Errorf("the environment variable %s is not set, or is empty", name)
	}
	return value, nil
}

// file returns the content of a file, without the line end that editors and echo put behind a password.
func (l lookup) file(path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.folder, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if text == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return text, nil
}
