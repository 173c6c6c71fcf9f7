package main

import (
	"fmt"
	"io"
	"os"

	"github.com/regcred/regcred/validate/workload"
)

// workloadImages reads the names of the images in the manifests of -workload.
func (c *command) workloadImages() ([]string, error) {
	var manifest []byte
	var err error
	switch c.workload {
	case "":
		return nil, nil
	case "-":
		manifest, err = io.ReadAll(c.stdin)
	default:
		manifest, err = os.ReadFile(c.workload)
	}
	if err != nil {
		return nil, fmt.Errorf("read workload: %w", err)
	}
	images, err := workload.Images(manifest)
	if err != nil {
		return nil, fmt.Errorf("read workload: %w", err)
	}
	var names []string
	for _, i := range images {
		names = append(names, i.Name)
	}
	return names, nil
}
