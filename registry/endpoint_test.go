package registry_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
)

func ExampleParseEndpoint() {
	for _, s := range []string{"https://GHCR.io/v2/acme/", "https://index.docker.io/v1/", "10.0.0.1:5000", "bücher.example"} {
		endpoint, err := registry.ParseEndpoint(s)
		if err != nil {
			fmt.Println(s, err)
			continue
		}
		fmt.Println(endpoint, endpoint.APIHost(), endpoint.Key())
	}
	// Output:
	// ghcr.io/acme ghcr.io ghcr.io/acme
	// docker.io registry-1.docker.io https://index.docker.io/v1/
	// 10.0.0.1:5000 10.0.0.1:5000 10.0.0.1:5000
	// bücher.example host "bücher.example" has a letter that is not ASCII: write it in punycode (xn--...)
}

func TestParseEndpoint(t *testing.T) {
	tests := map[string]string{ // Endpoints as written in the names of images.
		"ghcr.io":                   "ghcr.io",
		"  ghcr.io\n":               "ghcr.io",
		"GHCR.IO":                   "ghcr.io",
		"ghcr.io/":                  "ghcr.io",
		"ghcr.io///":                "ghcr.io",
		"https://ghcr.io":           "ghcr.io",
		"HTTPS://ghcr.io/":          "ghcr.io",
		"https://ghcr.io:443":       "ghcr.io",
		"https://ghcr.io:443/v2/":   "ghcr.io",
		"ghcr.io:443":               "ghcr.io:443", // Without a scheme, the port is part of the images' names.
		"https://ghcr.io:80":        "ghcr.io:80",
		"https://ghcr.io:4430":      "ghcr.io:4430",
		"https://registry:443":      "registry:443", // Without the port it would be a repository of Docker Hub.
		"ghcr.io/v2":                "ghcr.io",
		"ghcr.io/v2/":               "ghcr.io",
		"ghcr.io/v1/":               "ghcr.io",
		"ghcr.io/v2/acme":           "ghcr.io/acme",
		"ghcr.io/acme/v2":           "ghcr.io/acme/v2",
		"ghcr.io/v2x":               "ghcr.io/v2x",
		"ghcr.io/v3":                "ghcr.io/v3",
		"ghcr.io/Acme":              "!upper-case letter",
		"ghcr.io/acme/team.b_c--d":  "ghcr.io/acme/team.b_c--d",
		"registry:5000":             "registry:5000",
		"localhost":                 "localhost",
		"LocalHost/a":               "localhost/a",
		"127.0.0.1":                 "127.0.0.1",
		"[::1]":                     "[::1]",
		"[::1]:5000/a":              "[::1]:5000/a",
		"https://[::1]:443":         "[::1]",
		"[0:0:0:0:0:0:0:0001]:5000": "[::1]:5000",
		"[2001:DB8::A]":             "[2001:db8::a]",
		"xn--bcher-kva.example":     "xn--bcher-kva.example",
		"a.b-c.d":                   "a.b-c.d",

		"docker.io":                           "docker.io",
		"Docker.IO":                           "docker.io",
		"https://docker.io":                   "docker.io",
		"index.docker.io":                     "docker.io",
		"https://index.docker.io/v1/":         "docker.io",
		"https://index.docker.io/v1":          "docker.io",
		"https://registry-1.docker.io/v2/":    "docker.io",
		"registry-1.docker.io":                "docker.io",
		"registry.hub.docker.com":             "docker.io",
		"https://registry.hub.docker.com/v2/": "docker.io",
		"hub.docker.com":                      "docker.io",
		"https://hub.docker.com/":             "docker.io",
		"https://hub.docker.com:443":          "docker.io",
		"docker.io/acme":                      "docker.io/acme",
		"https://index.docker.io/v1/acme":     "docker.io/acme",
		"https://hub.docker.com/r/acme/app":   "!web site",
		"https://hub.docker.com/u/acme":       "!web site",
		"docker.io.example.com":               "docker.io.example.com",
		"mydocker.io":                         "mydocker.io",
		"docker.io:443":                       "docker.io:443",

		"":                              "!is empty",
		" \t\n":                         "!is empty",
		"https://":                      "!not a host name",
		"/acme":                         "!not a host name",
		"ftp://ghcr.io":                 "!scheme other than https",
		"oci://ghcr.io":                 "!scheme other than https",
		"docker://ghcr.io":              "!scheme other than https",
		"https://https://ghcr.io":       "!has a colon without a port",
		"https:/ghcr.io":                "!has a colon without a port",
		"https:ghcr.io":                 "!port",
		"jo:hunter2@ghcr.io":            "!has an @",
		"https://jo:hunter2@ghcr.io/":   "!has an @",
		"https://jo:hunter2%40ghcr.io":  "!port",
		"ghcr.io/a@sha256:abc":          "!has an @",
		"ghcr.io?x=y":                   "!query",
		"ghcr.io/a#b":                   "!query or a fragment",
		"registry":                      "!no dot and no port",
		"https://registry":              "!no dot and no port",
		"acme/team":                     "!no dot and no port: images with this name",
		"ACME/team":                     `!"ACME" has no dot and no port: in the name of an image only its upper-case letters`,
		"ghcr.io:":                      "!colon without a port",
		"ghcr.io:0":                     "!1 to 65535",
		"ghcr.io:65536":                 "!1 to 65535",
		"ghcr.io:05000":                 "!1 to 65535",
		"ghcr.io:+5":                    "!1 to 65535",
		"ghcr.io:http":                  "!1 to 65535",
		"ghcr.io:5000:5000":             "!more than one colon",
		"::1":                           "!more than one colon",
		"::1:5000":                      "!more than one colon",
		"[::1":                          "!IPv6",
		"[::1:5000":                     "!IPv6",
		"[[::1]]":                       "!IPv6",
		"[::1]]":                        "!IPv6",
		"[::1]x:5000":                   "!IPv6",
		"[fe80::1%eth0]":                "!IPv6",
		"[127.0.0.1]":                   "!IPv6",
		"[]":                            "!IPv6",
		"*.example.com":                 "!not a host name",
		"-a.example.com":                "!not a host name",
		"a-.example.com":                "!not a host name",
		"a_b.example.com":               "!not a host name",
		"a..b":                          "!not a host name",
		".example.com":                  "!not a host name",
		"ghcr.io.":                      "!not a host name",
		"ghcr .io":                      "!not a host name",
		"ghcr.io\\a":                    "!not a host name",
		"ghcr.io\x7f":                   "!not a host name",
		strings.Repeat("a", 64) + ".b":  "!not a host name",
		strings.Repeat("a.", 127) + "b": "!longer than 253",
		"gıthub.io":                     "!punycode",
		"ɢhcr.io":                       "!punycode",
		"\u212aind.io":                  "!punycode", // The Kelvin sign, which is a k in lower case.
		"ghcr.io/a b":                   `!has ' '`,
		"ghcr.io//a":                    "!two slashes",
		"ghcr.io/a//b":                  "!two slashes",
		"ghcr.io/a:1":                   `!has ':'`,
		"ghcr.io/a/":                    "ghcr.io/a",
		"ghcr.io/../a":                  "!starts with '.'",
		"ghcr.io/é":                     "!has 'é'",
	}
	for in, want := range tests {
		t.Run(in, func(t *testing.T) {
			got, err := registry.ParseEndpoint(in)
			if problem, fails := strings.CutPrefix(want, "!"); fails {
				require.ErrorContains(t, err, problem)
				require.NotContains(t, err.Error(), "hunter2")
				require.Zero(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, want, got.String())
			require.False(t, got.PlainHTTP)
		})
	}
}

func TestParseEndpointPlainHTTP(t *testing.T) {
	for in, want := range map[string]string{
		"http://a.example": "a.example", "HTTP://a.example:80/v2/": "a.example", "http://a.example:443": "a.example:443", "http://a:80": "a:80",
		"http://localhost:5000/b": "localhost:5000/b",
	} {
		e, err := registry.ParseEndpoint(in)
		require.NoError(t, err, in)
		require.Equal(t, want, e.String(), in)
		require.True(t, e.PlainHTTP, in)
	}
}

func TestEndpointKey(t *testing.T) {
	for in, want := range map[string]string{
		"docker.io": "https://index.docker.io/v1/", "http://docker.io": "https://index.docker.io/v1/", "docker.io/acme": "docker.io/acme",
		"registry.hub.docker.com": "https://index.docker.io/v1/", "https://Quay.io:443/acme/": "quay.io/acme", "[::1]:5000": "[::1]:5000",
	} {
		e, err := registry.ParseEndpoint(in)
		require.NoError(t, err, in)
		require.Equal(t, want, e.Key(), in)
	}
}

func TestEndpointServes(t *testing.T) {
	for _, test := range []struct {
		endpoint, image string
		want            bool
	}{
		{"ghcr.io", "ghcr.io/acme/app:1", true},
		{"ghcr.io/acme", "ghcr.io/acme/app:1", true},
		{"ghcr.io/acme", "ghcr.io/acme", true},
		{"ghcr.io/acme/app", "ghcr.io/acme/app@sha256:" + strings.Repeat("a", 64), true},
		{"ghcr.io/acme", "ghcr.io/acme-b/app", false},
		{"ghcr.io/acme", "ghcr.io/acmeb", false},
		{"ghcr.io/acme/app", "ghcr.io/acme", false},
		{"ghcr.io", "ghcr.io:443/acme/app", false}, // A kubelet compares ports as text.
		{"ghcr.io:443", "ghcr.io:443/acme/app", true},
		{"ghcr.io", "GHCR.io/acme/app", false}, // It compares hosts as text too.
		{"ghcr.io", "a.ghcr.io/acme/app", false},
		{"docker.io", "nginx", true},
		{"hub.docker.com", "acme/app", true},
		{"docker.io/library", "nginx", true},
		{"docker.io/library", "acme/app", false},
		{"docker.io/acme", "index.docker.io/acme/app", true},
		{"docker.io", "registry-1.docker.io/acme/app", false}, // Container runtimes do not know this name of Docker Hub.
		{"localhost", "localhost/app", true},
		{"[::1]:5000", "[::1]:5000/app", true},
	} {
		e, err := registry.ParseEndpoint(test.endpoint)
		require.NoError(t, err)
		image, err := registry.ParseImage(test.image)
		require.NoError(t, err)
		require.Equal(t, test.want, e.Serves(image), "%s serves %s", test.endpoint, test.image)
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, seed := range []string{"https://GHCR.io/v2/acme/", "[::1]:5000", "http://a:80/b", "docker.io", "hub.docker.com/r/a", "jo:pw@h.x", "a.b:99999/c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := registry.ParseEndpoint(s)
		if err != nil {
			require.Zero(t, e)
			if before, _, ok := strings.Cut(s, "@"); ok && len(before) > 20 {
				require.NotContains(t, err.Error(), before)
			}
			return
		}
		again, err := registry.ParseEndpoint(e.String())
		require.NoError(t, err, "%s", e)
		again.PlainHTTP = e.PlainHTTP
		require.Equal(t, e, again, "the canonical form is its own")

		if len(e.Path) > 200 {
			return // Too long for an image.
		}
		image, err := registry.ParseImage(e.Host + "/" + strings.TrimPrefix(e.Path+"/app", "/"))
		require.NoError(t, err, "it can stand in the name of an image")
		require.True(t, e.Serves(image))
	})
}
