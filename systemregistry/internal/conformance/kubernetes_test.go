package conformance_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/accounts"
)

// cluster is a Kubernetes API server for one test.
type cluster struct {
	url, issuer string
	client      *http.Client // As an admin.
}

// asAdmin sends a token with each request. Any certificate is accepted, because the server creates its own.
type asAdmin struct{ http.RoundTripper }

func (a asAdmin) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer admin")
	return a.RoundTripper.RoundTrip(r)
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	bin, err := testtool.ControlPlane()
	if err != nil {
		testtool.Missing(t, err.Error())
	}
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	keyFile := file("key.pem", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	tokens := file("tokens.csv", []byte("admin,admin,admin,system:masters\n"))
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	// The issuer's URL is not reachable, as in a real cluster: its keys are fetched from another URL.
	c := &cluster{"https://127.0.0.1:" + testtool.FreePort(t), "https://kubernetes.default.svc.cluster.local", &http.Client{Transport: asAdmin{transport}}}
	etcd, peer := "http://127.0.0.1:"+testtool.FreePort(t), "http://127.0.0.1:"+testtool.FreePort(t)
	ready := func(url string) func() bool {
		return func() bool {
			resp, err := c.client.Get(url)
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		}
	}
	daemon(t, ready(etcd+"/health"), filepath.Join(bin, "etcd"), "--data-dir="+filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	daemon(t, ready(c.url+"/readyz"), filepath.Join(bin, "kube-apiserver"),
		"--bind-address=127.0.0.1", "--secure-port="+c.url[len("https://127.0.0.1:"):], "--cert-dir="+filepath.Join(dir, "certs"),
		"--etcd-servers="+etcd, "--service-cluster-ip-range=10.0.0.0/24",
		"--token-auth-file="+tokens, "--authorization-mode=RBAC",
		"--service-account-issuer="+c.issuer, "--service-account-key-file="+keyFile, "--service-account-signing-key-file="+keyFile,
		"--disable-admission-plugins=ServiceAccount")
	return c
}

// post sends an object and returns the object in the response.
func (c *cluster) post(t *testing.T, path string, object any) (answer struct{ Status struct{ Token string } }) {
	t.Helper()
	body, err := json.Marshal(object)
	require.NoError(t, err)
	resp, err := c.client.Post(c.url+path, "application/json", bytes.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, resp.StatusCode, string(text))
	require.NoError(t, json.Unmarshal(text, &answer))
	return answer
}

func (c *cluster) account(t *testing.T, namespace, name string) {
	t.Helper()
	c.post(t, "/api/v1/namespaces/"+namespace+"/serviceaccounts", map[string]any{"metadata": map[string]any{"name": name}})
}

// token requests a token of a service account, as a kubelet or an operator does.
func (c *cluster) token(t *testing.T, namespace, name string, audiences ...string) credentials.Secret {
	t.Helper()
	got := c.post(t, "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+name+"/token",
		map[string]any{"spec": map[string]any{"audiences": audiences, "expirationSeconds": 3600}})
	require.NotEmpty(t, got.Status.Token)
	return credentials.NewSecret(got.Status.Token)
}

// TestKubernetes pulls with tokens of service accounts from a real API server, which are verified with its keys.
func TestKubernetes(t *testing.T) {
	c := startCluster(t)
	const audience = "https://registry.example.com"
	r := start(t, systemregistry.Server{Issuers: []accounts.Issuer{{
		URL: c.issuer, KeysURL: c.url + "/openid/v1/jwks", Client: c.client, Audience: audience,
		Subjects: []accounts.Subject{{
			Pattern: "system:serviceaccount:{tenant}:puller",
			Rules:   []accounts.Rule{{Repositories: "**", Actions: []accounts.Action{accounts.Pull}}},
		}},
	}}})
	push(t, r, "team/app:1")
	for _, namespace := range []string{"team", "other"} {
		c.post(t, "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": namespace}})
		c.account(t, namespace, "puller")
	}
	c.account(t, "team", "builder")
	for name, tc := range map[string]struct {
		token credentials.Secret
		may   bool
	}{
		"the account":                {c.token(t, "team", "puller", audience), true},
		"of another namespace":       {c.token(t, "other", "puller", audience), false},
		"another account":            {c.token(t, "team", "builder", audience), false},
		"for the API server":         {c.token(t, "team", "puller"), false},
		"for another registry":       {c.token(t, "team", "puller", "https://elsewhere.example.com"), false},
		"for two":                    {c.token(t, "team", "puller", audience, "https://elsewhere.example.com"), false},
		"not a token of this server": {credentials.NewSecret("wrong"), false},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := testtool.Run(t, []string{"SSL_CERT_FILE=" + r.CAFile}, "skopeo", "copy",
				"--src-creds", "token:"+tc.token.Reveal(), "docker://"+r.Host+"/team/app:1", "dir:"+t.TempDir())
			if tc.may {
				require.NoError(t, err, out)
			} else {
				require.Error(t, err, out)
			}
		})
	}
}
