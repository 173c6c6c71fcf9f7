// Licences reads "module version folder" lines, prints the licence of each module, and fails if one is not on its list.
// With a version as its argument, it prints them as a bill of materials of that version of regcred, in CycloneDX 1.5.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Stdin, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

// signs are sentences that only one licence has, in the order in which they are looked for.
var signs = []struct{ licence, sign string }{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"Apache-2.0", "Licensed under the Apache License, Version 2.0"},
	{"MPL-2.0", "Mozilla Public License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License, version 2.0"},
	{"AGPL", "GNU AFFERO GENERAL PUBLIC LICENSE"},
	{"LGPL", "GNU LESSER GENERAL PUBLIC LICENSE"},
	{"GPL", "GNU GENERAL PUBLIC LICENSE"},
	{"BSD-3-Clause", "used to endorse or promote products"},
	{"BSD-2-Clause", "Redistributions in binary form must reproduce"},
	{"ISC", "Permission to use, copy, modify, and/or distribute this software"},
	{"ISC", "Permission to use, copy, modify, and distribute this software"},
	{"MIT", "Permission is hereby granted, free of charge"},
	{"Unlicense", "This is free and unencumbered software"},
}

// allowed are the licences whose terms a program that links the module under Apache-2.0 meets by naming them.
var allowed = []string{"Apache-2.0", "MPL-2.0", "BSD-3-Clause", "BSD-2-Clause", "ISC", "MIT", "Unlicense"}

func run(in io.Reader, out io.Writer, args []string) error {
	found := make(map[string]string) // By module and version.
	for scanner := bufio.NewScanner(in); scanner.Scan(); {
		part := strings.Fields(scanner.Text())
		if len(part) != 3 || found[part[0]+" "+part[1]] != "" {
			continue
		}
		found[part[0]+" "+part[1]] = licenceOf(part[2])
	}
	if len(found) == 0 {
		return errors.New("no modules to look at")
	}
	var lines, bad []string
	for module, licence := range found {
		lines = append(lines, fmt.Sprintf("%-14s %s", licence, module))
		if !slices.Contains(allowed, licence) {
			bad = append(bad, module+" ("+licence+")")
		}
	}
	slices.Sort(lines)
	if len(args) == 0 {
		fmt.Fprintln(out, strings.Join(lines, "\n"))
	} else if err := printBill(out, args[0], found); err != nil {
		return err
	}
	if bad != nil {
		slices.Sort(bad)
		return fmt.Errorf("these licences are not on the list of tools/licences: %s", strings.Join(bad, ", "))
	}
	return nil
}

func licenceOf(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "unknown"
	}
	for _, entry := range entries {
		name := strings.ToUpper(entry.Name())
		if entry.IsDir() || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") && !strings.HasPrefix(name, "UNLICENSE") && name != "README.MD" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue
		}
		words := strings.ToLower(strings.Join(strings.Fields(string(text)), " "))
		for _, s := range signs {
			if strings.Contains(words, strings.ToLower(s.sign)) {
				return s.licence
			}
		}
	}
	return "unknown"
}

type component struct {
	Type     string    `json:"type"`
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	PURL     string    `json:"purl"`
	Licenses []license `json:"licenses,omitempty"`
}

type license struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

func newComponent(module, version, licence string) component {
	c := component{"library", module, version, "pkg:golang/" + module + "@" + version, make([]license, 1)}
	c.Licenses[0].License.ID = licence
	return c
}

// printBill prints a bill of materials: https://cyclonedx.org/docs/1.5/json/.
func printBill(out io.Writer, version string, found map[string]string) error {
	var bill struct {
		Format   string `json:"bomFormat"`
		Spec     string `json:"specVersion"`
		Version  int    `json:"version"`
		Metadata struct {
			Component component `json:"component"`
		} `json:"metadata"`
		Components []component `json:"components"`
	}
	bill.Format, bill.Spec, bill.Version = "CycloneDX", "1.5", 1
	bill.Metadata.Component = newComponent("github.com/regcred/regcred", version, "Apache-2.0")
	for _, key := range slices.Sorted(maps.Keys(found)) {
		module, version, _ := strings.Cut(key, " ")
		bill.Components = append(bill.Components, newComponent(module, version, found[key]))
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(bill)
}
