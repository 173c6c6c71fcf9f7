package keyless_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/acr"
	"github.com/regcred/regcred/providers/acr/acrtest"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/federated/federatedtest"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// start returns a real API server whose keys are RSA, because Quay accepts no others.
func start(t *testing.T) kubernetes.Interface {
	t.Helper()
	folder, why := testtool.ControlPlane()
	if why != nil {
		testtool.Missing(t, why.Error())
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	require.NoError(t, os.WriteFile(file, text, 0o600))
	environment := &envtest.Environment{BinaryAssetsDirectory: folder}
	environment.ControlPlane.GetAPIServer().Configure().Set("service-account-key-file", file).Set("service-account-signing-key-file", file)
	config, err := environment.Start()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, environment.Stop()) })
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return client
}

// Every exchange accepts the token of a real account, which it verifies with the API server's keys.
func TestKeylessOnRealAPI(t *testing.T) {
	const namespace = "shop"
	client := start(t)
	_, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	require.NoError(t, err)
	for _, name := range []string{"puller", "default"} {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_, err = client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), account, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	text, err := client.CoreV1().RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(t.Context())
	require.NoError(t, err)
	var discovery struct{ Issuer string }
	require.NoError(t, json.Unmarshal(text, &discovery))
	trust := issuertest.Trust{
		Issuer: discovery.Issuer, Subject: "system:serviceaccount:shop:puller",
		Keys: func() ([]byte, error) {
			return client.CoreV1().RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(t.Context())
		},
	}
	subjects := &kube.Subjects{Client: client}
	s := credentials.Subject{Kubernetes: &credentials.ServiceAccount{Namespace: namespace, Name: "puller"}}
	exchange := func(endpoint string, x credentials.Exchange) registry.Profile {
		return registry.Profile{Name: "p", Kind: registry.Custom, Endpoint: endpoint, Login: credentials.Login{
			Federated: &credentials.FederatedLogin{Subject: s, Exchange: x},
		}}
	}
	federation := func(name string) http.RoundTripper {
		return (&federatedtest.Server{Trust: trust, Name: name}).RoundTripper()
	}
	provider := strings.TrimPrefix(googleProvider, "//iam.googleapis.com/")
	aws, google := registrytest.NewRoundTripper(newAWS(trust)), registrytest.NewRoundTripper(newGoogle(trust))
	azure := &acrtest.Azure{Apps: []acrtest.App{{TenantID: "t", ClientID: "c", Federated: []issuertest.Trust{trust}, Pull: []string{"acme.azurecr.io/*"}}}}
	for name, test := range map[string]struct {
		provider providers.Provider
		profile  registry.Profile
	}{
		"AWS": {ecr.Provider{Subjects: subjects, RoundTripper: aws}, registry.Profile{
			Name: "p", Kind: registry.ECR, Endpoint: awsHost,
			Login: credentials.Login{AWS: &credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: awsRole, Subject: &s}}},
		}},
		"Google": {gcr.Provider{Subjects: subjects, RoundTripper: google}, registry.Profile{
			Name: "p", Kind: registry.GCR, Endpoint: "europe-docker.pkg.dev/acme",
			Login: credentials.Login{Google: &credentials.GoogleLogin{Federation: &credentials.GoogleFederation{Provider: provider, Subject: s}}},
		}},
		"Azure": {acr.Provider{Subjects: subjects, RoundTripper: azure.RoundTripper()}, registry.Profile{
			Name: "p", Kind: registry.ACR, Endpoint: "acme.azurecr.io",
			Login: credentials.Login{Azure: &credentials.AzureLogin{TenantID: "t", ClientID: "c", Subject: &s}},
		}},
		"Quay": {
			federated.Provider{Subjects: subjects, RoundTripper: federation("acme+shop")},
			exchange("quay.example.com", credentials.Exchange{Quay: &credentials.QuayExchange{Robot: "acme+shop"}}),
		},
		"Artifactory": {
			federated.Provider{Subjects: subjects, RoundTripper: federation("k8s")},
			exchange("acme.jfrog.io", credentials.Exchange{Artifactory: &credentials.ArtifactoryExchange{Provider: "k8s"}}),
		},
		"Cloudsmith": {
			federated.Provider{Subjects: subjects, RoundTripper: federation("acme/shop")},
			exchange("docker.cloudsmith.io/acme", credentials.Exchange{Cloudsmith: &credentials.CloudsmithExchange{Organization: "acme", Service: "shop"}}),
		},
		"Chainguard": {
			federated.Provider{Subjects: subjects, RoundTripper: federation("id")},
			exchange("cgr.dev/acme", credentials.Exchange{Chainguard: &credentials.ChainguardExchange{Identity: "id"}}),
		},
		"IBM": {
			federated.Provider{Subjects: subjects, RoundTripper: federation("Profile-1")},
			exchange("de.icr.io/acme", credentials.Exchange{IBM: &credentials.IBMExchange{Profile: "Profile-1"}}),
		},
		"the token is the password": {
			federated.Provider{Subjects: subjects},
			exchange("zot.example.com", credentials.Exchange{Password: &credentials.PasswordExchange{}}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.provider.Credential(t.Context(), test.profile)
			require.NoError(t, err)
			require.NoError(t, got.Validate(time.Now()))
			pull(t, got)
		})
	}

	// The SDKs of AWS and Google log in with the same account, and not with another one.
	for account, trusted := range map[string]bool{"puller": true, "default": false} {
		token := func(audience string) string {
			seconds := int64(600)
			request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: &seconds}}
			got, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account, request, metav1.CreateOptions{})
			require.NoError(t, err)
			return got.Status.Token
		}
		t.Run("AWS's SDK as "+account, func(t *testing.T) {
			environment(t, token("sts.amazonaws.com"))
			username, password, err := awsLogin(t, config.WithHTTPClient(&http.Client{Transport: aws}))
			if !trusted {
				require.ErrorContains(t, err, "AccessDenied")
				return
			}
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, status(t, aws, "https://"+awsHost+"/v2/", username, password))
		})
		t.Run("Google's SDK as "+account, func(t *testing.T) {
			got, err := googleToken(t, google, token("https:"+googleProvider), googleAccount)
			if !trusted {
				require.ErrorContains(t, err, "unauthorized_client")
				return
			}
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, status(t, google, "https://"+googleHost+"/v2/token?service="+googleHost, "oauth2accesstoken", got.AccessToken))
		})
	}
}

// pull pulls with skopeo from a registry that accepts only this credential.
func pull(t *testing.T, c credentials.Credential) {
	t.Helper()
	server, err := registrytest.Start(&registrytest.Registry{
		Dialect: registrytest.DistributionToken(),
		Authenticate: func(username string, password credentials.Secret) (registrytest.Account, bool) {
			return registrytest.Account{Username: username, Pull: []string{"*"}}, username == c.Username && password.Reveal() == c.Password.Reveal()
		},
	})
	require.NoError(t, err)
	defer server.Close()
	_, err = server.Registry.Add("shop/web:1", registrytest.Image{})
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ca.crt"), []byte(server.TransportConfig().CABundle), 0o600))
	auth, err := json.Marshal(map[string]any{"auths": map[string]any{server.Host: map[string]any{"auth": []byte(c.Username + ":" + c.Password.Reveal())}}})
	require.NoError(t, err)
	file := filepath.Join(folder, "auth.json")
	require.NoError(t, os.WriteFile(file, auth, 0o600))
	source := fmt.Sprintf("docker://%s/shop/web:1", server.Host)
	output, err := testtool.Run(t, nil, "skopeo", "copy", "--src-cert-dir", folder, "--src-authfile", file, source, "dir:"+filepath.Join(folder, "image"))
	require.NoError(t, err, output)
	_, err = testtool.Run(t, nil, "skopeo", "copy", "--src-cert-dir", folder, "--src-no-creds", source, "dir:"+filepath.Join(folder, "other"))
	require.Error(t, err, "nobody pulls without it")
}
