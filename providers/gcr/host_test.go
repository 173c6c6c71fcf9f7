package gcr_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/registry"
)

func googleHosts() []string {
	return []string{
		"gcr.io", "us.gcr.io", "eu.gcr.io", "asia.gcr.io", "marketplace.gcr.io", "k8s.gcr.io", "mirror.gcr.io", "l.gcr.io",
		"us-docker.pkg.dev", "europe-docker.pkg.dev", "asia-docker.pkg.dev", "us-central1-docker.pkg.dev", "europe-west12-docker.pkg.dev",
		"northamerica-northeast1-docker.pkg.dev", "me-central2-docker.pkg.dev", "docker.us-central1.rep.pkg.dev", "docker.europe-west3.rep.pkg.dev",
	}
}

func TestHosts(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	login := googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(puller), AccessToken: true})
	for _, host := range googleHosts() {
		for _, endpoint := range []string{host, "https://" + host, strings.ToUpper(host), host + "/project/app", host + "/example.com/project/app"} {
			p := profile(n, login)
			p.Endpoint = endpoint
			require.NoError(t, gcr.Provider{}.Validate(p), endpoint)
			require.Equal(t, "google", gcr.Provider{}.Scope(p), endpoint)
		}
		require.Equal(t, registry.GCR, registry.KindOf(host), "forms must know the host too")
	}
	require.Empty(t, n.Dialed())
}

// lookAlikes are names that are not registries of Google, although some are other hosts of Google.
func lookAlikes() []string {
	return []string{
		// Under another domain.
		"gcr.io.evil.example", "gcr.iox", "gcr.i", "gcr.io.", "xgcr.io", "evil-gcr.io", "gcr-io.example", "gcrxio", "gcr.io-evil.example",
		"us.gcr.io.evil.example", "us.gcr.iox", "us-gcr.io", "us.gcr.example", "us.gcr.io.example",
		"us-docker.pkg.dev.evil.example", "us-docker.pkg.devx", "us-docker.pkg.de", "us-docker.xpkg.dev", "us-docker-pkg.dev", "us-dockerxpkg.dev",
		"us-docker.pkgxdev", "us-docker.pkg-dev.example", "us-docker.pkg.dev-evil.example", "us-docker.pkg.example",
		"docker.us-central1.rep.pkg.dev.evil.example", "docker.us-central1.rep.pkg.devx", "docker.us-central1.xrep.pkg.dev", "docker.us-central1.rep-pkg.dev",
		// Another service of Google.
		"us-npm.pkg.dev", "us-python.pkg.dev", "us-maven.pkg.dev", "pkg.dev", "docker.pkg.dev", "-docker.pkg.dev", "rep.pkg.dev", "docker.rep.pkg.dev",
		"npm.us-central1.rep.pkg.dev", "storage.googleapis.com", "container.cloud.google.com", "oauth2.googleapis.com", "metadata.google.internal",
		"169.254.169.254", "google.com", "project.appspot.com", "app-abc.a.run.app",
		// Something before the name.
		"evil.us.gcr.io", "a.b.c.gcr.io", "evil.us-docker.pkg.dev", "us-docker.pkg.dev@evil.example", "user@gcr.io", "user:pass@gcr.io", "gcr.io@evil.example",
		"evil.docker.us-central1.rep.pkg.dev", "evil.example/gcr.io", ".gcr.io",
		// A port, a dot, a query, control characters, other letters.
		"gcr.io:443", "gcr.io:5000", "us-docker.pkg.dev:443", "us-docker.pkg.dev.", "gcr.io?x=.evil.example", "gcr.io#.evil.example", "gcr.io\n.evil.example",
		"gcr.io\x00", "gcr.io\\.evil.example", "gcr\u3002io", "gcr.\u0456o", "g\u0441r.io", "us-doc\u212aer.pkg.dev", "us_docker.pkg.dev", "us-docker.p\u212ag.dev",
		"\uff47cr.io", "xn--gr-nmc.io", "gcr.io%2eevil.example", "us..gcr.io", "us-docker..pkg.dev", "us-docker .pkg.dev",
		"localhost", ".", "/",
	}
}

func TestLookAlikesAreRefused(t *testing.T) {
	hosts := lookAlikes()
	require.Greater(t, len(hosts), 50)
	cloud := newGoogle()
	n := attach(t, cloud)
	login := googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(puller)})
	for _, host := range hosts {
		t.Run(host, func(t *testing.T) {
			p := profile(n, login)
			p.Endpoint = host
			_, err := gcr.Provider{}.Credential(t.Context(), p)
			require.ErrorIs(t, err, registry.ErrInvalid)
			require.Empty(t, gcr.Provider{}.Scope(p))

			p.Endpoint, p.Hosts = home, []string{host}
			_, err = gcr.Provider{}.Credential(t.Context(), p)
			require.ErrorIs(t, err, registry.ErrInvalid)
			require.Empty(t, gcr.Provider{}.Scope(p))
		})
	}
	require.Empty(t, n.Dialed(), "nobody may be asked about a look-alike")
	require.Empty(t, cloud.Calls())
}

func FuzzHost(f *testing.F) {
	for _, host := range append(googleHosts(), lookAlikes()...) {
		f.Add(host)
	}
	domain := regexp.MustCompile(`^(([a-z0-9-]+\.)?gcr\.io|[a-z0-9.-]+\.pkg\.dev)$`)
	f.Fuzz(func(t *testing.T, host string) {
		p := registry.Profile{Name: "a", Kind: registry.GCR, Endpoint: host, Login: credentials.Login{Anonymous: true}}
		if (gcr.Provider{}).Scope(p) == "" {
			return
		}
		e, err := registry.ParseEndpoint(host)
		require.NoError(t, err)
		require.Regexp(t, domain, e.Host, "a token goes to this host")
		require.Equal(t, e.Host, e.APIHost())
	})
}
