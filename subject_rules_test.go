package regcred_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testcert"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/acr"
	"github.com/regcred/regcred/providers/acr/acrtest"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/federated/federatedtest"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/gcr/gcrtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/providers/subjects"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

const (
	shopPuller   = "system:serviceaccount:shop:puller"
	shopRole     = "arn:aws:iam::123456789012:role/pull"
	shopProvider = "projects/123/locations/global/workloadIdentityPools/pool/providers/cluster"
	azureTenant  = "11111111-1111-1111-1111-111111111111"
	azureClient  = "22222222-2222-2222-2222-222222222222"
)

// A vendors is the internet with every vendor that exchanges tokens, all of which trust the account shop/puller; with a
// cluster that issues its tokens; and with an attacker, who owns every host at or below evil.example and a proxy.
type vendors struct {
	issuer *issuertest.Issuer
	mux    http.Handler
	// before replaces the response of a vendor if it returns true.
	before func(w http.ResponseWriter, r *http.Request) bool
	// token replaces what the cluster issues, if it is not nil.
	token func(audience string) string

	mu       sync.Mutex
	asked    []providers.SubjectRequest
	sent     []string // Hosts of all requests.
	attacker []string // What arrived at the attacker's hosts and at the proxy.
	proxy    string
}

func newVendors(t *testing.T) *vendors {
	t.Helper()
	for _, name := range []string{"AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"} {
		t.Setenv(name, "")
	}
	v := &vendors{issuer: issuertest.New("https://kubernetes.example.com", issuertest.RS256)}
	trust := issuertest.Trust{Issuer: v.issuer.URL, Keys: v.issuer.JWKS, Subject: shopPuller}
	aws := &ecrtest.AWS{
		Roles:   []ecrtest.Role{{ARN: shopRole, Subjects: []string{shopPuller}, Allow: ecrtest.PullActions()}},
		Issuers: []issuertest.Trust{{Issuer: trust.Issuer, Keys: trust.Keys}},
	}
	google := &gcrtest.Google{Trusts: map[string]issuertest.Trust{"//iam.googleapis.com/" + shopProvider: trust}}
	azure := &acrtest.Azure{Apps: []acrtest.App{{TenantID: azureTenant, ClientID: azureClient, Federated: []issuertest.Trust{trust}, Pull: []string{"acme.azurecr.io/*"}}}}
	server := func(name string) *federatedtest.Server { return &federatedtest.Server{Trust: trust, Name: name} }
	hosts := map[string]http.Handler{
		"quay.io": server("acme+shop"), "acme.jfrog.io": server("cluster"), federatedtest.Cloudsmith: server("acme/puller"),
		federatedtest.Chainguard: server("id"), federatedtest.Docker: server("uuid"), federatedtest.IBM: server("Profile-1"),
	}
	v.mux = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch host := r.Host; {
		case hosts[host] != nil:
			hosts[host].ServeHTTP(w, r)
		case strings.HasSuffix(host, "googleapis.com"):
			google.ServeHTTP(w, r)
		case strings.HasSuffix(host, "azurecr.io"), strings.HasPrefix(host, "login.microsoftonline"):
			azure.ServeHTTP(w, r)
		default:
			aws.ServeHTTP(w, r)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	v.proxy = "http://" + listener.Addr().String()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			first := make([]byte, 128)
			_ = connection.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, _ := connection.Read(first)
			v.mu.Lock()
			line, _, _ := strings.Cut(string(first[:n]), "\r\n")
			v.attacker = append(v.attacker, "proxy: "+line)
			v.mu.Unlock()
			_ = connection.Close()
		}
	}()
	return v
}

// RoundTrip carries every request of the providers.
func (v *vendors) RoundTrip(r *http.Request) (*http.Response, error) {
	host := r.URL.Hostname()
	v.mu.Lock()
	v.sent = append(v.sent, host)
	hostile := host == "evil.example" || strings.HasSuffix(host, ".evil.example") || strings.HasPrefix(host, "evil")
	if hostile {
		v.attacker = append(v.attacker, r.Method+" "+r.URL.String())
	}
	v.mu.Unlock()
	return registrytest.NewRoundTripper(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v.before == nil || !v.before(w, r) {
			v.mux.ServeHTTP(w, r)
		}
	})).RoundTrip(r)
}

// SubjectToken issues tokens of any account, as an API server does.
func (v *vendors) SubjectToken(_ context.Context, r providers.SubjectRequest) (credentials.Secret, error) {
	v.mu.Lock()
	v.asked = append(v.asked, r)
	v.mu.Unlock()
	if v.token != nil {
		return credentials.NewSecret(v.token(r.Audience)), nil
	}
	subject := shopPuller
	if k := r.Subject.Kubernetes; k != nil {
		subject = "system:serviceaccount:" + k.Namespace + ":" + k.Name
	}
	return credentials.NewSecret(v.issuer.Token(subject, r.Audience, r.Lifetime)), nil
}

// set returns the providers of a program that is careless where it may be: it allows every audience and all its files.
// Without a network, they use the profile's transport.
func (v *vendors) set(tokens providers.Subjects, network http.RoundTripper, files ...string) providers.Set {
	everything := federated.Provider{Subjects: tokens, RoundTripper: network, Allow: func(_, _, _ string) bool { return true }}
	return providers.Set{
		registry.Custom: everything, registry.DockerHub: everything,
		registry.ECR: ecr.Provider{Subjects: tokens, RoundTripper: network, SubjectTokens: files},
		registry.GCR: gcr.Provider{Subjects: tokens, RoundTripper: network, SubjectTokens: files},
		registry.ACR: acr.Provider{Subjects: tokens, RoundTripper: network},
	}
}

// nothing requires that nothing arrived at the attacker's, and forgets what was recorded.
func (v *vendors) nothing(t *testing.T, name string) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	require.Empty(t, v.attacker, name)
	v.asked, v.sent = nil, nil
}

var shopAccount = credentials.Subject{Kubernetes: &credentials.ServiceAccount{Namespace: "shop", Name: "puller"}}

// keylessProfiles returns a profile for each vendor, by the name of its exchange.
func keylessProfiles(s credentials.Subject) map[string]registry.Profile {
	profile := func(kind registry.Kind, endpoint string, login credentials.Login) registry.Profile {
		return registry.Profile{Name: "p", Kind: kind, Endpoint: endpoint, Login: login}
	}
	exchange := func(kind registry.Kind, endpoint string, x credentials.Exchange) registry.Profile {
		return profile(kind, endpoint, credentials.Login{Federated: &credentials.FederatedLogin{Subject: s, Exchange: x}})
	}
	return map[string]registry.Profile{
		"aws": profile(registry.ECR, "123456789012.dkr.ecr.eu-west-1.amazonaws.com", credentials.Login{AWS: &credentials.AWSLogin{
			WebIdentity: &credentials.AWSWebIdentity{RoleARN: shopRole, Subject: &s},
		}}),
		"google": profile(registry.GCR, "europe-docker.pkg.dev/acme", credentials.Login{Google: &credentials.GoogleLogin{
			Federation: &credentials.GoogleFederation{Provider: shopProvider, Subject: s},
		}}),
		"azure": profile(registry.ACR, "acme.azurecr.io", credentials.Login{Azure: &credentials.AzureLogin{
			TenantID: azureTenant, ClientID: azureClient, Subject: &s,
		}}),
		"quay":        exchange(registry.Custom, "quay.io/acme", credentials.Exchange{Quay: &credentials.QuayExchange{Robot: "acme+shop"}}),
		"artifactory": exchange(registry.Custom, "acme.jfrog.io", credentials.Exchange{Artifactory: &credentials.ArtifactoryExchange{Provider: "cluster"}}),
		"cloudsmith":  exchange(registry.Custom, "docker.cloudsmith.io/acme", credentials.Exchange{Cloudsmith: &credentials.CloudsmithExchange{Organization: "acme", Service: "puller"}}),
		"chainguard":  exchange(registry.Custom, "cgr.dev/acme", credentials.Exchange{Chainguard: &credentials.ChainguardExchange{Identity: "id"}}),
		"dockerHub":   exchange(registry.DockerHub, "docker.io/acme", credentials.Exchange{DockerHub: &credentials.DockerHubExchange{Organization: "acme", Connection: "uuid"}}),
		"ibm":         exchange(registry.Custom, "de.icr.io/acme", credentials.Exchange{IBM: &credentials.IBMExchange{Profile: "Profile-1"}}),
		"password":    exchange(registry.Custom, "zot.example.com", credentials.Exchange{Password: &credentials.PasswordExchange{}}),
	}
}

// hostile returns the attacker's own registry as a profile, for a subject.
func hostile(s credentials.Subject) registry.Profile {
	p := keylessProfiles(s)["quay"]
	p.Endpoint = "evil.example"
	return p
}

// TestSubjectRules tests the rules of docs/keyless/threats.md for all providers. In each case, the attacker's hosts and
// proxy receive nothing. Rule 12 is about Kubernetes: TestSubjects in inject/kube.
func TestSubjectRules(t *testing.T) {
	v := newVendors(t)
	set := v.set(v, v)
	use := func(p registry.Profile) error {
		_, err := set.Credential(t.Context(), p)
		return err
	}
	sign := func(audience any, lifetime time.Duration) func(string) string {
		return func(string) string {
			return v.issuer.Sign(map[string]any{"sub": shopPuller, "aud": audience, "exp": time.Now().Add(lifetime).Unix()})
		}
	}

	t.Run("0 everything works without an attack", func(t *testing.T) {
		v.nothing(t, "before")
		for name, p := range keylessProfiles(shopAccount) {
			require.NoError(t, use(p), name)
			v.nothing(t, name)
		}
		require.NoError(t, federatedTo(v, hostile(shopAccount)), "the attacker's registry gets tokens for itself")
		require.Len(t, v.attacker, 1)
		v.attacker = nil
		v.nothing(t, "the attacker's own")
	})

	t.Run("1 one audience that is not empty", func(t *testing.T) {
		v.nothing(t, "before")
		defer func() { v.token = nil }()
		for _, audience := range []any{[]string{}, []string{""}, "", []string{"https://evil.example", "sts.amazonaws.com"}, []string{"https://evil.example", ""}} {
			v.token = sign(audience, time.Minute)
			require.ErrorIs(t, use(hostile(shopAccount)), registry.ErrNoIdentity, audience)
			for name, p := range keylessProfiles(shopAccount) {
				require.ErrorIs(t, use(p), registry.ErrNoIdentity, name)
				require.Empty(t, v.sent, name)
			}
			v.nothing(t, fmt.Sprint(audience))
		}
	})

	t.Run("2 the audience follows the destination", func(t *testing.T) {
		v.nothing(t, "before")
		for _, audience := range []string{
			"sts.amazonaws.com", "sts.amazonaws.com.cn", "pods.eks.amazonaws.com", "api://AzureADTokenExchange", "api://AzureADTokenExchangeUSGov",
			"api://AKSIdentityBinding", "https://identity.docker.com", "iam", "acme.svc.id.goog", "//iam.googleapis.com/" + shopProvider,
			"https://iam.googleapis.com/" + shopProvider, "https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local", "api",
		} {
			s := shopAccount
			s.Audience = audience
			attack := hostile(s)
			require.ErrorIs(t, use(attack), registry.ErrInvalid, audience)
			attack.Login.Federated.Exchange = credentials.Exchange{Password: &credentials.PasswordExchange{}}
			require.ErrorIs(t, use(attack), registry.ErrInvalid, audience)
			require.Empty(t, v.asked, "no token is even requested")
			v.nothing(t, audience)
		}
		s := shopAccount
		s.Audience = "https://evil.example"
		for _, name := range []string{"aws", "google", "azure", "dockerHub", "ibm"} {
			require.ErrorIs(t, use(keylessProfiles(s)[name]), registry.ErrInvalid, "%s has one audience", name)
			require.Empty(t, v.asked, name)
		}
	})

	t.Run("3 one host, compared as a host, and no redirect", func(t *testing.T) {
		v.nothing(t, "before")
		for name, p := range keylessProfiles(shopAccount) {
			host, path, _ := strings.Cut(p.Endpoint, "/")
			for _, other := range []string{host + ".evil.example", "evil" + host, "evil.example/" + host, "evil.example:443", "evil.example#" + host, host + "@evil.example", host + "\\@evil.example"} {
				if strings.HasPrefix(other, "evil"+host) && strings.Count(host, ".") > 1 {
					continue // Such a name is below the vendor's domain, and the vendor's own.
				}
				attack := p
				attack.Endpoint = other + "/" + path
				err := use(attack)
				if name != "quay" && name != "artifactory" && name != "password" {
					require.Error(t, err, "%s at %s", name, other)
					v.nothing(t, name+" at "+other)
				}
				v.attacker = nil // These belong to whoever owns the host, and get a token for that host alone.
				attack = p
				attack.Hosts = []string{"evil.example"}
				require.ErrorIs(t, use(attack), registry.ErrInvalid, "%s has a second host", name)
				v.nothing(t, name)
			}
			attack := p
			attack.Transport.PlainHTTP = true
			if err := use(attack); err == nil {
				require.NotContains(t, []string{"aws", "google", "azure", "quay", "artifactory", "password"}, name, "plain HTTP")
			}
		}
		for _, status := range []int{301, 302, 303, 307, 308} {
			v.before = func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Location", "https://evil.example"+r.URL.RequestURI())
				w.WriteHeader(status)
				return true
			}
			for name, p := range keylessProfiles(shopAccount) {
				if name != "password" {
					require.Error(t, use(p), name)
				}
				v.nothing(t, name)
			}
		}
		v.before = nil
	})

	t.Run("4 a challenge decides nothing", func(t *testing.T) {
		v.nothing(t, "before")
		defer func() { v.before = nil }()
		v.before = func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Www-Authenticate", `Bearer realm="https://evil.example/token",service="evil.example"`)
			w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
			if strings.HasPrefix(r.Host, "login.microsoftonline") { // Azure's exchange comes after Entra's token.
				return false
			}
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		for name, p := range keylessProfiles(shopAccount) {
			if name != "password" {
				require.Error(t, use(p), name)
			}
			v.nothing(t, name)
		}
	})

	t.Run("5 no proxy or authority of the profile for tokens of the program", func(t *testing.T) {
		v.nothing(t, "before")
		file := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(file, []byte(v.issuer.Token(shopPuller, "sts.amazonaws.com", time.Hour)), 0o600))
		for name, value := range map[string]string{
			"AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": shopRole, "AZURE_FEDERATED_TOKEN_FILE": file, "AZURE_TENANT_ID": azureTenant,
			"AZURE_CLIENT_ID": azureClient, "GCE_METADATA_HOST": "127.0.0.1:1", "HOME": t.TempDir(), "AWS_EC2_METADATA_DISABLED": "true",
		} {
			t.Setenv(name, value)
		}
		authority, err := testcert.New("the attacker")
		require.NoError(t, err)
		own := v.set(v, nil, file) // It uses the profiles' transports.
		attacks := make(map[string]registry.Profile)
		for kind, s := range map[string]credentials.Subject{"file": {File: file}, "variable": {Environment: "TOKEN"}, "source": {Source: "spiffe"}} {
			for name, p := range keylessProfiles(s) {
				attacks[name+", a "+kind] = p
			}
		}
		profiles := keylessProfiles(shopAccount)
		for _, name := range []string{"aws", "google", "azure"} {
			p := profiles[name]
			p.Login = credentials.Login{Ambient: true}
			attacks[name+", the process"] = p
		}
		aws := profiles["aws"]
		aws.Login = credentials.Login{AWS: &credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: shopRole, TokenFile: file}}}
		attacks["aws, a listed file"] = aws
		google := profiles["google"]
		google.Login = credentials.Login{Google: &credentials.GoogleLogin{Credentials: credentials.NewSecret(
			`{"type":"external_account","audience":"//iam.googleapis.com/` + shopProvider + `","subject_token_type":"urn:ietf:params:oauth:token-type:jwt",` +
				`"token_url":"https://sts.googleapis.com/v1/token","credential_source":{"file":"` + file + `"}}`)}}
		attacks["google, a listed file"] = google
		azure := profiles["azure"]
		azure.Login = credentials.Login{Azure: &credentials.AzureLogin{ManagedIdentity: true}}
		attacks["azure, the machine"] = azure
		for name, attack := range attacks {
			attack.Transport.Proxy = v.proxy
			_, err := own.Credential(t.Context(), attack)
			require.ErrorIs(t, err, registry.ErrInvalid, name)
			attack.Transport = registry.TransportConfig{CABundle: authority.PEM}
			_, err = own.Credential(t.Context(), attack)
			require.ErrorIs(t, err, registry.ErrInvalid, "%s, under an authority", name)
			v.nothing(t, name)
		}
		// The account of the tenant is its own: that it arrives shows that the proxy records what it gets.
		p := profiles["quay"]
		p.Transport.Proxy = v.proxy
		_, err = own.Credential(t.Context(), p)
		require.Error(t, err)
		v.mu.Lock()
		require.NotEmpty(t, v.attacker)
		require.Contains(t, v.attacker[0], "CONNECT quay.io:443")
		v.attacker = nil
		v.mu.Unlock()
	})

	t.Run("6 a tenant has no identity of the program", func(t *testing.T) {
		v.nothing(t, "before")
		t.Setenv("REGISTRY_ID_TOKEN", v.issuer.Token(shopPuller, "https://evil.example", time.Hour))
		file := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(file, []byte(os.Getenv("REGISTRY_ID_TOKEN")), 0o600))
		tokens := subjects.Set{
			Files: []string{file}, Environment: []string{"REGISTRY_ID_TOKEN"},
			Sources: map[string]subjects.Func{"ci": func(_ context.Context, audience string) (credentials.Secret, error) {
				return credentials.NewSecret(v.issuer.Token(shopPuller, audience, time.Minute)), nil
			}},
		}
		program := v.set(tokens, v)
		for _, s := range []credentials.Subject{{File: file}, {Environment: "REGISTRY_ID_TOKEN"}, {Source: "ci"}, {File: "/etc/passwd"}, {Environment: "PATH"}, shopAccount} {
			attack := hostile(s)
			attack.Tenant = "evil"
			_, err := program.Credential(t.Context(), attack)
			require.ErrorIs(t, err, registry.ErrDenied, s)
			v.nothing(t, s.String())
		}
	})

	t.Run("7 a token is read before it is sent", func(t *testing.T) {
		v.nothing(t, "before")
		defer func() { v.token = nil }()
		for name, token := range map[string]func(string) string{
			"the pod's own": sign("https://kubernetes.default.svc", time.Hour), "another recipient's": sign("vault", time.Hour),
			"expired": sign("https://evil.example", -time.Second), "for a month": sign("https://evil.example", 31*24*time.Hour),
			"without an end": func(string) string {
				return v.issuer.Sign(map[string]any{"sub": shopPuller, "aud": "https://evil.example"})
			},
			"a kubeconfig": func(string) string { return "apiVersion: v1\nclient-key-data: SEKRET" },
			"a password":   func(string) string { return "hunter2" }, "nothing": func(string) string { return "" },
			"two lines": func(a string) string { return sign(a, time.Hour)(a) + "\nX-Header: y" },
		} {
			v.token = token
			require.Error(t, use(hostile(shopAccount)), name)
			require.Empty(t, v.sent, name)
			v.nothing(t, name)
		}
	})

	t.Run("8 not cached, not shown", func(t *testing.T) {
		v.nothing(t, "before")
		defer func() { v.before = nil }()
		for name, p := range keylessProfiles(shopAccount) {
			require.NoError(t, use(p), name)
			require.NoError(t, use(p), name)
			require.Len(t, v.asked, 2, "%s: the token of the first call is not used again", name)
			v.nothing(t, name)
		}
		v.before = func(w http.ResponseWriter, r *http.Request) bool { // The server repeats what it got.
			_ = r.ParseForm()
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, `{"error":"no","error_description":"cannot use %s %s %s %s","message":"%s"}`, r.Form.Get("client_assertion"),
				r.Form.Get("subject_token"), r.Form.Get("cr_token"), r.Header.Get("Authorization"), r.Form.Get("subject_token"))
			return true
		}
		for name, p := range keylessProfiles(shopAccount) {
			err := use(p)
			if name == "password" {
				continue
			}
			require.Error(t, err, name)
			var text bytes.Buffer
			slog.New(slog.NewJSONHandler(&text, nil)).Error("failed", "error", err, "profile", p.Name, "key", providers.Key(set, p))
			_, _ = fmt.Fprintf(&text, "%v %+v %#v %s", err, err, err, registry.HintOf(err))
			require.NotContains(t, text.String(), "eyJ", name)
			v.nothing(t, name)
		}
	})

	t.Run("9 nothing is shared between tenants or accounts", func(t *testing.T) {
		v.nothing(t, "before")
		cache := &credentials.Cache{}
		for name, p := range keylessProfiles(credentials.Subject{Kubernetes: &credentials.ServiceAccount{Name: "puller"}}) {
			for _, tenant := range []string{"acme", "evil"} {
				p := p.ForNamespace("shop")
				p.Tenant = tenant
				before := len(v.asked)
				for range 2 {
					_, err := cache.Credential(t.Context(), providers.Key(set, p), providers.Source(set, p))
					require.NoError(t, err, name)
				}
				require.Len(t, v.asked, before+1, "%s: each tenant has a credential of its own", name)
				require.Equal(t, tenant, v.asked[len(v.asked)-1].Profile.Tenant, "the source decides by the tenant")
			}
			other := p.ForNamespace("evil")
			other.Tenant = "acme"
			_, err := cache.Credential(t.Context(), providers.Key(set, other), providers.Source(set, other))
			if name == "password" {
				require.NoError(t, err)
				continue // A token of its own, which the registry rejects.
			}
			require.Error(t, err, "%s: the account of another namespace is not trusted, and gets no cached credential", name)
		}
		v.nothing(t, "sharing")
	})

	t.Run("10 a bad response is an error", func(t *testing.T) {
		v.nothing(t, "before")
		defer func() { v.before = nil }()
		for what, body := range map[string]string{
			"no token": `{}`, "an empty token": `{"token":"","access_token":"","refresh_token":""}`, "a page": "<html>Welcome</html>", "nothing": "",
			"another type":  `{"token":{"a":1},"access_token":["x"],"refresh_token":7}`,
			"two lines":     `{"token":"a\nb","access_token":"a\nb","refresh_token":"a\nb","expires_in":3600}`,
			"without limit": `{"token":"` + strings.Repeat("x", 2<<20) + `"}`,
		} {
			v.before = func(w http.ResponseWriter, _ *http.Request) bool {
				_, _ = w.Write([]byte(body))
				return true
			}
			for name, p := range keylessProfiles(shopAccount) {
				c, err := set.Credential(t.Context(), p)
				if name != "password" {
					require.Error(t, err, "%s: %s", name, what)
					require.Equal(t, credentials.Credential{}, c, "%s: no anonymous credential", name)
				}
				v.nothing(t, name)
			}
		}
	})

	t.Run("11 a rejection is not repeated", func(t *testing.T) {
		v.nothing(t, "before")
		other := credentials.Subject{Kubernetes: &credentials.ServiceAccount{Namespace: "shop", Name: "other"}}
		for name, p := range keylessProfiles(other) {
			err := use(p)
			if name == "password" {
				continue
			}
			require.Error(t, err, name)
			require.Len(t, v.sent, 1, "%s: %v", name, v.sent)
			v.nothing(t, name)
		}
	})

	t.Run("13 the password's audience is the registry's", func(t *testing.T) {
		v.nothing(t, "before")
		p := keylessProfiles(shopAccount)["password"]
		require.NoError(t, use(p))
		require.Equal(t, "https://zot.example.com", v.asked[0].Audience)
		require.Equal(t, time.Hour, v.asked[0].Lifetime)
		v.nothing(t, "password")
	})

	t.Run("14 ten minutes for an exchange", func(t *testing.T) {
		v.nothing(t, "before")
		for name, p := range keylessProfiles(shopAccount) {
			require.NoError(t, use(p), name)
			if name != "password" {
				require.Equal(t, 10*time.Minute, v.asked[0].Lifetime, name)
			}
			v.nothing(t, name)
		}
	})
}

// TestThreatsNameTests requires that the tests exist that the page on threats names.
func TestThreatsNameTests(t *testing.T) {
	page, err := os.ReadFile("docs/keyless/threats.md")
	require.NoError(t, err)
	rules := regexp.MustCompile(`(?m)^\| \d+ \|.*$`).FindAllString(string(page), -1)
	require.Len(t, rules, 14)
	for _, rule := range rules {
		named := regexp.MustCompile("`(Test[A-Za-z]+)`((?: and `Test[A-Za-z]+`)*)(?: in ((?:`[a-z/]+`(?: and )?)+))?").FindAllStringSubmatch(rule, -1)
		require.NotEmpty(t, named, rule)
		for _, m := range named {
			folders := regexp.MustCompile("`([a-z/]+)`").FindAllStringSubmatch(m[3], -1)
			if folders == nil {
				folders = [][]string{{"", "."}}
			}
			for _, name := range append(regexp.MustCompile(`Test[A-Za-z]+`).FindAllString(m[2], -1), m[1]) {
				for _, folder := range folders {
					files, err := filepath.Glob(filepath.Join(folder[1], "*_test.go"))
					require.NoError(t, err)
					require.True(t, slices.ContainsFunc(files, func(file string) bool {
						text, err := os.ReadFile(file)
						return err == nil && strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)")
					}), "%s in %s", name, folder[1])
				}
			}
		}
	}
}

// federatedTo reports whether the attacker's own registry got a request with a token for itself.
func federatedTo(v *vendors, p registry.Profile) error {
	_, err := v.set(v, v).Credential(context.Background(), p)
	if e, ok := errors.AsType[*registry.Error](err); ok && e.Code == registry.ErrInvalid {
		return err
	}
	return nil
}
