// Program docker29 pulls with the code of Docker Engine 29 and its default image store, containerd's. It reads pulls
// from its input, one per line, as JSON, and writes a verdict for each. Package runtimes starts it.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"

	introspectionapi "github.com/containerd/containerd/api/services/introspection/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/introspection"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	logs "github.com/containerd/log"
	"github.com/distribution/reference"
	registrytypes "github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/v2/daemon/container"
	imagestore "github.com/moby/moby/v2/daemon/containerd"
	"github.com/moby/moby/v2/daemon/events"
	"github.com/moby/moby/v2/daemon/server/imagebackend"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"github.com/regcred/regcred/internal/runtimes/memory"
	"github.com/regcred/regcred/internal/scenario"
	"github.com/regcred/regcred/registry/registrytest"
)

const snapshotter = "overlayfs"

func main() {
	log.SetFlags(0)
	logs.L.Logger.SetLevel(logrus.PanicLevel)
	err := scenario.Serve(os.Stdin, os.Stdout, func(ctx context.Context, registry *scenario.Registry, p scenario.Pull) error {
		return pull(namespaces.WithNamespace(ctx, "moby"), registry, p.Username, p.Password)
	})
	if err != nil {
		log.Fatal(err)
	}
}

// pull does the same as the daemon for POST /images/create with the login in X-Registry-Auth, which has no server
// address when cri-dockerd sends it.
func pull(ctx context.Context, registry http.Handler, username, password string) error {
	store := memory.NewContentStore()
	client, err := containerd.New("", containerd.WithServices(
		containerd.WithContentStore(store),
		containerd.WithImageStore(memory.NewImageStore()),
		containerd.WithSnapshotters(map[string]snapshots.Snapshotter{snapshotter: memory.Snapshotter{}}),
		containerd.WithDiffService(differ{memory.Applier{Store: store}}),
		containerd.WithLeasesService(lessor{}),
		containerd.WithIntrospectionService(plugins{}),
	))
	if err != nil {
		return err
	}
	transport := registrytest.NewRoundTripper(registry)
	service := imagestore.NewService(imagestore.ImageServiceConfig{
		Client:      client,
		Containers:  container.NewMemoryStore(),
		Snapshotter: snapshotter,
		// As Daemon.RegistryHosts does without configuration.
		RegistryHosts: func(host string) ([]docker.RegistryHost, error) {
			return config.ConfigureHosts(ctx, config.HostOptions{UpdateClient: func(client *http.Client) error {
				client.Transport = transport
				return nil
			}})(host)
		},
		EventsService:          events.New(),
		MaxConcurrentDownloads: 3,
	})
	defer func() { _ = service.Cleanup() }()
	ref, err := reference.ParseNormalizedNamed(scenario.Image)
	if err != nil {
		return err
	}
	return service.PullImage(ctx, ref, imagebackend.PullOptions{
		AuthConfig: &registrytypes.AuthConfig{Username: username, Password: password},
		OutStream:  io.Discard,
	})
}

// A differ only applies layers.
type differ struct{ memory.Applier }

func (differ) Compare(context.Context, []mount.Mount, []mount.Mount, ...diff.Opt) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, errors.New("not a part of a pull")
}

// plugins lists one plugin, the snapshotter.
type plugins struct{ introspection.Service }

func (plugins) Plugins(context.Context, ...string) (*introspectionapi.PluginsResponse, error) {
	return &introspectionapi.PluginsResponse{Plugins: []*introspectionapi.Plugin{{ID: snapshotter}}}, nil
}

// A lessor protects nothing from deletion, because nothing is deleted.
type lessor struct{}

func (lessor) Create(context.Context, ...leases.Opt) (leases.Lease, error) {
	return leases.Lease{ID: "lease"}, nil
}
func (lessor) Delete(context.Context, leases.Lease, ...leases.DeleteOpt) error     { return nil }
func (lessor) List(context.Context, ...string) ([]leases.Lease, error)             { return nil, nil }
func (lessor) AddResource(context.Context, leases.Lease, leases.Resource) error    { return nil }
func (lessor) DeleteResource(context.Context, leases.Lease, leases.Resource) error { return nil }
func (lessor) ListResources(context.Context, leases.Lease) ([]leases.Resource, error) {
	return nil, nil
}
