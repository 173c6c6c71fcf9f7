package runtimes

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	imgspecv1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/pkg/compression"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"

	"github.com/regcred/regcred/internal/scenario"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

// A CRIO pulls with the library of CRI-O. Create it with [NewCRIO], and close it when done. It pulls one image at a
// time.
type CRIO struct {
	network *fakenet.Network
	dir     string
}

// NewCRIO starts the network for the pulls: the library accepts no transport, but a proxy.
func NewCRIO() (*CRIO, error) {
	network, err := fakenet.New()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "regcred-crio-")
	if err != nil {
		network.Close()
		return nil, err
	}
	c := &CRIO{network, dir}
	for name, text := range map[string]string{"registries.conf": "", "auth.json": "{}", "ca.crt": network.CA} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Close stops the network.
func (c *CRIO) Close() {
	c.network.Close()
	_ = os.RemoveAll(c.dir)
}

// Pull pulls as CRI-O does. Different salts result in different images.
func (c *CRIO) Pull(ctx context.Context, s scenario.Scenario, salt string) Verdict {
	registry := scenario.NewRegistry(s, salt)
	// After 429, the library waits for two seconds to a minute, unless the registry says how long.
	impatient := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Retry-After", "0")
		registry.ServeHTTP(w, req)
	})
	for _, host := range []string{scenario.Host, scenario.AuthHost, scenario.OtherHost, scenario.StorageHost} {
		c.network.Handle(host, impatient)
	}
	return scenario.NewVerdict(c.pull(ctx, s), registry)
}

func (c *CRIO) pull(ctx context.Context, s scenario.Scenario) error {
	proxy, err := url.Parse(c.network.URL)
	if err != nil {
		return err
	}
	system := &types.SystemContext{
		ArchitectureChoice:          "amd64",
		OSChoice:                    "linux",
		DockerProxyURL:              proxy,
		DockerCertPath:              c.dir,
		AuthFilePath:                filepath.Join(c.dir, "auth.json"),
		SystemRegistriesConfPath:    filepath.Join(c.dir, "registries.conf"),
		SystemRegistriesConfDirPath: filepath.Join(c.dir, "none"),
		RegistriesDirPath:           filepath.Join(c.dir, "none"),
		// The folder does not exist, so that no pull remembers a previous one.
		BlobInfoCacheDir: filepath.Join(c.dir, "auth.json", "none"),
	}
	if username, password := login(s); username != "" {
		system.DockerAuthConfig = &types.DockerAuthConfig{Username: username, Password: password}
	}
	source, err := docker.ParseReference("//" + scenario.Image)
	if err != nil {
		return err
	}
	policy, err := signature.NewPolicyContext(&signature.Policy{Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()}})
	if err != nil {
		return err
	}
	defer func() { _ = policy.Destroy() }()
	_, err = copy.Image(ctx, policy, memoryReference{source}, source, &copy.Options{SourceCtx: system, DestinationCtx: system})
	var artifact manifest.NonImageArtifactError
	if errors.As(err, &artifact) && isArtifact(err) {
		// CRI-O then pulls the image as what it calls an OCI artifact, and reports success. Its own code, which does this,
		// is not an importable module.
		return nil
	}
	return err
}

// isArtifact reports whether CRI-O's store of artifacts accepts the image: not if it has the config of an image, or
// none.
func isArtifact(err error) bool {
	return !strings.Contains(err.Error(), manifest.DockerV2Schema2ConfigMediaType) && !strings.Contains(err.Error(), imgspecv1.MediaTypeImageConfig)
}

// A memoryReference is an image in memory with the relevant parts of CRI-O's containers-storage: the manifests that it
// accepts, and the parts of them that it reads when it commits the image.
type memoryReference struct{ types.ImageReference }

func (r memoryReference) NewImageDestination(context.Context, *types.SystemContext) (types.ImageDestination, error) {
	return &memoryImage{reference: r, blobs: make(map[digest.Digest][]byte)}, nil
}

type memoryImage struct {
	reference types.ImageReference
	manifest  []byte

	mu    sync.Mutex
	blobs map[digest.Digest][]byte
}

func (m *memoryImage) Reference() types.ImageReference { return m.reference }
func (m *memoryImage) Close() error                    { return nil }

func (m *memoryImage) SupportedManifestMIMETypes() []string {
	return []string{
		imgspecv1.MediaTypeImageManifest, manifest.DockerV2Schema2MediaType,
		manifest.DockerV2Schema1SignedMediaType, manifest.DockerV2Schema1MediaType,
	}
}
func (m *memoryImage) SupportsSignatures(context.Context) error        { return nil }
func (m *memoryImage) DesiredLayerCompression() types.LayerCompression { return types.PreserveOriginal }
func (m *memoryImage) AcceptsForeignLayerURLs() bool                   { return false }
func (m *memoryImage) MustMatchRuntimeOS() bool                        { return true }
func (m *memoryImage) IgnoresEmbeddedDockerReference() bool            { return true }
func (m *memoryImage) HasThreadSafePutBlob() bool                      { return true }

func (m *memoryImage) PutBlob(_ context.Context, stream io.Reader, info types.BlobInfo, _ types.BlobInfoCache, _ bool) (types.BlobInfo, error) {
	if info.Digest != "" {
		if err := info.Digest.Validate(); err != nil {
			return types.BlobInfo{}, fmt.Errorf("invalid digest %#v: %w", info.Digest.String(), err)
		}
	}
	data, err := io.ReadAll(stream)
	if err != nil {
		return types.BlobInfo{}, fmt.Errorf("storing blob: %w", err)
	}
	if info.Size >= 0 && info.Size != int64(len(data)) {
		return types.BlobInfo{}, errors.New("blob size mismatch")
	}
	d := digest.FromBytes(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[d] = data
	return types.BlobInfo{Digest: d, Size: int64(len(data))}, nil
}

func (m *memoryImage) TryReusingBlob(context.Context, types.BlobInfo, types.BlobInfoCache, bool) (bool, types.BlobInfo, error) {
	return false, types.BlobInfo{}, nil
}

func (m *memoryImage) PutManifest(_ context.Context, b []byte, _ *digest.Digest) error {
	m.manifest = bytes.Clone(b)
	return nil
}

func (m *memoryImage) PutSignatures(context.Context, [][]byte, *digest.Digest) error { return nil }

// Commit reads the manifest and the layers as containers-storage does.
func (m *memoryImage) Commit(ctx context.Context, toplevel types.UnparsedImage) error {
	if _, _, err := toplevel.Manifest(ctx); err != nil {
		return fmt.Errorf("retrieving top-level manifest: %w", err)
	}
	parsed, err := manifest.FromBlob(m.manifest, manifest.GuessMIMEType(m.manifest))
	if err != nil {
		return fmt.Errorf("parsing manifest: %w", err)
	}
	for _, layer := range parsed.LayerInfos() {
		if err := m.unpack(layer.Digest); err != nil {
			return fmt.Errorf("layer %s: %w", layer.Digest, err)
		}
	}
	_, err = parsed.ImageID(nil)
	return err
}

func (m *memoryImage) unpack(d digest.Digest) error {
	m.mu.Lock()
	data, ok := m.blobs[d]
	m.mu.Unlock()
	if !ok {
		return errors.New("not stored")
	}
	stream, _, err := compression.AutoDecompress(bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer stream.Close()
	for archive := tar.NewReader(stream); ; {
		if _, err := archive.Next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
