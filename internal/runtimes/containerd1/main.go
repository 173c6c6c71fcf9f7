// Program containerd1 pulls with the code of containerd 1.7. It reads scenarios from its input, one per line, as JSON,
// and writes a verdict for each. Package runtimes starts it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	"github.com/containerd/containerd"
	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/diff"
	"github.com/containerd/containerd/leases"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/namespaces"
	snapshotlabels "github.com/containerd/containerd/pkg/snapshotters"
	"github.com/containerd/containerd/remotes/docker"
	"github.com/containerd/containerd/remotes/docker/config"
	"github.com/containerd/containerd/snapshots"
	logs "github.com/containerd/log"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"github.com/regcred/regcred/internal/scenario"
	"github.com/regcred/regcred/registry/registrytest"
)

func main() {
	log.SetFlags(0)
	logs.L.Logger.SetLevel(logrus.PanicLevel)
	err := scenario.Serve(os.Stdin, os.Stdout, func(ctx context.Context, registry *scenario.Registry, p scenario.Pull) error {
		if p.Image != "" {
			return fetch(ctx, p)
		}
		return pull(namespaces.WithNamespace(ctx, "k8s.io"), registry, p.Username, p.Password)
	})
	if err != nil {
		log.Fatal(err)
	}
}

// fetch resolves an image and reads its manifest, with the hosts of a node.
func fetch(ctx context.Context, p scenario.Pull) error {
	options := config.HostOptions{HostDir: config.HostDirFromRoot(p.HostDir)}
	if p.Username != "" {
		options.Credentials = func(string) (string, string, error) { return p.Username, p.Password, nil }
	}
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, options)})
	_, desc, err := resolver.Resolve(ctx, p.Image)
	if err != nil {
		return err
	}
	fetcher, err := resolver.Fetcher(ctx, p.Image)
	if err != nil {
		return err
	}
	manifest, err := fetcher.Fetch(ctx, desc)
	if err != nil {
		return err
	}
	defer manifest.Close()
	_, err = io.Copy(io.Discard, manifest)
	return err
}

// pull does the same as the CRI plugin's PullImage in its default configuration.
func pull(ctx context.Context, registry http.Handler, username, password string) error {
	linuxAMD64 := platforms.Only(ocispec.Platform{OS: "linux", Architecture: "amd64"})
	transport := registrytest.NewRoundTripper(registry)
	hosts := config.HostOptions{
		Credentials: func(string) (string, string, error) { return username, password, nil },
		UpdateClient: func(client *http.Client) error {
			client.Transport = transport
			return nil
		},
	}
	store := newContentStore()
	client, err := containerd.New("",
		containerd.WithDefaultPlatform(linuxAMD64),
		containerd.WithServices(
			containerd.WithContentStore(store),
			containerd.WithImageStore(newImageStore()),
			containerd.WithSnapshotters(map[string]snapshots.Snapshotter{"overlayfs": snapshotter{}}),
			containerd.WithDiffService(differ{applier: applier{store}}),
			containerd.WithLeasesService(lessor{}),
		))
	if err != nil {
		return err
	}
	image, err := client.Pull(ctx, scenario.Image,
		//lint:ignore SA1019 CRI does so.
		containerd.WithSchema1Conversion,
		containerd.WithResolver(docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, hosts)})),
		containerd.WithPullSnapshotter("overlayfs"),
		containerd.WithPullUnpack,
		containerd.WithMaxConcurrentDownloads(3),
		containerd.WithImageHandlerWrapper(snapshotlabels.AppendInfoHandlerWrapper(scenario.Image)),
	)
	if err != nil {
		return fmt.Errorf("failed to pull and unpack image: %w", err)
	}
	if _, err := image.Config(ctx); err != nil {
		return fmt.Errorf("get image config descriptor: %w", err)
	}
	return read(ctx, image, store)
}

// read reads the parts of an image that the CRI plugin reads before it reports the image as pulled.
func read(ctx context.Context, image containerd.Image, store content.Store) error {
	if _, err := image.RootFS(ctx); err != nil {
		return fmt.Errorf("get image diffIDs: %w", err)
	}
	if _, err := image.Size(ctx); err != nil {
		return fmt.Errorf("get image compressed resource size: %w", err)
	}
	desc, err := image.Config(ctx)
	if err != nil {
		return fmt.Errorf("get image config descriptor: %w", err)
	}
	blob, err := content.ReadBlob(ctx, store, desc)
	if err != nil {
		return fmt.Errorf("read image config from content store: %w", err)
	}
	var spec ocispec.Image
	if err := json.Unmarshal(blob, &spec); err != nil {
		return fmt.Errorf("unmarshal image config: %w", err)
	}
	return nil
}

// A differ only applies layers.
type differ struct{ applier }

func (differ) Compare(context.Context, []mount.Mount, []mount.Mount, ...diff.Opt) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, errors.New("not a part of a pull")
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
