package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/dockerconfig"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate/workload"
)

// An input holds the profiles and images to check.
type input struct {
	profiles []registry.Profile
	images   []wanted // Without duplicates.
	docker   providers.Func
}

// A wanted is an image to check, and the places that name it.
type wanted struct {
	name   string
	places []place
}

// A place is a place in the file of -workload. The zero place is the command line.
type place struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Path      string `json:"path"`
}

// String returns the place in a form that editors and CI systems link: "shop.yaml:12 Deployment shop/web".
func (p place) String() string {
	if p.File == "" {
		return "-image"
	}
	name := p.Name
	if p.Namespace != "" {
		name = p.Namespace + "/" + name
	}
	return strings.TrimSpace(fmt.Sprintf("%s:%d %s %s", p.File, p.Line, p.Kind, name))
}

func (in input) names() []string {
	names := make([]string, len(in.images))
	for i, image := range in.images {
		names[i] = image.name
	}
	return names
}

// read reads all files. It fails if there is nothing to check, because a template that failed leaves nothing.
func (c *command) read() (input, error) {
	var in input
	var err error
	if in.profiles, err = c.readProfiles(); err != nil {
		return in, err
	}
	for _, name := range c.images {
		in.add(name, place{})
	}
	if err := c.readWorkload(&in); err != nil {
		return in, err
	}
	if err := c.readDockerConfig(&in); err != nil {
		return in, err
	}
	if len(in.profiles)+len(in.images) == 0 && !(c.allowEmpty && c.workload != "") {
		return in, errors.New("there is nothing to check: no profile and no image")
	}
	return in, nil
}

func (in *input) add(name string, at place) {
	for i := range in.images {
		if in.images[i].name == name {
			in.images[i].places = append(in.images[i].places, at)
			return
		}
	}
	in.images = append(in.images, wanted{name, []place{at}})
}

func (c *command) readWorkload(in *input) error {
	if c.workload == "" {
		return nil
	}
	file := c.workload
	var manifest []byte
	var err error
	if file == "-" {
		file = "stdin"
		manifest, err = io.ReadAll(c.stdin)
	} else {
		manifest, err = os.ReadFile(file)
	}
	if err != nil {
		return fmt.Errorf("read workload: %w", err)
	}
	images, err := workload.Images(manifest)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if len(images) == 0 && !c.allowEmpty {
		return fmt.Errorf("%s: there are no images in it, as when a template failed: -allow-empty passes it", file)
	}
	for _, i := range images {
		in.add(i.Name, place{file, i.Place.Line, i.Place.Kind, i.Place.Namespace, i.Place.Name, i.Place.Path})
	}
	return nil
}

// dockerKind is the kind of the profiles that are made for a docker config.
const dockerKind registry.Kind = "docker-config"

// readDockerConfig creates a profile for each registry with an image that no profile serves. If the config has no
// login for the registry, the profile is anonymous, as in docker.
func (c *command) readDockerConfig(in *input) error {
	if c.dockerConfig == "" {
		return nil
	}
	path := c.dockerConfig
	if path == "user" {
		dir := os.Getenv("DOCKER_CONFIG")
		if dir == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return err
			}
			dir = filepath.Join(home, ".docker")
		}
		path = filepath.Join(dir, "config.json")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read docker config: %w", err)
	}
	config, err := dockerconfig.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	in.docker = func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
		found, err := config.Source(p.Endpoint).Credential(ctx)
		if errors.Is(err, credentials.ErrNoLogin) {
			return credentials.Credential{Anonymous: true}, nil
		}
		return found, err
	}
	have := make(map[string]bool)
	for _, wanted := range in.images {
		image, err := registry.ParseImage(wanted.name)
		if err != nil || have[image.Host] || len(registry.Serving(in.profiles, image)) > 0 {
			continue
		}
		have[image.Host] = true
		in.profiles = append(in.profiles, registry.Profile{
			Name: "docker-config-" + strings.Trim(strings.NewReplacer(":", "-", "[", "", "]", "").Replace(image.Host[:min(len(image.Host), 48)]), "-."),
			Kind: dockerKind, Endpoint: image.Host, Login: credentials.Login{Ambient: true},
		})
	}
	return nil
}
