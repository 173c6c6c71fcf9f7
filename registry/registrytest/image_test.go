package registrytest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
)

const zeroDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// The images that Add makes pass a client's checks of every byte.
func TestImagesAreValid(t *testing.T) {
	r := newRegistry(t, MCR())
	s := startServer(t, r)
	for tag, image := range map[string]Image{
		"oci":    {},
		"docker": {Format: DockerSchema2, Platforms: []string{"linux/arm64/v8"}},
		"files":  {Files: map[string]string{"bin/app": "#!/bin/true\n", "etc/app.conf": ""}},
		"empty":  {Files: map[string]string{}},
		"index":  {Platforms: []string{"linux/amd64", "linux/arm64/v8", "windows/amd64"}},
		"list":   {Format: DockerSchema2, Platforms: []string{"linux/amd64"}, Index: true},
	} {
		t.Run(tag, func(t *testing.T) {
			digest, err := r.Add("team/app:"+tag, image)
			require.NoError(t, err)
			again, err := r.Add("team/app:again", image)
			require.NoError(t, err)
			require.Equal(t, digest, again, "equal images have equal digests")
			ref, err := name.ParseReference(s.Host + "/team/app:" + tag)
			require.NoError(t, err)
			got, err := remote.Get(ref, remote.WithTransport(s.Client().Transport))
			require.NoError(t, err)
			require.Equal(t, digest, got.Digest.String())
			require.Equal(t, image.Format == DockerSchema2, strings.Contains(string(got.MediaType), "docker"))
			if got.MediaType.IsIndex() {
				index, err := got.ImageIndex()
				require.NoError(t, err)
				manifest, err := index.IndexManifest()
				require.NoError(t, err)
				var platforms []string
				for _, m := range manifest.Manifests {
					platforms = append(platforms, m.Platform.String())
					child, err := index.Image(m.Digest)
					require.NoError(t, err)
					checkImage(t, child, m.Platform.String())
				}
				require.Equal(t, image.Platforms, platforms)
				return
			}
			img, err := got.Image()
			require.NoError(t, err)
			want := "linux/amd64"
			if image.Platforms != nil {
				want = image.Platforms[0]
			}
			checkImage(t, img, want)
		})
	}
}

// checkImage reads all parts of the image; the client checks each digest on the way.
func checkImage(t *testing.T, image v1.Image, platform string) {
	t.Helper()
	config, err := image.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, platform, config.Platform().String())
	layers, err := image.Layers()
	require.NoError(t, err)
	require.Len(t, layers, len(config.RootFS.DiffIDs))
	for i, layer := range layers {
		content, err := layer.Uncompressed()
		require.NoError(t, err)
		got, _, err := v1.SHA256(content)
		require.NoError(t, err)
		require.NoError(t, content.Close())
		require.Equal(t, config.RootFS.DiffIDs[i], got)
	}
}

func TestSchema1(t *testing.T) {
	r := newRegistry(t, Quay())
	_, err := r.Add("team/app:old", Image{Format: DockerSchema1})
	require.NoError(t, err)
	got := newClient(r, "ann", "right").ask(t, "GET", "/v2/team/app/manifests/old")
	require.Equal(t, "application/vnd.docker.distribution.manifest.v1+prettyjws", got.Header.Get("Content-Type"))
	require.Contains(t, got.body, `"schemaVersion":1`)
}

func TestIncompleteImages(t *testing.T) {
	for name, c := range map[string]struct {
		without                 ImageParts
		manifest, config, layer string
	}{
		"all there":   {0, good, good, good},
		"no config":   {Config, good, "registry 404 BLOB_UNKNOWN", good},
		"no layers":   {Layers, good, good, "registry 404 BLOB_UNKNOWN"},
		"no child":    {Manifests, noTag, "", ""},
		"no contents": {Config + Layers, good, "registry 404 BLOB_UNKNOWN", "registry 404 BLOB_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, ECR())
			r.Remove("team/app")
			_, err := r.Add("team/app:2", Image{Index: true, Without: c.without})
			require.NoError(t, err)
			ann := newClient(r, "ann", "right")
			var index struct{ Manifests []struct{ Digest string } }
			require.NoError(t, json.Unmarshal([]byte(ann.ask(t, "GET", "/v2/team/app/manifests/2").body), &index))
			child := ann.ask(t, "GET", "/v2/team/app/manifests/"+index.Manifests[0].Digest)
			require.Equal(t, c.manifest, child.String())
			if c.manifest != good {
				return
			}
			var image struct {
				Config struct{ Digest string }
				Layers []struct{ Digest string }
			}
			require.NoError(t, json.Unmarshal([]byte(child.body), &image))
			require.Equal(t, c.config, ann.ask(t, "GET", "/v2/team/app/blobs/"+image.Config.Digest).String())
			require.Equal(t, c.layer, ann.ask(t, "GET", "/v2/team/app/blobs/"+image.Layers[0].Digest).String())
			require.Equal(t, "registry 404", strings.SplitAfter(ann.ask(t, "HEAD", "/v2/team/app/blobs/"+zeroDigest).String(), "404")[0])
		})
	}
}

func TestRemove(t *testing.T) {
	r := newRegistry(t, ECR())
	ann := newClient(r, "ann", "right")
	digest, err := r.Add("team/app:1", Image{})
	require.NoError(t, err)
	byDigest := "/v2/team/app/manifests/" + digest
	r.Remove("team/app:1")
	require.Equal(t, noTag, ann.ask(t, "GET", image).String())
	require.Equal(t, good, ann.ask(t, "GET", byDigest).String(), "the image itself is there")
	r.Remove("team/app@" + digest)
	require.Equal(t, noTag, ann.ask(t, "GET", byDigest).String())
	r.Remove("team/app")
	require.Equal(t, noName, ann.ask(t, "GET", byDigest).String())
	r.Remove("team/app")
}

func TestAddRefuses(t *testing.T) {
	var r Registry
	for _, name := range []string{"", "Team/app", "app:", "registry.test:5000/app", "a@b", "app:" + strings.Repeat("x", 129)} {
		_, err := r.Add(name, Image{})
		require.Error(t, err, name)
		_, err = r.AddManifest(name, "text/plain", nil)
		require.Error(t, err, name)
	}
	for _, platform := range []string{"", "linux", "linux/", "linux/arm/v7/x"} {
		_, err := r.Add("app", Image{Platforms: []string{platform}})
		require.Error(t, err, platform)
	}
}

// The right to the manifest is not the right to the layers.
func TestNoBlobs(t *testing.T) {
	r := newRegistry(t, ECR())
	ann := newClient(r, "ann", "right")
	var content struct{ Layers []struct{ Digest string } }
	require.NoError(t, json.Unmarshal([]byte(ann.ask(t, "GET", image).body), &content))
	blob := "/v2/team/app/blobs/" + content.Layers[0].Digest
	require.Equal(t, good, ann.ask(t, "GET", blob).String())
	account := r.Accounts[0]
	account.NoBlobs = []string{"team/app"}
	r.SetAccounts(account)
	require.Equal(t, good, ann.ask(t, "GET", image).String())
	require.Equal(t, denied, ann.ask(t, "GET", blob).String())
}
