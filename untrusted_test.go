package regcred_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/internal/testcert"
	"github.com/regcred/regcred/internal/testdns"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// A stage is a platform and the targets of a hostile profile: a victim in the platform's own network, and a registry
// that the profile's owner runs, at an address that the policy treats as public.
type stage struct {
	authority   *testcert.Authority
	resolver    *net.Resolver
	victim      string // Host and port. It serves TLS and plain HTTP.
	closed      string // No server listens there.
	hostile     string // The registry of the profile's owner.
	file        string // A file of the platform.
	mu          sync.Mutex
	connections []string      // To the victim.
	realm, to   string        // The hosts that the hostile registry names.
	seen        []http.Header // By the hostile registry.
	bodies      []string
}

const platformSecret = "client-key-data: PLATFORM"

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{}
	var err error
	s.authority, err = testcert.New("the owner of the profile")
	require.NoError(t, err)
	cert, err := s.authority.Issue("127.0.0.1", "127.0.0.2", "localhost", "registry.hostile.example", "rebind.hostile.example", "*.amazonaws.com", "*.eu-west-1.amazonaws.com", "*.googleapis.com")
	require.NoError(t, err)

	victim, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.victim = victim.Addr().String()
	t.Cleanup(func() { _ = victim.Close() })
	go s.watch(victim)

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.closed = closed.Addr().String()
	require.NoError(t, closed.Close())

	l, err := net.Listen("tcp", "127.0.0.2:0")
	require.NoError(t, err)
	s.hostile = l.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(s.serve), ErrorLog: nil, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})) }()
	t.Cleanup(func() { _ = server.Close() })

	s.resolver = testdns.Start(t, testdns.Names{
		"registry.hostile.example": {"127.0.0.2"}, "internal.hostile.example": {"127.0.0.1"},
		"rebind.hostile.example": {"127.0.0.2", "127.0.0.1"}, "metadata.hostile.example": {"169.254.169.254"},
		"private.hostile.example": {"10.0.0.1"}, "registry-1.docker.io": {"127.0.0.1"}, "auth.docker.io": {"127.0.0.1"},
		"sts.eu-west-1.amazonaws.com": {"127.0.0.1"}, "api.ecr.eu-west-1.amazonaws.com": {"127.0.0.1"},
		"oauth2.googleapis.com": {"127.0.0.1"}, "iamcredentials.googleapis.com": {"127.0.0.1"},
	})
	s.file = filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(s.file, []byte(platformSecret), 0o600))

	// The machine's sources of credentials are also at the victim.
	for name, value := range map[string]string{
		"GCE_METADATA_HOST": s.victim, "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://" + s.victim,
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://" + s.victim + "/creds", "HOME": t.TempDir(),
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_ROLE_ARN": "",
		"GOOGLE_APPLICATION_CREDENTIALS": "", "AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
	} {
		t.Setenv(name, value)
	}
	return s
}

// watch records every connection to the victim, and the first bytes that are sent there.
func (s *stage) watch(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		first := make([]byte, 64)
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, _ := conn.Read(first)
		s.mu.Lock()
		s.connections = append(s.connections, fmt.Sprintf("%q", first[:n]))
		s.mu.Unlock()
		_ = conn.Close()
	}
}

// serve is the hostile registry: it requires a login, and then redirects to the configured target.
func (s *stage) serve(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	s.mu.Lock()
	s.seen = append(s.seen, req.Header.Clone())
	s.bodies = append(s.bodies, string(body))
	realm, to := s.realm, s.to
	s.mu.Unlock()
	switch {
	case to != "" && (realm == "" || strings.HasPrefix(req.URL.Path, "/token")):
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case req.Header.Get("Authorization") == "" && realm != "":
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// SubjectToken implements [providers.Subjects]: a subject of the process itself must never be requested.
func (s *stage) SubjectToken(_ context.Context, r providers.SubjectRequest) (credentials.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections = append(s.connections, "the token of "+r.Subject.String()+" was requested")
	return credentials.Secret{}, errors.New("no token")
}

// policy returns the policy for untrusted profiles. Only two parts are for the test: the resolver, and the address of
// the hostile registry, which represents one on the internet.
func (s *stage) policy() *egress.Policy {
	return &egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, Resolver: s.resolver}
}

func (s *stage) providers() providers.Set {
	return providers.Set{
		registry.DockerHub: dockerhub.Provider{}, registry.System: system.Provider{},
		registry.Custom: federated.Provider{Subjects: s, Fallback: custom.Provider{}},
		registry.ECR:    ecr.Provider{Timeout: 5 * time.Second, SubjectTokens: []string{s.file}},
		registry.GCR:    gcr.Provider{Timeout: 5 * time.Second, SubjectTokens: []string{s.file, "http://" + s.victim + "/token"}},
	}
}

// A hostileProfile is a hostile profile, and an image to check with it.
type hostileProfile struct {
	profile registry.Profile
	image   string
	realm   string // Of the hostile registry.
	to      string // Where it redirects.
}

const (
	ecrHost  = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	gcrHost  = "europe-docker.pkg.dev"
	roleARN  = "arn:aws:iam::123456789012:role/x"
	password = "tenant-password"
)

// profiles returns the table: what a tenant may write to reach systems that belong to others.
func (s *stage) profiles(t *testing.T) map[string]hostileProfile {
	t.Helper()
	table := make(map[string]hostileProfile)
	login := credentials.Login{Username: "ann", Password: credentials.NewSecret(password)}
	base := func(kind registry.Kind, endpoint string) registry.Profile {
		return registry.Profile{
			Name: "evil", Tenant: "evil", Kind: kind, Endpoint: endpoint, Login: login,
			Transport: registry.TransportConfig{CABundle: s.authority.PEM},
		}
	}
	add := func(name string, p registry.Profile, h hostileProfile) {
		require.NotContains(t, table, name)
		h.profile = p
		if h.image == "" {
			h.image = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(p.Endpoint, "https://"), "http://"), "/") + "/team/app:1"
		}
		table[name] = h
	}
	_, port, _ := net.SplitHostPort(s.victim)

	// Endpoints: the victim under all its names, and places that only this machine can reach.
	places := []string{
		s.victim, "localhost:" + port, "127.0.0.1:22", "127.0.0.1:2379", "[::1]:" + port, "[::ffff:127.0.0.1]:" + port,
		"[64:ff9b::7f00:1]:" + port, "[::ffff:0:7f00:1]:" + port, "[64:ff9b:1::7f00:1]:" + port, "[2002:7f00:1::]:" + port, "[::]:" + port,
		"0.0.0.0:" + port, "0.0.0.1:" + port, "127.1:" + port, "127.1.2.3:" + port, "2130706433:" + port, "0x7f000001:" + port, "0177.0.0.1:" + port,
		"internal.hostile.example:" + port, "INTERNAL.hostile.example:" + port, "private.hostile.example", "metadata.hostile.example",
		"169.254.169.254", "169.254.169.254:80", "169.254.170.2", "[fd00:ec2::254]", "[fd20:ce::254]", "[fd00:c1::a9fe:a9fe]",
		"100.100.100.200", "168.63.129.16", "192.0.0.192", "metadata.google.internal", "metadata:80", "instance-data:80",
		"10.0.0.1", "172.16.0.1:6443", "192.168.1.1", "100.64.0.1", "[fc00::1]", "[fe80::1]", "224.0.0.1", "255.255.255.255",
		"kubernetes.default.svc", "kubernetes.default.svc.cluster.local:443", "missing.hostile.example", s.closed,
	}
	for _, kind := range []registry.Kind{registry.Custom, registry.System} {
		for _, place := range places {
			add(string(kind)+" at "+place, base(kind, place), hostileProfile{})
		}
	}
	p := base(registry.Custom, "http://"+s.victim)
	p.Transport.PlainHTTP = true
	add("plain HTTP", p, hostileProfile{})
	p.Kind = registry.System
	add("plain HTTP, system", p, hostileProfile{})
	p = base(registry.Custom, s.hostile)
	p.Hosts = []string{s.victim}
	add("a further host", p, hostileProfile{image: s.victim + "/team/app:1"})
	add("an image elsewhere", base(registry.Custom, s.hostile), hostileProfile{image: s.victim + "/team/app:1"})
	add("a host that rebinds", base(registry.Custom, "rebind.hostile.example:"+port), hostileProfile{})
	p = base(registry.DockerHub, "")
	add("Docker Hub by a poisoned name", p, hostileProfile{image: "docker.io/team/app:1"})

	// Proxies of the profile's own.
	for _, kind := range []struct {
		kind     registry.Kind
		endpoint string
		login    credentials.Login
	}{
		{registry.Custom, s.hostile, login},
		{registry.System, s.hostile, login},
		{registry.DockerHub, "docker.io", login},
		{registry.ECR, ecrHost, credentials.Login{AWS: &credentials.AWSLogin{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: credentials.NewSecret("x")}}},
		{registry.GCR, gcrHost, credentials.Login{Anonymous: true}},
	} {
		for _, proxy := range []string{"http://" + s.victim, "https://" + s.victim, "socks5://" + s.victim, "http://localhost:" + port, "http://169.254.169.254", "direct"} {
			p := base(kind.kind, kind.endpoint)
			p.Login, p.Transport.Proxy = kind.login, proxy
			add(fmt.Sprintf("%s through %s", kind.kind, proxy), p, hostileProfile{image: "ghcr.io/team/app:1"})
		}
	}

	// The identity of the process, and its files.
	aws := func(l credentials.AWSLogin) registry.Profile {
		p := base(registry.ECR, ecrHost)
		p.Login = credentials.Login{AWS: &l}
		return p
	}
	google := func(l credentials.GoogleLogin) registry.Profile {
		p := base(registry.GCR, gcrHost)
		p.Login = credentials.Login{Google: &l}
		return p
	}
	external := func(source string) credentials.Secret {
		return credentials.NewSecret(`{"type":"external_account","audience":"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b",` +
			`"subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"https://sts.googleapis.com/v1/token","credential_source":` + source + `}`)
	}
	for _, kind := range []registry.Kind{registry.ECR, registry.GCR, registry.Custom, registry.System, registry.DockerHub} {
		p := base(kind, map[registry.Kind]string{registry.ECR: ecrHost, registry.GCR: gcrHost, registry.Custom: s.hostile, registry.System: s.hostile}[kind])
		p.Login = credentials.Login{Ambient: true}
		add("the identity of the process, "+string(kind), p, hostileProfile{image: "ghcr.io/team/app:1"})
	}
	add("AWS: roles only", aws(credentials.AWSLogin{Roles: []credentials.AWSRole{{ARN: roleARN}}}), hostileProfile{})
	add("AWS: a file", aws(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: roleARN, TokenFile: s.file}}), hostileProfile{})
	add("AWS: a file of the pod", aws(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: roleARN, TokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token"}}), hostileProfile{})
	add("AWS: a poisoned name", aws(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: roleARN, Token: credentials.NewSecret("eyJ")}}), hostileProfile{})
	add("AWS: a key and a poisoned name", aws(credentials.AWSLogin{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: credentials.NewSecret("x")}), hostileProfile{})
	add("Google: impersonation only", google(credentials.GoogleLogin{Impersonate: "a@b.iam.gserviceaccount.com"}), hostileProfile{})
	add("Google: a file", google(credentials.GoogleLogin{Credentials: external(`{"file":"` + s.file + `"}`)}), hostileProfile{})
	add("Google: a URL", google(credentials.GoogleLogin{Credentials: external(`{"url":"http://` + s.victim + `/token"}`)}), hostileProfile{})
	add("Google: a URL that is not listed", google(credentials.GoogleLogin{Credentials: external(`{"url":"http://` + s.victim + `/other"}`)}), hostileProfile{})
	add("Google: a program", google(credentials.GoogleLogin{Credentials: external(`{"executable":{"command":"/bin/true"}}`)}), hostileProfile{})
	add("Google: the identity of an AWS machine", google(credentials.GoogleLogin{Credentials: external(`{"environment_id":"aws1","url":"http://` + s.victim + `/"}`)}), hostileProfile{})

	for name, subject := range map[string]credentials.Subject{
		"a file": {File: s.file}, "a variable": {Environment: "PLATFORM_TOKEN"}, "a source": {Source: "github-actions"},
	} {
		p := base(registry.Custom, s.hostile)
		p.Transport.CABundle = ""
		p.Login = credentials.Login{Federated: &credentials.FederatedLogin{Subject: subject, Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}}}}
		add("federated: "+name, p, hostileProfile{})
		web := aws(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: roleARN, Subject: &subject}})
		add("AWS: subject of "+name, web, hostileProfile{})
		fed := google(credentials.GoogleLogin{Federation: &credentials.GoogleFederation{Provider: "projects/1/locations/global/workloadIdentityPools/a/providers/b", Subject: subject}})
		add("Google: subject of "+name, fed, hostileProfile{})
		p.Login = credentials.Login{Azure: &credentials.AzureLogin{TenantID: "t", ClientID: "c", Subject: &subject}}
		add("Azure: subject of "+name, p, hostileProfile{})
	}
	p = base(registry.Custom, s.hostile)
	p.Login = credentials.Login{Azure: &credentials.AzureLogin{ManagedIdentity: true}}
	add("Azure: a managed identity", p, hostileProfile{})

	// The servers that a registry of the profile's owner names.
	h := base(registry.Custom, s.hostile)
	victims := []string{
		"https://" + s.victim, "http://" + s.victim, "https://localhost:" + port, "https://internal.hostile.example:" + port,
		"https://rebind.hostile.example:" + port, "https://169.254.169.254", "https://[::1]:" + port, "https://metadata.hostile.example", "https://127.1:" + port,
		"http://metadata.google.internal/computeMetadata/v1/", "https://10.0.0.1",
	}
	for _, v := range victims {
		add("a realm at "+v, h, hostileProfile{realm: v + "/token"})
		add("a redirect to "+v, h, hostileProfile{to: v + "/x"})
		add("a token server that redirects to "+v, h, hostileProfile{realm: "https://" + s.hostile + "/token", to: v + "/x"})
	}
	return table
}

// No untrusted profile sends a request to the platform's own network by any function of the library, and none reads a
// file of the platform.
func TestUntrustedProfilesReachNothing(t *testing.T) {
	s := newStage(t)
	table := s.profiles(t)
	require.GreaterOrEqual(t, len(table), 100)
	policy, set := s.policy(), s.providers()
	pipeline := &regcred.Pipeline{Provider: set, Egress: policy, Checker: validate.Checker{Timeout: 5 * time.Second, MaxWait: -1}}
	defer pipeline.Checker.CloseIdleConnections()
	checker := &validate.Checker{Egress: policy, Timeout: 5 * time.Second, MaxWait: -1}
	defer checker.CloseIdleConnections()

	for name, h := range table {
		t.Run(name, func(t *testing.T) {
			s.mu.Lock()
			s.realm, s.to, s.connections, s.bodies, s.seen = h.realm, h.to, nil, nil, nil
			s.mu.Unlock()
			for way, do := range map[string]func(context.Context) error{
				"CheckLogin": func(ctx context.Context) error { _, err := pipeline.CheckLogin(ctx, h.profile); return err },
				"Run": func(ctx context.Context) error {
					_, err := pipeline.Run(ctx, regcred.Request{Namespace: "a", Profiles: []registry.Profile{h.profile}, Images: []string{h.image}})
					return err
				},
				"Credential": func(ctx context.Context) error { _, err := pipeline.Credential(ctx, h.profile); return err },
				"CheckSecrets": func(ctx context.Context) error {
					key := strings.TrimPrefix(strings.TrimPrefix(h.profile.Endpoint, "http://"), "https://")
					config, err := pullsecret.Parse([]byte(`{"auths":{"` + key + `":{"username":"ann","password":"` + password + `"}}}`))
					require.NoError(t, err)
					_, err = pipeline.CheckSecrets(ctx, []string{h.image}, config)
					return err
				},
				"the provider": func(ctx context.Context) error {
					p := h.profile
					p.Transport.Egress = policy
					_, err := set[p.Kind].Credential(ctx, p)
					return err
				},
				"Repositories": func(ctx context.Context) error {
					_, err := pipeline.Repositories(ctx, h.profile, regcred.Search{})
					return err
				},
				"lists": func(ctx context.Context) error {
					candidate := validate.Candidate{Source: credentials.Static(credentials.Credential{Username: "ann", Password: credentials.NewSecret(password)}), Transport: h.profile.Transport}
					var last error
					if e, err := registry.ParseEndpoint(h.profile.Endpoint); err == nil {
						for _, err := range checker.Repositories(ctx, e, candidate) {
							last = err
						}
					}
					if image, err := registry.ParseImage(h.image); err == nil {
						for _, err := range checker.Tags(ctx, image, candidate) {
							last = err
						}
					}
					return last
				},
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				err := do(ctx)
				cancel()
				s.mu.Lock()
				connections, bodies := slices.Clone(s.connections), strings.Join(s.bodies, "\n")
				s.mu.Unlock()
				require.Empty(t, connections, "%s: something was sent to the victim: %v", way, err)
				require.NotContains(t, bodies, platformSecret, way)
				if err != nil {
					require.NotContains(t, err.Error(), platformSecret, way)
				}
			}
			if h.realm != "" || h.to != "" {
				require.NotEmpty(t, s.seen, "the registry of the profile's owner can be reached")
			}
		})
	}
}

// Four hosts look the same to a user: a server that responds, a port without a listener, an address that does not exist
// and a host that does not exist. The code, the text and the evidence are equal.
func TestUntrustedProfilesLearnNothing(t *testing.T) {
	s := newStage(t)
	_, open, _ := net.SplitHostPort(s.victim)
	_, closed, _ := net.SplitHostPort(s.closed)
	pipeline := &regcred.Pipeline{Egress: s.policy()}
	defer pipeline.Checker.CloseIdleConnections()
	var want string
	for _, host := range []string{
		"internal.hostile.example:" + open, "internal.hostile.example:" + closed, "private.hostile.example:" + open,
		"metadata.hostile.example:" + open, "missing.hostile.example:" + open, "127.0.0.1:" + open, "127.0.0.1:" + closed,
		"[::1]:" + open, "10.1.2.3:" + open, "169.254.169.254:" + open, "kubernetes.default.svc.cluster.local:" + open,
	} {
		p := profile("evil", host, "ann", password)
		result, err := pipeline.CheckLogin(t.Context(), p)
		require.ErrorIs(t, err, registry.ErrEgressDenied, host)
		require.False(t, registry.Temporary(err))
		result.Duration = 0
		for i := range result.Attempts {
			for j := range result.Attempts[i].Exchanges {
				result.Attempts[i].Exchanges[j].Duration = 0
			}
		}
		// Everything except the name that the user wrote.
		text := strings.NewReplacer(host, "HOST").Replace(fmt.Sprintf("%v\n%+v", err, result))
		if want == "" {
			want = text
		}
		require.Equal(t, want, text, host)
	}
}
