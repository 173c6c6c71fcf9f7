package acr_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/acr"
	"github.com/regcred/regcred/providers/acr/acrtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

const (
	tenant = "11111111-1111-1111-1111-111111111111"
	client = "22222222-2222-2222-2222-222222222222"
	user   = "33333333-3333-3333-3333-333333333333"
	puller = "system:serviceaccount:shop:puller"
	secret = "azure-client-secret"
)

// noAmbient hides the identity of the machine that runs the tests.
func noAmbient(t *testing.T) {
	for _, name := range []string{"AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"} {
		t.Setenv(name, "")
	}
}

type cluster struct{ issuer *issuertest.Issuer }

func (c cluster) SubjectToken(_ context.Context, r providers.SubjectRequest) (credentials.Secret, error) {
	return credentials.NewSecret(c.issuer.Token(puller, r.Audience, r.Lifetime)), nil
}

func profile(login credentials.Login) registry.Profile {
	return registry.Profile{Name: "shop", Kind: registry.ACR, Endpoint: "acme.azurecr.io", Login: login}
}

func azure(l credentials.AzureLogin) credentials.Login { return credentials.Login{Azure: &l} }

func withSubject() credentials.Login {
	return azure(credentials.AzureLogin{TenantID: tenant, ClientID: client, Subject: &credentials.Subject{
		Kubernetes: &credentials.ServiceAccount{Namespace: "shop", Name: "puller"},
	}})
}

// newAzure returns a cloud with one application, which can authenticate in every way, and an identity of the machine.
func newAzure(t *testing.T, c cluster) (*acrtest.Azure, credentials.Secret) {
	certificate, text := newCertificate(t)
	trust := issuertest.Trust{Issuer: c.issuer.URL, Keys: c.issuer.JWKS, Subject: puller}
	return &acrtest.Azure{Apps: []acrtest.App{
		{TenantID: tenant, ClientID: client, Secret: secret, Certificate: certificate, Federated: []issuertest.Trust{trust}, Pull: []string{"acme.azurecr.io/*", "acme.azurecr.us/*", "acme.azurecr.cn/*"}},
		{TenantID: tenant, ClientID: user, Managed: true, Pull: []string{"acme.azurecr.io/*"}},
		{TenantID: tenant, Managed: true, Pull: []string{"acme.azurecr.io/*"}},
	}}, text
}

func newCertificate(t *testing.T) (*x509.Certificate, credentials.Secret) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "puller"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	return certificate, credentials.NewSecret(text)
}

func newCluster() cluster {
	return cluster{issuertest.New("https://kubernetes.example.com", issuertest.RS256)}
}

// Every identity gets a refresh token with which a node's requests pull.
func TestIdentities(t *testing.T) {
	noAmbient(t)
	c := newCluster()
	cloud, certificate := newAzure(t, c)
	_, err := cloud.Registry("acme.azurecr.io").Add("shop/web:1", registrytest.Image{})
	require.NoError(t, err)
	for name, login := range map[string]credentials.Login{
		"client secret":         azure(credentials.AzureLogin{TenantID: tenant, ClientID: client, ClientSecret: credentials.NewSecret(secret)}),
		"certificate":           azure(credentials.AzureLogin{TenantID: tenant, ClientID: client, Certificate: certificate}),
		"subject":               withSubject(),
		"system-assigned":       azure(credentials.AzureLogin{ManagedIdentity: true}),
		"user-assigned":         azure(credentials.AzureLogin{ManagedIdentity: true, ClientID: user}),
		"ambient, of a machine": {Ambient: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := acr.Provider{Subjects: c, RoundTripper: cloud.RoundTripper()}.Credential(t.Context(), profile(login))
			require.NoError(t, err)
			require.Equal(t, acr.Username, got.Username)
			require.WithinDuration(t, time.Now().Add(3*time.Hour), got.ExpiresAt, time.Minute, "the expiry is that of the token")

			image, err := registry.ParseImage("acme.azurecr.io/shop/web:1")
			require.NoError(t, err)
			checker := validate.Checker{RoundTripper: cloud.RoundTripper()}
			_, err = checker.Image(t.Context(), image, validate.Candidate{Name: "shop", Source: credentials.Static(got)})
			require.NoError(t, err)
		})
	}
	t.Run("ambient, of a pod", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(file, []byte(c.issuer.Token(puller, "api://AzureADTokenExchange", time.Hour)+"\n"), 0o600))
		t.Setenv("AZURE_FEDERATED_TOKEN_FILE", file)
		_, err := acr.Provider{RoundTripper: cloud.RoundTripper()}.Credential(t.Context(), profile(credentials.Login{Ambient: true}))
		require.ErrorIs(t, err, registry.ErrNoIdentity)
		t.Setenv("AZURE_TENANT_ID", tenant)
		t.Setenv("AZURE_CLIENT_ID", client)
		_, err = acr.Provider{RoundTripper: cloud.RoundTripper()}.Credential(t.Context(), profile(credentials.Login{Ambient: true}))
		require.NoError(t, err)
	})
	t.Run("app service", func(t *testing.T) {
		t.Setenv("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token")
		t.Setenv("IDENTITY_HEADER", "app-service-secret")
		_, err := acr.Provider{RoundTripper: cloud.RoundTripper()}.Credential(t.Context(), profile(azure(credentials.AzureLogin{ManagedIdentity: true})))
		require.NoError(t, err)
	})
	t.Run("repository-scoped token", func(t *testing.T) {
		before := len(cloud.Log())
		got, err := acr.Provider{RoundTripper: cloud.RoundTripper()}.Credential(t.Context(), profile(credentials.Login{Username: "pull", Password: credentials.NewSecret("long-enough")}))
		require.NoError(t, err)
		require.Equal(t, "pull", got.Username)
		require.Len(t, cloud.Log(), before, "it is used as it is")
	})
	t.Run("anonymous", func(t *testing.T) {
		got, err := acr.Provider{RoundTripper: cloud.RoundTripper()}.Credential(t.Context(), profile(credentials.Login{Anonymous: true}))
		require.NoError(t, err)
		require.True(t, got.Anonymous)
	})
}

// Each cloud has an authority and an audience of its own.
func TestClouds(t *testing.T) {
	c := newCluster()
	cloud, _ := newAzure(t, c)
	for host, authority := range map[string]string{
		"acme.azurecr.io": "login.microsoftonline.com", "acme.azurecr.us": "login.microsoftonline.us", "acme.azurecr.cn": "login.chinacloudapi.cn",
	} {
		p := profile(withSubject())
		p.Endpoint = host
		before := len(cloud.Log())
		_, err := acr.Provider{Subjects: c, RoundTripper: cloud.RoundTripper()}.Credential(t.Context(), p)
		require.NoError(t, err, host)
		require.Equal(t, []string{
			"POST " + authority + "/" + tenant + "/oauth2/v2.0/token 200", "POST " + host + "/oauth2/exchange 200",
		}, cloud.Log()[before:])
	}
}

// If a cloud does not know the audience of registries, the audience of Resource Manager is requested.
func TestManagementAudience(t *testing.T) {
	c := newCluster()
	cloud, _ := newAzure(t, c)
	cloud.NoRegistryAudience = true
	provider := acr.Provider{Subjects: c, RoundTripper: cloud.RoundTripper()}
	_, err := provider.Credential(t.Context(), profile(withSubject()))
	require.NoError(t, err)
	cloud.NoManagementAudience = true
	_, err = provider.Credential(t.Context(), profile(withSubject()))
	require.ErrorIs(t, err, registry.ErrUnsupported)
	require.ErrorContains(t, err, "authentication-as-arm")
}

func TestErrors(t *testing.T) {
	noAmbient(t)
	c := newCluster()
	tests := map[string]struct {
		login  credentials.Login
		change func(*acrtest.Azure)
		code   registry.Code
		hint   string
	}{
		"unknown tenant":   {azure(credentials.AzureLogin{TenantID: "other", ClientID: client, ClientSecret: credentials.NewSecret(secret)}), nil, registry.ErrInvalid, "azure.tenantID"},
		"unknown client":   {azure(credentials.AzureLogin{TenantID: tenant, ClientID: "other", ClientSecret: credentials.NewSecret(secret)}), nil, registry.ErrUnauthorized, "no such application"},
		"wrong secret":     {azure(credentials.AzureLogin{TenantID: tenant, ClientID: client, ClientSecret: credentials.NewSecret("the-id-of-it")}), nil, registry.ErrUnauthorized, "and not its ID"},
		"expired secret":   {azure(credentials.AzureLogin{TenantID: tenant, ClientID: client, ClientSecret: credentials.NewSecret(secret)}), func(a *acrtest.Azure) { a.Apps[0].SecretExpired = true }, registry.ErrExpired, "create a new client secret"},
		"other issuer":     {withSubject(), func(a *acrtest.Azure) { a.Apps[0].Federated[0].Issuer = "https://other.example.com" }, registry.ErrDenied, c.issuer.URL},
		"other subject":    {withSubject(), func(a *acrtest.Azure) { a.Apps[0].Federated[0].Subject = "system:serviceaccount:Shop:puller" }, registry.ErrDenied, puller},
		"other audience":   {withSubject(), func(a *acrtest.Azure) { a.Apps[0].Federated[0].Audiences = []string{"api://other"} }, registry.ErrDenied, "api://AzureADTokenExchange"},
		"no role":          {withSubject(), func(a *acrtest.Azure) { a.Apps[0].Pull = nil }, registry.ErrDenied, "ABAC"},
		"firewall":         {withSubject(), func(a *acrtest.Azure) { a.Firewall = true }, registry.ErrBlocked, "firewall"},
		"throttled":        {withSubject(), func(a *acrtest.Azure) { a.Throttle = 9 * time.Second }, registry.ErrRateLimited, ""},
		"Entra fails":      {withSubject(), func(a *acrtest.Azure) { a.ServerError = true }, registry.ErrUnavailable, ""},
		"no such identity": {azure(credentials.AzureLogin{ManagedIdentity: true, ClientID: "other"}), nil, registry.ErrNoIdentity, "assign the managed identity"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cloud, _ := newAzure(t, c)
			if test.change != nil {
				test.change(cloud)
			}
			_, err := acr.Provider{Subjects: c, RoundTripper: cloud.RoundTripper()}.Credential(t.Context(), profile(test.login))
			require.ErrorIs(t, err, test.code)
			require.Contains(t, registry.HintOf(err), test.hint)
			for _, leak := range []string{"eyJ", secret, "the-id-of-it", "entra-", "Trace ID"} {
				require.NotContains(t, err.Error(), leak)
			}
			if test.code == registry.ErrRateLimited {
				e, _ := errors.AsType[*registry.Error](err)
				require.Equal(t, 9*time.Second, e.Wait)
			}
		})
	}
}

// A rejected profile causes no request for a token and no network call.
func TestRejectedProfiles(t *testing.T) {
	noAmbient(t)
	c := newCluster()
	with := func(p registry.Profile, change func(*registry.Profile)) registry.Profile {
		change(&p)
		return p
	}
	audience := func(a string) registry.Profile {
		p := profile(withSubject())
		p.Login.Azure.Subject.Audience = a
		return p
	}
	for name, p := range map[string]registry.Profile{
		"another host":             with(profile(withSubject()), func(p *registry.Profile) { p.Endpoint = "evil.example" }),
		"a name that begins so":    with(profile(withSubject()), func(p *registry.Profile) { p.Endpoint = "acme.azurecr.io.evil.example" }),
		"a name that ends so":      with(profile(withSubject()), func(p *registry.Profile) { p.Endpoint = "evilazurecr.io" }),
		"the suffix alone":         with(profile(withSubject()), func(p *registry.Profile) { p.Endpoint = "azurecr.io" }),
		"a port":                   with(profile(withSubject()), func(p *registry.Profile) { p.Endpoint = "acme.azurecr.io:8443" }),
		"a second host":            with(profile(withSubject()), func(p *registry.Profile) { p.Hosts = []string{"other.azurecr.io"} }),
		"plain http":               with(profile(withSubject()), func(p *registry.Profile) { p.Transport.PlainHTTP = true }),
		"another cloud's audience": audience("api://AzureADTokenExchangeChina"),
		"AWS's audience":           audience("sts.amazonaws.com"),
		"own proxy, ambient":       with(profile(credentials.Login{Ambient: true}), func(p *registry.Profile) { p.Transport.Proxy = "http://evil.example:3128" }),
		"own proxy, managed":       with(profile(azure(credentials.AzureLogin{ManagedIdentity: true})), func(p *registry.Profile) { p.Transport.Proxy = "http://evil.example:3128" }),
		"own proxy, a file":        with(profile(azure(credentials.AzureLogin{TenantID: tenant, ClientID: client, Subject: &credentials.Subject{File: "/token"}})), func(p *registry.Profile) { p.Transport.Proxy = "http://evil.example:3128" }),
		"a refresh token":          profile(credentials.Login{Username: acr.Username, Password: credentials.NewSecret("long-enough")}),
		"an identity of AWS":       profile(credentials.Login{AWS: &credentials.AWSLogin{}}),
		"no certificate":           profile(azure(credentials.AzureLogin{TenantID: tenant, ClientID: client, Certificate: credentials.NewSecret("-----BEGIN X")})),
	} {
		t.Run(name, func(t *testing.T) {
			cloud, _ := newAzure(t, c)
			_, err := acr.Provider{Subjects: c, RoundTripper: cloud.RoundTripper()}.Credential(t.Context(), p)
			require.ErrorIs(t, err, registry.ErrInvalid)
			require.Empty(t, cloud.Log())
		})
	}
	for name, login := range map[string]credentials.Login{"ambient": {Ambient: true}, "managed": azure(credentials.AzureLogin{ManagedIdentity: true})} {
		require.Error(t, acr.Provider{NoAmbient: true}.Validate(profile(login)), name)
	}
	require.ErrorContains(t, acr.Provider{}.Validate(profile(withSubject())), "this program does not provide")
}

func TestKeyThatIsNotRSA(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	require.ErrorContains(t, acr.Provider{}.Validate(profile(azure(credentials.AzureLogin{TenantID: tenant, ClientID: client, Certificate: credentials.NewSecret(text)}))), "not RSA")
}

// Redirects are not followed at any step.
func TestRedirects(t *testing.T) {
	noAmbient(t)
	c := newCluster()
	cloud, _ := newAzure(t, c)
	for _, at := range []string{"login.microsoftonline.com", "acme.azurecr.io", "169.254.169.254"} {
		var hosts []string
		rt := roundTripper(func(r *http.Request) (*http.Response, error) {
			hosts = append(hosts, r.URL.Host)
			if r.URL.Host == at {
				return &http.Response{StatusCode: 307, Header: http.Header{"Location": {"https://evil.example/"}}, Body: http.NoBody, Request: r}, nil
			}
			return cloud.RoundTripper().RoundTrip(r)
		})
		for _, login := range []credentials.Login{withSubject(), azure(credentials.AzureLogin{ManagedIdentity: true})} {
			_, _ = acr.Provider{Subjects: c, RoundTripper: rt}.Credential(t.Context(), profile(login))
		}
		require.Contains(t, hosts, at)
		require.False(t, slices.ContainsFunc(hosts, func(h string) bool { return strings.Contains(h, "evil") }), "%v", hosts)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestConformance(t *testing.T) {
	noAmbient(t)
	c := newCluster()
	cloud, certificate := newAzure(t, c)
	cloud.Apps = append(cloud.Apps, acrtest.App{TenantID: tenant, ClientID: "other", Secret: "another-secret", Pull: []string{"acme.azurecr.io/*"}})
	var profiles []registry.Profile
	for i, login := range []credentials.Login{
		azure(credentials.AzureLogin{TenantID: tenant, ClientID: client, ClientSecret: credentials.NewSecret(secret)}),
		azure(credentials.AzureLogin{TenantID: tenant, ClientID: "other", ClientSecret: credentials.NewSecret("another-secret")}),
		azure(credentials.AzureLogin{TenantID: tenant, ClientID: client, Certificate: certificate}), withSubject(),
		azure(credentials.AzureLogin{ManagedIdentity: true}), {Anonymous: true},
	} {
		p := profile(login)
		p.Name = fmt.Sprintf("profile-%d", i)
		profiles = append(profiles, p)
	}
	refused := profile(withSubject())
	refused.Endpoint = "ghcr.io"
	failing := &acrtest.Azure{Apps: []acrtest.App{{TenantID: tenant}}}
	providerstest.TestProvider(t, providerstest.Fixture{
		Provider: acr.Provider{Subjects: c, RoundTripper: cloud.RoundTripper()}, Profiles: profiles, Invalid: []registry.Profile{refused},
		Failing: acr.Provider{Subjects: c, RoundTripper: failing.RoundTripper()},
		Stalled: acr.Provider{Subjects: c, RoundTripper: roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})},
	})
}

// A cache renews the refresh token well before its three hours end, for a week.
func TestDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		cloud, _ := newAzure(t, c)
		provider := acr.Provider{Subjects: c, RoundTripper: cloud.RoundTripper()}
		var cache credentials.Cache
		p := profile(withSubject())
		source := cache.Source(providers.Key(provider, p), providers.Source(provider, p))
		for range 7 * 24 * 4 {
			got, err := source.Credential(t.Context())
			require.NoError(t, err)
			require.Greater(t, time.Until(got.ExpiresAt), 10*time.Minute)
			time.Sleep(15 * time.Minute)
			synctest.Wait()
		}
		calls := len(cloud.Log()) / 2
		require.LessOrEqual(t, calls, 7*24*13/30+1, "at most 1.3 times the 56 that lifetimes require")
	})
}
