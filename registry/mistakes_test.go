package registry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

func newCA(t *testing.T) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// A truncated certificate is detected at the end of a bundle, and silently skipped elsewhere.
// Thread: cert-manager/cert-manager#9370.
func TestCutCertificateInABundle(t *testing.T) {
	a, b := newCA(t), newCA(t)
	cut := a[:len(a)/2] + "\n"
	require.Error(t, registry.TransportConfig{CABundle: b + cut}.Validate(), "at the end")
	require.Error(t, registry.TransportConfig{CABundle: cut + b}.Validate(), "at the start")
	require.Error(t, registry.TransportConfig{CABundle: b + cut + b}.Validate(), "in between")
}

// These bundles hold a certificate, although the error reports that there is none.
// Threads: istio/istio#24609 (files joined without a line end), distribution/distribution#3179 (byte order mark),
// cert-manager/cert-manager#1687 and bottlerocket-os/bottlerocket#3524 (base64 of PEM).
func TestWordsOfABundle(t *testing.T) {
	a := newCA(t)
	for name, bundle := range map[string]string{
		"glued": strings.TrimSpace(a) + a, "byte order mark": "\ufeff" + a, "line breaks as \\n": strings.ReplaceAll(a, "\n", `\n`),
	} {
		err := registry.TransportConfig{CABundle: bundle}.Validate()
		if err != nil && strings.Contains(err.Error(), "holds no certificate") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A password with leading or trailing white space is accepted here without a warning, and Lint reports the secret that
// Build makes of it as broken. Thread: docker/cli#6782 (docker itself trims the password).
func TestPasswordWithASpaceAtTheEnd(t *testing.T) {
	for _, login := range []credentials.Login{
		{Username: "u", Password: credentials.NewSecret("p ")}, {Username: "u ", Password: credentials.NewSecret("p")},
		{Username: "u", Password: credentials.NewSecret("\ufeffp")},
	} {
		p := registry.Profile{Name: "a", Kind: registry.Custom, Endpoint: "h.example.com", Login: login}
		require.True(t, p.Validate() != nil || len(p.Warnings()) > 0, "%q", login.Username)
	}
}

// The address of Artifactory's API is not a prefix of image names, so the key of the secret matches no image.
// Threads: microsoft/vscode-docker#3790, OctopusDeploy/Issues#7136.
func TestEndpointOfAnAPI(t *testing.T) {
	for _, endpoint := range []string{
		"https://art.example.com/artifactory/api/docker/docker-local", "https://art.example.com/artifactory/api/docker/docker-local/v2/",
	} {
		p := registry.Profile{Name: "a", Kind: registry.Custom, Endpoint: endpoint, Login: credentials.Login{Username: "u", Password: credentials.NewSecret("p")}}
		if p.Validate() == nil && len(p.Warnings()) == 0 {
			e, _ := p.MainEndpoint()
			t.Errorf("%s: taken as %s without a word", endpoint, e)
		}
	}
}

func TestBundlesThatAreNoPEM(t *testing.T) {
	a := newCA(t)
	block, _ := pem.Decode([]byte(a))
	for name, test := range map[string]struct{ bundle, says string }{
		`\n as two characters`: {strings.ReplaceAll(a, "\n", `\n`), `has \n as two characters`},
		"base64 of PEM":        {base64.StdEncoding.EncodeToString([]byte(a)), "is the base64 of certificates in PEM"},
		"without its lines":    {base64.StdEncoding.EncodeToString(block.Bytes), "without the lines -----BEGIN CERTIFICATE-----"},
		"DER":                  {string(block.Bytes), "in DER"},
		"a path":               {"/etc/ssl/certs/ca.pem", "is the path of a file"},
		"nothing of it":        {"hello", "holds no certificate"},
		"a key":                {strings.ReplaceAll(a, "CERTIFICATE", "EC PRIVATE KEY"), "holds a EC PRIVATE KEY"},
		"a damaged one":        {a + strings.Replace(a, "MII", "!II", 1) + a, "cut off or damaged, as number 2"},
		"something behind":     {a + "hello", "after the last certificate"},
	} {
		err := registry.TransportConfig{CABundle: test.bundle}.Validate()
		require.ErrorContains(t, err, test.says, name)
	}
	for name, bundle := range map[string]string{
		"comments": "# Example Root\n" + a + "\n# Another\n" + a, "carriage returns": strings.ReplaceAll(a+a, "\n", "\r\n"),
		"glued": strings.TrimSpace(a) + a, "byte order mark": "\ufeff" + a,
	} {
		require.NoError(t, registry.TransportConfig{CABundle: bundle}.Validate(), name)
	}
}

func warnings(change func(p *registry.Profile)) string {
	p := registry.Profile{
		Name: "a", Kind: registry.Custom, Endpoint: "h.example.com",
		Login: credentials.Login{Username: "u", Password: credentials.NewSecret("p")},
	}
	change(&p)
	return strings.Join(p.Warnings(), "\n")
}

func TestWarnsOfAuthoritiesOutOfTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bundle := newCA(t)
		with := func(p *registry.Profile) { p.Transport.CABundle = bundle }
		require.NotContains(t, warnings(with), "expired")
		time.Sleep(2 * time.Hour)
		require.Contains(t, warnings(with), "in transport.caBundle expired at")
		require.NoError(t, registry.TransportConfig{CABundle: bundle}.Validate())
	})
}

func TestWarnsOfALoginThatEndsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for in, want := range map[time.Duration]string{
			26*time.Hour + time.Minute: "the login expires in 26 hours", 100 * time.Hour: "the login expires in 4 days",
			-time.Hour: "the login expired at ", 30 * 24 * time.Hour: "",
		} {
			got := warnings(func(p *registry.Profile) { p.Login.ExpiresAt = time.Now().Add(in) })
			if want == "" {
				require.Empty(t, got)
			} else {
				require.Contains(t, got, want)
			}
		}
	})
}

func TestEndpointsThatAreWebSites(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://github.com/Acme/app/pkgs/container/app": "write ghcr.io/acme",
		"github.com":                   "write ghcr.io/ORGANIZATION",
		"https://gitlab.com/group/app": "write registry.gitlab.com/group",
		"https://eu-west-1.console.aws.amazon.com/ecr/?region=eu": "write ACCOUNT.dkr.ecr.REGION.amazonaws.com",
		"https://console.cloud.google.com/artifacts#x":            "write LOCATION-docker.pkg.dev/PROJECT/REPOSITORY",
		"https://portal.azure.com/#@acme/resource":                "write NAME.azurecr.io",
		"https://git.example.com/group/-/container_registry":      "is a page of GitLab's web site",
	} {
		_, err := registry.ParseEndpoint(endpoint)
		require.ErrorContains(t, err, want, endpoint)
	}
	for endpoint, want := range map[string]string{
		"https://harbor.example.com/harbor/projects":                "the endpoint is harbor.example.com, or harbor.example.com/PROJECT",
		"https://harbor.example.com/api/v2.0":                       "the endpoint is harbor.example.com",
		"quay.io/organization/acme":                                 "the endpoint is quay.io/acme",
		"https://quay.io/repository/acme/app":                       "the endpoint is quay.io/acme/app",
		"https://a.example.com/artifactory/api/docker/local":        "the endpoint is a.example.com/local, or local.a.example.com",
		"https://a.example.com/ui/native/local":                     "the endpoint is a.example.com/REPOSITORY",
		"https://n.example.com/repository/docker-hosted":            "the endpoint is the host and port of the repository's Docker connector",
		"vpce-0a1b-2c.dkr.ecr.eu-west-1.vpce.amazonaws.com":         "turn on private DNS",
		"https://vpce-0a1b-2c.dkr.ecr.eu-west-1.vpce.amazonaws.com": "ACCOUNT.dkr.ecr.eu-west-1.amazonaws.com",
	} {
		require.Contains(t, warnings(func(p *registry.Profile) { p.Endpoint = endpoint }), want, endpoint)
	}
	for _, endpoint := range []string{"quay.io/acme", "h.example.com/organization/a", "h.example.com/team/api", "h.example.com/harbor"} {
		require.Empty(t, warnings(func(p *registry.Profile) { p.Endpoint = endpoint }), endpoint)
	}
	require.Contains(t, warnings(func(p *registry.Profile) { p.Login.Username = "AWS" }), "valid for twelve hours")
}
