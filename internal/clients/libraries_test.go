package clients

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/session/testutil"
	"github.com/moby/buildkit/util/resolver"
	buildkitconfig "github.com/moby/buildkit/util/resolver/config"
	"github.com/regclient/regclient"
	"github.com/regclient/regclient/types/ref"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// libraries pull an image as programs that use them do.
var libraries = map[string]func(ctx context.Context, image string) error{
	"BuildKit":              pullWithBuildKit,
	"ORAS":                  pullWithORAS,
	"regclient":             pullWithRegclient,
	"go-containerregistry":  pullWithGGCR,
	"docker's file library": getAll,
}

// pullWithBuildKit resolves and fetches an image with the resolver of buildkitd, which asks the client for tokens over a
// session, as with buildctl and docker buildx.
func pullWithBuildKit(ctx context.Context, image string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	manager, err := session.NewManager()
	if err != nil {
		return err
	}
	s, err := session.NewSession(ctx, "")
	if err != nil {
		return err
	}
	s.Allow(authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{
		AuthConfigProvider: authprovider.LoadAuthConfig(config.LoadDefaultConfigFile(os.Stderr)),
	}))
	go func() { _ = s.Run(ctx, session.Dialer(testutil.TestStream(testutil.Handler(manager.HandleConn)))) }()
	if _, err := manager.Get(ctx, s.ID(), false); err != nil {
		return err
	}
	parsed, err := name.ParseReference(image)
	if err != nil {
		return err
	}
	encrypted := false // It connects to loopback addresses without TLS if nothing is set.
	hosts := resolver.NewRegistryConfig(map[string]buildkitconfig.RegistryConfig{parsed.Context().RegistryStr(): {PlainHTTP: &encrypted}})
	r := resolver.DefaultPool.GetResolver(hosts, image, resolver.ScopeType{}, manager, session.NewGroup(s.ID()))
	resolved, manifest, err := r.Resolve(ctx, image)
	if err != nil {
		return err
	}
	fetcher, err := r.Fetcher(ctx, resolved)
	if err != nil {
		return err
	}
	body, err := fetcher.Fetch(ctx, manifest)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

func pullWithORAS(ctx context.Context, image string) error {
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return err
	}
	repository, err := remote.NewRepository(image)
	if err != nil {
		return err
	}
	repository.Client = &auth.Client{
		Client: http.DefaultClient, Credential: credentials.Credential(store), Cache: auth.NewCache(),
		BlockedRealmPrefixes: []netip.Prefix{}, // The token server of the test is on the loopback address.
	}
	_, err = oras.Copy(ctx, repository, repository.Reference.Reference, memory.New(), "", oras.DefaultCopyOptions)
	return err
}

func pullWithRegclient(ctx context.Context, image string) error {
	source, err := ref.New(image)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(os.Getenv("REGCRED_TEST_DIR"), "regclient-")
	if err != nil {
		return err
	}
	target, err := ref.New("ocidir://" + dir + ":pulled")
	if err != nil {
		return err
	}
	c := regclient.New(regclient.WithDockerCreds())
	return c.ImageCopy(ctx, source, target)
}

func pullWithGGCR(ctx context.Context, image string) error {
	parsed, err := name.ParseReference(image)
	if err != nil {
		return err
	}
	pulled, err := ggcr.Image(parsed, ggcr.WithContext(ctx), ggcr.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return err
	}
	layers, err := pulled.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		body, err := layer.Compressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, body)
		_ = body.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// getAll prints all logins, as docker collects them for a build without BuildKit. It pulls nothing.
func getAll(_ context.Context, _ string) error {
	logins, err := config.LoadDefaultConfigFile(os.Stderr).GetAllCredentials()
	for server, login := range logins {
		fmt.Printf("%s %s\n", server, login.Username)
	}
	return err
}
