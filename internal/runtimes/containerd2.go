package runtimes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/usage"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/containerd/v2/core/transfer"
	transferimage "github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/containerd/v2/core/transfer/local"
	"github.com/containerd/containerd/v2/core/unpack"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcred/regcred/internal/runtimes/memory"
	"github.com/regcred/regcred/internal/scenario"
	"github.com/regcred/regcred/registry/registrytest"
)

// linuxAMD64 is the platform of the node, as containerd reports it for any processor of that architecture.
var linuxAMD64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}

// The default of the CRI plugin.
const maxConcurrentDownloads = 3

// Containerd2 pulls with containerd 2.4. Different salts result in different images.
func Containerd2(ctx context.Context, s scenario.Scenario, salt string) Verdict {
	registry := scenario.NewRegistry(s, salt)
	err := containerd2(ctx, registry, s)
	return scenario.NewVerdict(err, registry)
}

// containerd2 does the same as CRIImageService.PullImage, with the transfer service of its plugins in their default
// configuration.
func containerd2(ctx context.Context, registry http.Handler, s scenario.Scenario) error {
	transport := registrytest.NewRoundTripper(registry)
	hosts := config.HostOptions{
		Credentials: func(string) (string, string, error) {
			username, password := login(s)
			return username, password, nil // The kubelet names no server, so every host is sent the login.
		},
		UpdateClient: func(client *http.Client) error {
			client.Transport = transport
			return nil
		},
	}
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, hosts)})
	store, list := memory.NewContentStore(), memory.NewImageStore()
	service := local.NewTransferService(store, list, local.TransferConfig{
		MaxConcurrentDownloads: maxConcurrentDownloads,
		UnpackPlatforms: []unpack.Platform{{
			Platform:       platforms.OnlyOS(linuxAMD64),
			SnapshotterKey: "overlayfs",
			Snapshotter:    memory.Snapshotter{},
			Applier:        memory.Applier{Store: store},
		}},
	})
	destination := transferimage.NewStore(scenario.Image,
		transferimage.WithPlatforms(linuxAMD64), transferimage.WithUnpack(linuxAMD64, "overlayfs"))
	if err := service.Transfer(ctx, source{resolver}, destination); err != nil {
		return fmt.Errorf("failed to pull and unpack image: %w", err)
	}
	image, err := list.Get(ctx, scenario.Image)
	if err != nil {
		return err
	}
	return readImage2(ctx, image, store)
}

// readImage2 reads the parts of an image that the CRI plugin reads before it reports the image as pulled.
func readImage2(ctx context.Context, image images.Image, store content.Store) error {
	platform := platforms.Only(linuxAMD64)
	if _, err := image.Config(ctx, store, platform); err != nil {
		return fmt.Errorf("get image config descriptor: %w", err)
	}
	if _, err := image.RootFS(ctx, store, platform); err != nil {
		return fmt.Errorf("get image diffIDs: %w", err)
	}
	if _, err := usage.CalculateImageUsage(ctx, image, store, usage.WithManifestLimit(platform, 1), usage.WithManifestUsage()); err != nil {
		return fmt.Errorf("get image compressed resource size: %w", err)
	}
	desc, err := image.Config(ctx, store, platform)
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

// A source does the same as transfer/registry.OCIRegistry, which does not accept a transport.
type source struct{ resolver remotes.Resolver }

func (s source) Resolve(ctx context.Context) (string, ocispec.Descriptor, error) {
	return s.resolver.Resolve(ctx, scenario.Image)
}

func (s source) Fetcher(ctx context.Context, ref string) (transfer.Fetcher, error) {
	return s.resolver.Fetcher(ctx, ref)
}

func (s source) SetResolverOptions(options ...transfer.ImageResolverOption) {
	if r, ok := s.resolver.(remotes.ResolverWithOptions); ok {
		r.SetOptions(options...)
	}
}
