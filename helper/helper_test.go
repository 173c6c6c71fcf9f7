package helper_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/helper"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("REGCRED_TEST_DISK"); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

func basic(name, endpoint, user string) registry.Profile {
	kind := registry.Custom
	if registry.KindOf(endpoint) == registry.DockerHub {
		kind = registry.DockerHub
	}
	return registry.Profile{
		Name: name, Kind: kind, Endpoint: endpoint,
		Login: credentials.Login{Username: user, Password: credentials.NewSecret("password-of-" + user)},
	}
}

func newHelper(profiles ...registry.Profile) *helper.Helper {
	return &helper.Helper{Profiles: profiles, Provider: providers.Set{registry.Custom: custom.Provider{}, registry.DockerHub: dockerhub.Provider{}}}
}

type login struct{ Username, Password string }

type response struct {
	Kind, APIVersion, CacheKeyType, CacheDuration string
	Auth                                          map[string]login
}

func kubelet(t *testing.T, h *helper.Helper, image, token string) (response, error) {
	t.Helper()
	request := map[string]string{"kind": "CredentialProviderRequest", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "image": image}
	if token != "" {
		request["serviceAccountToken"] = token
	}
	text, err := json.Marshal(request)
	require.NoError(t, err)
	var out bytes.Buffer
	if err := h.Kubelet(t.Context(), bytes.NewReader(text), &out); err != nil {
		require.Empty(t, out.String(), "standard output has the response and nothing else")
		return response{}, err
	}
	var r response
	decoder := json.NewDecoder(&out)
	decoder.DisallowUnknownFields() // As a kubelet does.
	require.NoError(t, decoder.Decode(&r))
	require.False(t, decoder.More())
	require.Equal(t, "CredentialProviderResponse", r.Kind)
	require.Equal(t, "credentialprovider.kubelet.k8s.io/v1", r.APIVersion)
	return r, nil
}

func TestKubelet(t *testing.T) {
	h := newHelper(
		basic("quay", "quay.io", "robot"), basic("team", "ghcr.io/team", "team"), basic("ghcr", "ghcr.io", "all"),
		basic("hub", "docker.io", "ann"), registry.Profile{Name: "mcr", Kind: registry.Custom, Endpoint: "mcr.microsoft.com", Login: credentials.Login{Anonymous: true}},
	)
	for image, want := range map[string]response{
		"quay.io/acme/app":             {CacheKeyType: "Registry", CacheDuration: "5m0s", Auth: map[string]login{"quay.io": {"robot", "password-of-robot"}}},
		"ghcr.io/team/app":             {CacheKeyType: "Image", CacheDuration: "5m0s", Auth: map[string]login{"ghcr.io": {"all", "password-of-all"}, "ghcr.io/team": {"team", "password-of-team"}}},
		"ghcr.io/team-b/app":           {CacheKeyType: "Image", CacheDuration: "5m0s", Auth: map[string]login{"ghcr.io": {"all", "password-of-all"}}},
		"docker.io/library/nginx":      {CacheKeyType: "Registry", CacheDuration: "5m0s", Auth: map[string]login{"https://index.docker.io/v1/": {"ann", "password-of-ann"}}},
		"mcr.microsoft.com/dotnet/sdk": {CacheKeyType: "Registry", CacheDuration: "1m0s", Auth: map[string]login{}},
		"unknown.example.com/app":      {CacheKeyType: "Registry", CacheDuration: "1m0s", Auth: map[string]login{}},
	} {
		got, err := kubelet(t, h, image, "")
		require.NoError(t, err, image)
		want.Kind, want.APIVersion = got.Kind, got.APIVersion
		require.Equal(t, want, got, image)
	}
}

func TestKubeletRequests(t *testing.T) {
	h := newHelper(basic("quay", "quay.io", "robot"))
	for name, test := range map[string]struct{ request, problem string }{
		"nothing":         {"", "not JSON"},
		"text":            {"quay.io/acme/app", "not JSON"},
		"another kind":    {`{"kind":"Pod","apiVersion":"v1"}`, "kind is"},
		"an older API":    {`{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1beta1","image":"quay.io/a"}`, "apiVersion"},
		"no image":        {`{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1"}`, "image"},
		"very much":       {strings.Repeat(" ", 2<<20), "larger than"},
		"not an image":    {`{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"QUAY/!"}`, "QUAY"},
		"the wrong thing": {`[]`, "not JSON"},
	} {
		var out bytes.Buffer
		err := h.Kubelet(t.Context(), strings.NewReader(test.request), &out)
		require.ErrorContains(t, err, test.problem, name)
		require.Empty(t, out.String(), name)
	}
}

// An issuer's credential is kept for half of what is left of it, and one that soon ends is not kept.
func TestKubeletCacheDuration(t *testing.T) {
	for left, want := range map[time.Duration]string{
		12 * time.Hour: "6h0m0s", time.Hour: "30m0s", 48 * time.Hour: "6h0m0s", 90 * time.Second: "0s",
	} {
		h := newHelper(basic("quay", "quay.io", "robot"))
		h.Provider = providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
			return credentials.Credential{Username: "u", Password: credentials.NewSecret("p"), ExpiresAt: time.Now().Add(left)}, nil
		})
		got, err := kubelet(t, h, "quay.io/acme/app", "")
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(got.CacheDuration, want), "%s left: %s", left, got.CacheDuration)
	}
}

// A profile that fails is reported, and does not keep the others from being served.
func TestKubeletFailures(t *testing.T) {
	h := newHelper(basic("team", "ghcr.io/team", "team"), basic("ghcr", "ghcr.io", "all"))
	set := h.Provider
	down := errors.New("issuer is down")
	failing := map[string]bool{"team": true}
	h.Provider = providers.Func(func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
		if failing[p.Name] {
			return credentials.Credential{}, down
		}
		return set.Credential(ctx, p)
	})
	var warned []error
	h.Warn = func(err error) { warned = append(warned, err) }
	got, err := kubelet(t, h, "ghcr.io/team/app", "")
	require.NoError(t, err)
	require.Equal(t, map[string]login{"ghcr.io": {"all", "password-of-all"}}, got.Auth)
	require.Equal(t, "1m0s", got.CacheDuration, "the other may be back soon")
	require.Len(t, warned, 1)
	require.ErrorIs(t, warned[0], down)

	failing["ghcr"] = true
	_, err = kubelet(t, h, "ghcr.io/team/app", "")
	require.ErrorIs(t, err, down)
}

// A kubelet kills a plugin after a minute, and then does not log its error.
func TestKubeletDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHelper(basic("quay", "quay.io", "robot"))
		h.Provider = providers.Func(func(ctx context.Context, _ registry.Profile) (credentials.Credential, error) {
			<-ctx.Done()
			return credentials.Credential{}, &registry.Error{Op: "get token", Code: registry.ErrUnavailable, Hint: "start the issuer", Err: ctx.Err()}
		})
		began := time.Now()
		_, err := kubelet(t, h, "quay.io/acme/app", "")
		require.ErrorContains(t, err, "start the issuer")
		require.Less(t, time.Since(began), time.Minute)
	})
}

// With the pod's token, nothing is stored on the node: each account gets a credential of its own.
func TestKubeletWithPodTokens(t *testing.T) {
	issuer := issuertest.New("https://kubernetes.example.com", issuertest.ES256)
	p := registry.Profile{Name: "zot", Kind: registry.Custom, Endpoint: "zot.example.com", Login: credentials.Login{Federated: &credentials.FederatedLogin{
		Subject:  credentials.Subject{Source: helper.Pod, Audience: "https://zot.example.com"},
		Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}},
	}}}
	h := &helper.Helper{
		Profiles: []registry.Profile{p}, Provider: federated.Provider{Subjects: helper.PodSubjects{}}, Disk: &helper.Disk{Dir: t.TempDir()},
	}
	for _, account := range []string{"a", "b"} {
		token := issuer.Token("system:serviceaccount:"+account+":puller", "https://zot.example.com", time.Hour)
		got, err := kubelet(t, h, "zot.example.com/app", token)
		require.NoError(t, err)
		require.Equal(t, map[string]login{"zot.example.com": {"token", token}}, got.Auth)
	}
	files, err := os.ReadDir(h.Disk.Dir)
	require.NoError(t, err)
	require.Empty(t, files, "a pod's credential is not on the disk")

	_, err = kubelet(t, h, "zot.example.com/app", "")
	require.ErrorIs(t, err, registry.ErrNoIdentity)
	require.ErrorContains(t, err, "tokenAttributes")
	_, err = kubelet(t, h, "zot.example.com/app", issuer.Token("system:serviceaccount:a:puller", "https://kubernetes.default.svc", time.Hour))
	require.ErrorIs(t, err, registry.ErrNoIdentity, "a token for the API server is not sent to a registry")
}

// The forms of addresses that clients send, read in each client.
func TestDockerGet(t *testing.T) {
	h := newHelper(
		basic("hub", "docker.io", "ann"), basic("team", "ghcr.io/team", "team"), basic("ghcr", "ghcr.io", "all"), basic("local", "localhost:5000", "dev"),
		registry.Profile{Name: "mcr", Kind: registry.Custom, Endpoint: "mcr.microsoft.com", Login: credentials.Login{Anonymous: true}},
		basic("nexus", "nexus.example.com:8443", "nx"), basic("port", "port.example.com:443", "pt"), basic("plain", "plain.example.com", "pl"),
	)
	for address, want := range map[string]string{
		"https://index.docker.io/v1/":        "ann", // docker, ORAS, BuildKit, nerdctl
		"docker.io":                          "ann", // podman, skopeo
		"index.docker.io":                    "ann", // go-containerregistry
		"index.docker.io/library/nginx":      "ann",
		"registry-1.docker.io":               "ann",
		"ghcr.io":                            "all",
		"ghcr.io/team/app":                   "team",
		"ghcr.io/team":                       "team",
		"ghcr.io/other/app":                  "all",
		"https://ghcr.io":                    "all",
		"ghcr.io:443":                        "all", // nerdctl
		"https://ghcr.io:443":                "all",
		"https://ghcr.io/v2/":                "all",
		"localhost:5000":                     "dev",
		"http://localhost:5000":              "dev",
		"localhost:5000/x":                   "dev",
		"nexus.example.com:8443":             "nx",
		"https://nexus.example.com:8443/v2/": "nx",
		"  ghcr.io \n":                       "all",
		"http://ghcr.io:443":                 "all", // nerdctl
		"ghcr.io:443/team/app":               "team",
		"port.example.com:443":               "pt", // As in the names of images.
		"https://port.example.com:443":       "pt",
		"port.example.com:443/x":             "pt",
		"http://plain.example.com:80":        "pl",
		"registry-1.docker.io:443":           "ann",
	} {
		var out bytes.Buffer
		require.NoError(t, h.Docker(t.Context(), "get", strings.NewReader(address), &out), address)
		var got struct{ ServerURL, Username, Secret string }
		require.NoError(t, json.Unmarshal(out.Bytes(), &got))
		require.Equal(t, want, got.Username, address)
		require.Equal(t, "password-of-"+want, got.Secret, address)
		require.Equal(t, strings.TrimSpace(address), got.ServerURL)
	}
	for _, address := range []string{"quay.io", "evilghcr.io", "ghcr.io.evil.example", "mcr.microsoft.com", "https://nexus.example.com", "plain.example.com:80", "https://index.docker.io/v1/refresh-token", "ftp://", "::", "https://"} {
		var out bytes.Buffer
		err := h.Docker(t.Context(), "get", strings.NewReader(address), &out)
		require.Error(t, err, address)
		require.Empty(t, out.String(), address)
		if address != "::" {
			require.ErrorIs(t, err, helper.ErrHelperNotFound, address)
			require.EqualError(t, err, "credentials not found in native keychain", "clients compare the text")
		}
	}
}

func TestDockerActions(t *testing.T) {
	h := newHelper(
		basic("hub", "docker.io", "ann"), basic("team", "ghcr.io/team", "team"), basic("other", "ghcr.io/other/part", "other"), ambient("cloud"),
		registry.Profile{Name: "open", Kind: registry.Custom, Endpoint: "quay.io", Login: credentials.Login{Anonymous: true}}, basic("quay", "quay.io/acme", "robot"),
	)
	var out bytes.Buffer
	require.NoError(t, h.Docker(t.Context(), "list", strings.NewReader("unused"), &out))
	require.JSONEq(t, `{"https://index.docker.io/v1/":"ann","ghcr.io":"team","quay.io":"robot"}`, out.String())
	out.Reset()
	require.NoError(t, h.Docker(t.Context(), "version", strings.NewReader(""), &out))
	require.NotEmpty(t, out.String())
	for _, action := range []string{"store", "erase"} {
		require.ErrorContains(t, h.Docker(t.Context(), action, strings.NewReader("{}"), &out), "stores no logins")
	}
	require.ErrorContains(t, h.Docker(t.Context(), "login", strings.NewReader(""), &out), "unknown action")
	require.EqualError(t, h.Docker(t.Context(), "get", strings.NewReader("\n"), &out), "no credentials server URL")
}

// An issuing is a provider whose credentials have the lifetime life. It counts its calls, and fails with err if that is
// set.
type issuing struct {
	calls atomic.Int64
	life  time.Duration
	err   error
}

func (i *issuing) Credential(context.Context, registry.Profile) (credentials.Credential, error) {
	n := i.calls.Add(1)
	if i.err != nil {
		return credentials.Credential{}, i.err
	}
	now := time.Now()
	return credentials.Credential{Username: "u", Password: credentials.NewSecret(fmt.Sprint("token-", n)), IssuedAt: now, ExpiresAt: now.Add(i.life)}, nil
}

func ambient(name string) registry.Profile {
	return registry.Profile{Name: name, Kind: registry.Custom, Endpoint: "cloud.example.com", Login: credentials.Login{Ambient: true}}
}

func get(h *helper.Helper) (string, error) {
	var out bytes.Buffer
	if err := h.Docker(context.Background(), "get", strings.NewReader("cloud.example.com"), &out); err != nil {
		return "", err
	}
	var got struct{ Secret string }
	return got.Secret, json.Unmarshal(out.Bytes(), &got)
}

func TestDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	issuer := &issuing{life: time.Hour}
	h := &helper.Helper{Profiles: []registry.Profile{ambient("a")}, Provider: issuer, Disk: &helper.Disk{Dir: dir}}
	first, err := get(h)
	require.NoError(t, err)
	again, err := get(&helper.Helper{Profiles: h.Profiles, Provider: issuer, Disk: &helper.Disk{Dir: dir}})
	require.NoError(t, err)
	require.Equal(t, first, again, "another process finds it")
	require.EqualValues(t, 1, issuer.calls.Load())

	// What is on the disk: one file for the credential, readable by its owner.
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	file := ""
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), e.Name())
		if len(e.Name()) == 64 {
			file = filepath.Join(dir, e.Name())
		}
	}
	require.NotEmpty(t, file)

	// A changed profile finds nothing.
	other := ambient("a")
	other.Tenant = "acme"
	_, err = get(&helper.Helper{Profiles: []registry.Profile{other}, Provider: issuer, Disk: h.Disk})
	require.NoError(t, err)
	require.EqualValues(t, 2, issuer.calls.Load())

	// A file that is damaged, half-written or from the future counts as none, and is replaced.
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	calls := issuer.calls.Load()
	for name, content := range map[string]string{
		"empty": "", "half": string(text[:len(text)/2]), "text": "hunter2", "another form": `{"username":1}`, "no login": `{}`,
		"from the future": strings.Replace(string(text), `"writtenAt":"20`, `"writtenAt":"29`, 1),
		"never expires":   `{"username":"u","password":"stolen","writtenAt":"2026-01-01T00:00:00Z"}`,
	} {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		got, err := get(h)
		require.NoError(t, err, name)
		calls++
		require.Equal(t, calls, issuer.calls.Load(), name)
		require.Equal(t, fmt.Sprint("token-", calls), got, name)
	}
}

func TestDiskRenews(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	synctest.Test(t, func(t *testing.T) {
		issuer := &issuing{life: time.Hour}
		h := &helper.Helper{Profiles: []registry.Profile{ambient("a")}, Provider: issuer, Disk: &helper.Disk{Dir: dir}}
		for minute := range 240 {
			_, err := get(h)
			require.NoError(t, err)
			require.LessOrEqual(t, issuer.calls.Load(), int64(minute/48+1), "a fifth of the lifetime before its end")
			time.Sleep(time.Minute)
		}
		require.EqualValues(t, 5, issuer.calls.Load())
	})
}

func TestDiskOfOthers(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	h := &helper.Helper{Profiles: []registry.Profile{ambient("a")}, Provider: &issuing{life: time.Hour}, Disk: &helper.Disk{Dir: dir}}
	_, err := get(h)
	require.ErrorContains(t, err, "can be entered by other users")
	h.Disk.Dir = ""
	_, err = get(h)
	require.ErrorContains(t, err, "Disk.Dir is not set")
}

// A folder that cannot be made costs calls to the issuer, and no pull.
func TestDiskUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	issuer := &issuing{life: time.Hour}
	h := &helper.Helper{Profiles: []registry.Profile{ambient("a")}, Provider: issuer, Disk: &helper.Disk{Dir: filepath.Join(file, "folder")}}
	for range 2 {
		_, err := get(h)
		require.NoError(t, err)
	}
	require.EqualValues(t, 2, issuer.calls.Load())
}

// A kubelet keeps a rejected credential for the cache duration, and gets another one when it calls again after that.
func TestDiskForKubelets(t *testing.T) {
	for _, life := range []time.Duration{time.Hour, 12 * time.Hour, 12*time.Hour - 1, 12*time.Hour - time.Millisecond, 24 * time.Hour, 30 * 24 * time.Hour} {
		t.Run(life.String(), func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.Chmod(dir, 0o700))
			synctest.Test(t, func(t *testing.T) {
				issuer := &issuing{life: life}
				h := &helper.Helper{Profiles: []registry.Profile{ambient("a")}, Provider: issuer, Disk: &helper.Disk{Dir: dir}}
				for call := range 10 {
					got, err := kubelet(t, h, "cloud.example.com/app", "")
					require.NoError(t, err)
					require.EqualValues(t, call+1, issuer.calls.Load())
					_, err = kubelet(t, h, "cloud.example.com/app", "")
					require.NoError(t, err)
					require.EqualValues(t, call+1, issuer.calls.Load(), "another kubelet's call finds it")
					keep, err := time.ParseDuration(got.CacheDuration)
					require.NoError(t, err)
					time.Sleep(keep)
				}
			})
		})
	}
}

// While the issuer cannot answer, the disk serves a credential that is due until it expires. A response about the login is
// an error.
func TestDiskInOutages(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		served bool
		keep   string
	}{
		"unreachable":    {&registry.Error{Op: "get credential", Code: registry.ErrUnreachable}, true, "5m0s"},
		"timeout":        {&registry.Error{Op: "get credential", Code: registry.ErrTimeout}, true, "5m0s"},
		"host not found": {&registry.Error{Op: "get credential", Code: registry.ErrHostNotFound}, true, "5m0s"},
		"rate limited":   {&registry.Error{Op: "get credential", Code: registry.ErrRateLimited, Wait: 20 * time.Minute}, true, "20m0s"},
		"long wait":      {&registry.Error{Op: "get credential", Code: registry.ErrRateLimited, Wait: 24 * time.Hour}, true, "2h59m58s"},
		"denied":         {&registry.Error{Op: "get credential", Code: registry.ErrDenied}, false, ""},
		"unauthorized":   {&registry.Error{Op: "get credential", Code: registry.ErrUnauthorized}, false, ""},
		"no identity":    {&registry.Error{Op: "get credential", Code: registry.ErrNoIdentity}, false, ""},
		"invalid":        {&registry.Error{Op: "get credential", Code: registry.ErrInvalid}, false, ""},
		"mixed": {errors.Join(&registry.Error{Op: "get credential", Code: registry.ErrTimeout},
			&registry.Error{Op: "get credential", Code: registry.ErrDenied}), false, ""},
		"no code": {errors.New("broken"), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.Chmod(dir, 0o700))
			synctest.Test(t, func(t *testing.T) {
				issuer := &issuing{life: 12 * time.Hour}
				var warned []error
				h := &helper.Helper{
					Profiles: []registry.Profile{ambient("a")}, Provider: issuer, Disk: &helper.Disk{Dir: dir},
					Warn: func(err error) { warned = append(warned, err) },
				}
				began := time.Now()
				at := func(after time.Duration) (response, error) {
					time.Sleep(time.Until(began.Add(after)))
					warned = nil
					return kubelet(t, h, "cloud.example.com/app", "")
				}
				first, err := at(0)
				require.NoError(t, err)

				issuer.err = test.err
				got, err := at(6*time.Hour + 4*time.Second)
				if !test.served {
					require.ErrorIs(t, err, test.err)
					require.Empty(t, warned)
					return
				}
				require.NoError(t, err)
				require.Equal(t, first.Auth, got.Auth)
				require.Equal(t, test.keep, got.CacheDuration)
				require.Equal(t, []error{test.err}, warned)

				time.Sleep(time.Until(began.Add(11 * time.Hour))) // For a terminal too.
				warned = nil
				secret, err := get(h)
				require.NoError(t, err)
				require.Equal(t, "token-1", secret)
				require.Equal(t, []error{test.err}, warned)

				got, err = at(12*time.Hour - time.Second)
				require.NoError(t, err)
				require.Equal(t, first.Auth, got.Auth)
				require.Equal(t, "0s", got.CacheDuration)

				_, err = at(12 * time.Hour)
				require.ErrorIs(t, err, test.err, "it expired")

				issuer.err = nil
				got, err = at(12*time.Hour + time.Minute)
				require.NoError(t, err)
				require.NotEqual(t, first.Auth, got.Auth)
				require.Empty(t, warned)
			})
		})
	}
}

// A call that waits for another process ends with an error that states so, or with the valid credential of the disk.
func TestDiskWaiters(t *testing.T) {
	for _, valid := range []bool{false, true} {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, 0o700))
		synctest.Test(t, func(t *testing.T) {
			var warned []error
			h := &helper.Helper{
				Profiles: []registry.Profile{ambient("a")}, Provider: &issuing{life: 12 * time.Hour}, Disk: &helper.Disk{Dir: dir},
				Warn: func(err error) { warned = append(warned, err) },
			}
			if valid {
				_, err := kubelet(t, h, "cloud.example.com/app", "")
				require.NoError(t, err)
				time.Sleep(7 * time.Hour)
			}
			other := *h
			other.Warn = func(error) {} // It warns in its own goroutine.
			other.Provider = providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
				time.Sleep(2 * time.Minute)
				return credentials.Credential{}, errors.New("broken")
			})
			go func() { _, _ = kubelet(t, &other, "cloud.example.com/app", "") }()
			synctest.Wait()
			began := time.Now()
			got, err := kubelet(t, h, "cloud.example.com/app", "")
			require.Less(t, time.Since(began), time.Minute)
			if valid {
				require.NoError(t, err)
				require.Equal(t, map[string]login{"cloud.example.com": {"u", "token-1"}}, got.Auth)
				require.Len(t, warned, 1)
				err = warned[0]
			}
			require.EqualError(t, err, `get credential for profile "a": timeout: another call for this profile waits for the issuer: `+
				`no answer within 50s: context deadline exceeded; hint: `+registry.ErrTimeout.Hint())
			require.ErrorIs(t, err, registry.ErrTimeout)

			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err = h.Docker(ctx, "get", strings.NewReader("cloud.example.com"), new(bytes.Buffer))
			if !valid {
				require.ErrorIs(t, err, registry.ErrCanceled)
				require.ErrorContains(t, err, `for profile "a"`)
			}
			time.Sleep(2 * time.Minute)
		})
	}
}

// A call that waited for another process has less time left than its provider takes for a timeout. The time limit of the
// call is a timeout too, and not the end of the caller's interest.
func TestKubeletDeadlineAfterWait(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	synctest.Test(t, func(t *testing.T) {
		p := registry.Profile{Name: "zot", Kind: registry.Custom, Endpoint: "zot.example.com", Login: credentials.Login{Federated: &credentials.FederatedLogin{
			Subject:  credentials.Subject{Source: "ci", Audience: "https://zot.example.com"},
			Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}},
		}}}
		h := &helper.Helper{Profiles: []registry.Profile{p}, Disk: &helper.Disk{Dir: dir}, Provider: federated.Provider{Subjects: hanging{}}}
		other := *h
		other.Provider = providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
			time.Sleep(25 * time.Second)
			return credentials.Credential{}, errors.New("broken")
		})
		go func() {
			_ = other.Docker(context.Background(), "get", strings.NewReader("zot.example.com"), new(bytes.Buffer))
		}()
		synctest.Wait()
		_, err := kubelet(t, h, "zot.example.com/app", "")
		require.EqualError(t, err, `get credential for profile "zot": timeout: no answer within 50s: context deadline exceeded; hint: `+registry.ErrTimeout.Hint())
		require.ErrorIs(t, err, registry.ErrTimeout)
		require.NotErrorIs(t, err, registry.ErrCanceled)

		// A provider that returns a plain error.
		h.Provider = providers.Func(func(ctx context.Context, _ registry.Profile) (credentials.Credential, error) {
			<-ctx.Done()
			return credentials.Credential{}, ctx.Err()
		})
		_, err = kubelet(t, h, "zot.example.com/app", "")
		require.ErrorIs(t, err, registry.ErrTimeout)
		require.ErrorContains(t, err, `get credential for profile "zot"`)
	})
}

// A hanging has no token.
type hanging struct{}

func (hanging) SubjectToken(ctx context.Context, _ providers.SubjectRequest) (credentials.Secret, error) {
	<-ctx.Done()
	return credentials.Secret{}, context.Cause(ctx)
}

// A hundred processes on a cold disk make one call to the issuer.
func TestDiskLocksProcesses(t *testing.T) {
	const processes = 100
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	program, err := os.Executable()
	require.NoError(t, err)
	outputs := make([]string, processes)
	var running sync.WaitGroup
	for i := range processes {
		running.Go(func() {
			command := exec.CommandContext(t.Context(), program)
			command.Env = append(os.Environ(), "REGCRED_TEST_DISK="+dir)
			output, err := command.CombinedOutput()
			if outputs[i] = string(output); err != nil {
				outputs[i] = err.Error() + ": " + outputs[i]
			}
		})
	}
	running.Wait()
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	require.NoError(t, err)
	require.Len(t, string(calls), 1, "calls to the issuer")
	for _, output := range outputs {
		require.Equal(t, outputs[0], output)
	}
	require.Contains(t, outputs[0], "token-of-")
}

// child is one process of TestDiskLocksProcesses. Its issuer notes each call in a file.
func child(dir string) {
	h := &helper.Helper{Profiles: []registry.Profile{ambient("a")}, Disk: &helper.Disk{Dir: dir}}
	h.Provider = providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
		f, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString("x")
		}
		if err != nil {
			return credentials.Credential{}, err
		}
		time.Sleep(50 * time.Millisecond) // An issuer takes its time.
		return credentials.Credential{
			Username: "u", Password: credentials.NewSecret("token-of-" + strconv.Itoa(os.Getpid())), ExpiresAt: time.Now().Add(time.Hour),
		}, f.Close()
	})
	secret, err := get(h)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(secret)
}

func TestKubeletConfig(t *testing.T) {
	pod := func(name, endpoint, audience string) registry.Profile {
		return registry.Profile{Name: name, Kind: registry.Custom, Endpoint: endpoint, Login: credentials.Login{Federated: &credentials.FederatedLogin{
			Subject:  credentials.Subject{Source: helper.Pod, Audience: audience},
			Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}},
		}}}
	}
	config := helper.KubeletConfig{
		Name: "regcred-credential-provider", Args: []string{"-profiles", "/etc/regcred/profiles.yaml"},
		Profiles: []registry.Profile{basic("ghcr", "ghcr.io/team", "team"), basic("hub", "docker.io", "ann"), pod("zot", "zot.example.com", "https://zot.example.com")},
	}
	text, err := config.JSON()
	require.NoError(t, err)
	require.JSONEq(t, `{"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": [
		{"name": "regcred-credential-provider", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "matchImages": ["docker.io", "ghcr.io/team"],
		 "defaultCacheDuration": "0s", "args": ["-profiles", "/etc/regcred/profiles.yaml"]},
		{"name": "regcred-credential-provider-1", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "matchImages": ["zot.example.com"],
		 "defaultCacheDuration": "0s", "args": ["-profiles", "/etc/regcred/profiles.yaml"],
		 "tokenAttributes": {"serviceAccountTokenAudience": "https://zot.example.com", "cacheType": "Token", "requireServiceAccount": true}}]}`, string(text))
	require.Equal(t, []string{"https://zot.example.com"}, config.Audiences())

	role, err := helper.AudienceRole("regcred", config.Audiences()...)
	require.NoError(t, err)
	require.Contains(t, string(role), "request-serviceaccounts-token-audience")

	config = helper.KubeletConfig{Profiles: []registry.Profile{pod("zot", "zot.example.com", ""), basic("bad", "://", "x")}}
	_, err = config.JSON()
	require.ErrorContains(t, err, "name is missing")
	require.ErrorContains(t, err, "profiles[0].login has a pod as its subject, without an audience")
	require.ErrorContains(t, err, "profiles[1]")
}
