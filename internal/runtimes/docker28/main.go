// Program docker28 pulls with the code of Docker Engine 28 with a graph driver. It reads pulls from its input, one per
// line, as JSON, and writes a verdict for each. Package runtimes starts it.
package main

import (
	"context"
	"log"
	"os"
	"path/filepath"

	logs "github.com/containerd/log"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/events"
	registrytypes "github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/distribution"
	"github.com/docker/docker/distribution/xfer"
	"github.com/docker/docker/pkg/progress"
	"github.com/docker/docker/registry"
	"github.com/sirupsen/logrus"

	"github.com/regcred/regcred/internal/runtimes/memory"
	"github.com/regcred/regcred/internal/scenario"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

func main() {
	log.SetFlags(0)
	logs.L.Logger.SetLevel(logrus.PanicLevel)
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	network, err := fakenet.New()
	if err != nil {
		return err
	}
	defer network.Close()
	dir, err := os.MkdirTemp("", "regcred-docker-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// The engine accepts no transport, but a proxy and a folder of certificates.
	certificates := filepath.Join(dir, scenario.Host)
	if err := os.Mkdir(certificates, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(certificates, "ca.crt"), []byte(network.CA), 0o600); err != nil {
		return err
	}
	//lint:ignore SA1019 The certificates of the machine must not be used.
	registry.SetCertsDir(dir)
	for name, value := range map[string]string{"HTTPS_PROXY": network.URL, "NO_PROXY": "", "TMPDIR": dir} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	service, err := registry.NewService(registry.ServiceOptions{})
	if err != nil {
		return err
	}
	return scenario.Serve(os.Stdin, os.Stdout, func(ctx context.Context, r *scenario.Registry, p scenario.Pull) error {
		for _, host := range []string{scenario.Host, scenario.AuthHost, scenario.OtherHost, scenario.StorageHost} {
			network.Handle(host, r)
		}
		return pull(ctx, service, p.Username, p.Password)
	})
}

// pull does the same as the daemon for POST /images/create with the login in X-Registry-Auth, which has no server
// address when cri-dockerd sends it.
func pull(ctx context.Context, service *registry.Service, username, password string) error {
	ref, err := reference.ParseNormalizedNamed(scenario.Image)
	if err != nil {
		return err
	}
	return distribution.Pull(ctx, ref, &distribution.ImagePullConfig{
		Config: distribution.Config{
			AuthConfig:       &registrytypes.AuthConfig{Username: username, Password: password},
			ProgressOutput:   progress.DiscardOutput(),
			RegistryService:  service,
			ImageEventLogger: func(context.Context, string, string, events.Action) {},
			MetadataStore:    noMetadata{},
			ImageStore:       &configs{},
		},
		// The daemon tries a layer five times, with pauses of up to 20 seconds.
		DownloadManager: xfer.NewLayerDownloadManager(&layers{}, 3, xfer.WithMaxDownloadAttempts(1)),
	}, memory.NewContentStore())
}
