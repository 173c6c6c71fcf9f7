package registry_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
)

func ExampleParseImage() {
	image, err := registry.ParseImage("nginx")
	fmt.Println(image, err)
	image, err = registry.ParseImage("ghcr.io/acme/app:1.2")
	fmt.Println(image.Host, image.Repository, image.Tag, err)
	_, err = registry.ParseImage("ghcr.io/Acme/app")
	fmt.Println(err)
	// Output:
	// docker.io/library/nginx:latest <nil>
	// ghcr.io acme/app 1.2 <nil>
	// read image name "ghcr.io/Acme/app": invalid: repository "Acme/app" has an upper-case letter: names of repositories are in lower case; hint: correct the name of the image: expected a name such as nginx or ghcr.io/acme/app:1.4
}

var (
	sha256 = "sha256:" + strings.Repeat("0123456789abcdef", 4)
	sha512 = "sha512:" + strings.Repeat("0123456789abcdef", 8)
	hex64  = strings.Repeat("0123456789abcdef", 4)
)

func TestParseImage(t *testing.T) {
	tests := map[string]string{
		"nginx":                             "docker.io/library/nginx:latest",
		"nginx:1.27":                        "docker.io/library/nginx:1.27",
		"nginx@" + sha256:                   "docker.io/library/nginx@" + sha256,
		"nginx:1@" + sha256:                 "docker.io/library/nginx:1@" + sha256,
		"acme/app":                          "docker.io/acme/app:latest",
		"library/nginx":                     "docker.io/library/nginx:latest",
		"docker.io/nginx":                   "docker.io/library/nginx:latest",
		"index.docker.io/nginx":             "docker.io/library/nginx:latest",
		"registry-1.docker.io/a/b":          "registry-1.docker.io/a/b:latest",
		"localhost/app":                     "localhost/app:latest",
		"localhost:5000/app:v1":             "localhost:5000/app:v1",
		"registry:5000/app":                 "registry:5000/app:latest",
		"registry/app":                      "docker.io/registry/app:latest",
		"GHCR.io/acme/app":                  "GHCR.io/acme/app:latest",
		"Registry/app":                      "Registry/app:latest",
		"[::1]:5000/app":                    "[::1]:5000/app:latest",
		"a.b/c__d/e.f/g---h":                "a.b/c__d/e.f/g---h:latest",
		"nginx:_.-":                         "docker.io/library/nginx:_.-",
		"nginx@" + sha512:                   "docker.io/library/nginx@" + sha512,
		hex64 + ":1":                        "docker.io/library/" + hex64 + ":1",
		"docker.io/" + hex64:                "docker.io/library/" + hex64 + ":latest",
		"nginx:" + strings.Repeat("a", 128): "docker.io/library/nginx:" + strings.Repeat("a", 128),

		"":                                       `!read image name "": invalid: is empty;`,
		" nginx":                                 "!has white space at an end",
		"nginx ":                                 "!has white space at an end",
		"ghcr.io/a/b:1\n":                        "!has white space at an end",
		"a b":                                    "!has ' '",
		"docker.io/":                             "!empty",
		"/nginx":                                 "!empty",
		"nginx/":                                 "!two slashes",
		"a//b":                                   "!two slashes",
		"library//nginx":                         "!two slashes",
		"Nginx":                                  "!upper-case",
		"ghcr.io/acme/App":                       "!upper-case",
		"a___b":                                  `!has "___" between`,
		"a..b":                                   `!has ".." between`,
		"a._b":                                   `!has "._" between`,
		"-a":                                     "!starts with '-'",
		"a-":                                     `!ends with "-"`,
		"nginx:":                                 "!colon without a tag",
		"nginx:a:b":                              "!has ':'",
		"nginx:-a":                               "!has '-'",
		"nginx:a/b":                              "!port",
		"nginx:" + strings.Repeat("a", 129):      "!longer than 128",
		"nginx@":                                 "!not sha256",
		"nginx@sha256:abc":                       "!not sha256",
		"nginx@sha256:" + strings.ToUpper(hex64): "!not sha256",
		"nginx@md5:" + hex64[:32]:                "!not sha256",
		"nginx@" + sha256 + "@" + sha256:         "!not sha256",
		"@" + sha256:                             "!empty",
		hex64:                                    "!ID of an image",
		"https://ghcr.io/a/b:1":                  "!starts with https://: write the name without a scheme",
		"oci://ghcr.io/a/b":                      "!starts with oci://: write",
		"docker://nginx":                         "!starts with docker://: write",
		"://nginx":                               "!has",
		"ghcr.io/a/b@sha256:123":                 `!read image name "ghcr.io/a/b@sha256:123": invalid: digest "sha256:123" is not sha256: and 64`,
		"jo:s3cret@ghcr.io/a/b":                  `!read image name "***@ghcr.io/a/b": invalid: has an @ without a digest`,
		"ghcr.io:99999/a":                        "!port",
		"ghcr.io:/a":                             "!colon without a port",
		"a_b.c/d":                                "!not a host name",
		"é.com/a":                                "!punycode",
		"a.b/" + strings.Repeat("a", 256):        "!longer than 255",
		strings.Repeat("a", 248):                 "!longer than 255", // With library/.
	}
	for in, want := range tests {
		t.Run(in, func(t *testing.T) {
			got, err := registry.ParseImage(in)
			if problem, fails := strings.CutPrefix(want, "!"); fails {
				require.ErrorContains(t, err, problem)
				require.ErrorIs(t, err, registry.ErrInvalid)
				require.Contains(t, registry.HintOf(err), "correct the name of the image")
				require.Zero(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, want, got.String())
		})
	}
}

func TestImageParts(t *testing.T) {
	image, err := registry.ParseImage("ghcr.io/acme/app:1@" + sha256)
	require.NoError(t, err)
	require.Equal(t, registry.Image{Host: "ghcr.io", Repository: "acme/app", Tag: "1", Digest: sha256}, image)
	require.Equal(t, "ghcr.io/acme/app", image.Name())
	require.Equal(t, sha256, image.Reference())
	image.Digest = ""
	require.Equal(t, "1", image.Reference())
}

// FuzzParseImage compares ParseImage with the parser of Docker and containerd. ParseImage rejects more names, for known
// reasons. It never accepts a name that the other rejects, and never parses a name differently.
func FuzzParseImage(f *testing.F) {
	for _, seed := range []string{
		"nginx", "nginx:1@" + sha256, "Registry/app", "localhost/a", "a:1/b", "[::1]:5000/a", "index.docker.io/a", "docker.io/library/library/a", "a.b/c__d-e.f:G",
		hex64, hex64 + "/a", "registry-1.docker.io/a", "x@" + sha512, "LOCALHOST/a", "a/b/c:d@sha256:", "\u212a.io/a", "library/", "a.B/c", "0/a:0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ours, err := registry.ParseImage(s)
		theirs, theirErr := reference.ParseNormalizedNamed(s)
		if err != nil {
			if theirErr == nil && !stricter(theirs) && len(reference.Path(theirs)) <= 255 {
				t.Errorf("%q: they read %s; we refuse: %v", s, theirs, err)
			}
			return
		}
		if theirErr != nil {
			t.Fatalf("%q: we read %s; they refuse: %v", s, ours, theirErr)
		}
		require.Equal(t, reference.TagNameOnly(theirs).String(), ours.String())
		again, err := registry.ParseImage(ours.String())
		require.NoError(t, err)
		require.Equal(t, ours, again)
	})
}

var longLabel = regexp.MustCompile(`[^.]{64}`)

// stricter reports whether only ParseImage rejects the name: it has an impossible host, or a digest that no registry
// has.
func stricter(named reference.Named) bool {
	host := reference.Domain(named)
	if _, err := registry.ParseEndpoint(host); err != nil && (strings.ContainsAny(host, ":[") || longLabel.MatchString(host) || len(host) > 253) {
		return true
	}
	digested, ok := named.(reference.Digested)
	return ok && !strings.HasPrefix(digested.Digest().String(), "sha")
}

func TestParseImageIsAnError(t *testing.T) {
	_, err := registry.ParseImage("UPPER")
	e, ok := errors.AsType[*registry.Error](err)
	require.True(t, ok)
	require.Equal(t, `"UPPER"`, e.Ref)
	require.Equal(t, registry.ErrInvalid, registry.CodeOf(err))
}

// The name of an image or an endpoint may contain a login by mistake. No error quotes it.
func TestNoLoginInErrors(t *testing.T) {
	for _, text := range []string{
		"https://ann:c4n4ry@ghcr.io/app", "ann:c4n4ry@ghcr.io/app", "ann:c4n4ry@ghcr.io/app:1", "ghcr.io/ann:c4n4ry@app", "ann:p@c4n4ry@ghcr.io/app",
		"ann:c4n4ry@ghcr.io/app@sha256:" + strings.Repeat("0", 64), "c4n4ry@ghcr.io", "https://ghcr.io/app?token=c4n4ry", "ghcr.io/app?c4n4ry",
		"ann:c4n4ry/x@ghcr.io/App", "ann:sha256:c4n4ry@ghcr.io/app", "oauth2accesstoken:c4n4ry@gcr.io", "https://c4n4ry:@ghcr.io/v2/",
		"ghcr.io/app#c4n4ry", "ann:é@c4n4ry@ghcr.io/app",
	} {
		_, err := registry.ParseImage(text)
		require.Error(t, err, text)
		require.NotContains(t, err.Error(), "c4n4ry", text)
		require.NotContains(t, registry.HintOf(err), "c4n4ry", text)
		p := registry.Profile{Name: "a", Kind: registry.Custom, Endpoint: text, Hosts: []string{text}}
		if !strings.Contains(text, "?") && !strings.Contains(text, "#") {
			p.Transport.Proxy = text
		}
		err = p.Validate()
		require.Error(t, err, text)
		require.NotContains(t, err.Error(), "c4n4ry", text)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			require.NotContains(t, fmt.Sprintf(verb, p), "c4n4ry", verb)
			require.NotContains(t, fmt.Sprintf(verb, &p), "c4n4ry", verb)
			require.NotContains(t, fmt.Sprintf(verb, []registry.Profile{p}), "c4n4ry", verb)
			require.NotContains(t, fmt.Sprintf(verb, p.Transport), "c4n4ry", verb)
		}
		require.Equal(t, text, p.Endpoint)
	}
	require.Equal(t, "{a  custom ghcr.io []", fmt.Sprint(registry.Profile{Name: "a", Kind: registry.Custom, Endpoint: "ghcr.io"})[:21])
}
