package kubeletmatch_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/kubernetes/pkg/credentialprovider/plugin"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/helper"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry"
)

// TestPlugin runs the kubelet's own code, which reads the configuration that package helper writes, calls examples/node
// with it, and looks up the logins for images: with profiles alone, and with the tokens of the pods' accounts.
func TestPlugin(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "regcred-credential-provider")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/regcred/regcred/examples/node")
	build.Dir = "../.."
	output, err := build.CombinedOutput()
	require.NoError(t, err, string(output))
	require.NoError(t, os.Link(program, program+"-1"))
	file := filepath.Join(dir, "profiles.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`
- {name: team, kind: custom, endpoint: ghcr.io/team, login: {username: team, password: secret-of-team}}
- {name: hub, kind: dockerhub, login: {username: acme, password: secret-of-acme}}
- {name: port, kind: custom, endpoint: "registry.example.com:5000", login: {username: port, password: secret-of-port}}
- name: zot
  kind: custom
  endpoint: zot.example.com
  login: {federated: {subject: {source: pod, audience: "https://zot.example.com"}, exchange: {password: {}}}}
`), 0o600))
	basic := func(name, endpoint string, kind registry.Kind) registry.Profile {
		return registry.Profile{Name: name, Kind: kind, Endpoint: endpoint, Login: credentials.Login{Username: "u", Password: credentials.NewSecret("p")}}
	}
	text, err := helper.KubeletConfig{
		Name: filepath.Base(program), Args: []string{"-profiles", file, "-cache", "off"},
		Profiles: []registry.Profile{
			basic("team", "ghcr.io/team", registry.Custom), basic("hub", "docker.io", registry.DockerHub), basic("port", "registry.example.com:5000", registry.Custom),
			{Name: "zot", Kind: registry.Custom, Endpoint: "zot.example.com", Login: credentials.Login{Federated: &credentials.FederatedLogin{
				Subject:  credentials.Subject{Source: helper.Pod, Audience: "https://zot.example.com"},
				Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}},
			}}},
		},
	}.JSON()
	require.NoError(t, err)
	config := filepath.Join(dir, "config.json")
	require.NoError(t, os.WriteFile(config, text, 0o600))

	issuer := issuertest.New("https://kubernetes.example.com", issuertest.ES256)
	var audiences []string
	token := func(namespace, name string, r *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
		audiences = append(audiences, r.Spec.Audiences...)
		r.Status.Token = issuer.Token("system:serviceaccount:"+namespace+":"+name, r.Spec.Audiences[0], time.Hour)
		r.Status.ExpirationTimestamp = metav1.NewTime(time.Now().Add(time.Hour))
		return r, nil
	}
	account := func(namespace, name string) (*corev1.ServiceAccount, error) {
		return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name)}}, nil
	}
	require.NoError(t, plugin.RegisterCredentialProviderPlugins(config, dir, token, account), string(text))

	for image, want := range map[string]string{
		"ghcr.io/team/app": "team:secret-of-team", "docker.io/library/nginx": "acme:secret-of-acme",
		"registry.example.com:5000/app": "port:secret-of-port", "ghcr.io/other/app": "", "registry.example.com/app": "", "quay.io/app": "",
	} {
		found, _ := plugin.NewExternalCredentialProviderDockerKeyring("shop", "pod", "uid", "puller").Lookup(image)
		if want == "" {
			require.Empty(t, found, image)
			continue
		}
		require.Len(t, found, 1, image)
		require.Equal(t, want, found[0].Username+":"+found[0].Password, image)
	}
	trust := issuertest.Trust{Issuer: issuer.URL, Keys: issuer.JWKS, Audiences: []string{"https://zot.example.com"}}
	for _, name := range []string{"a", "b"} {
		found, _ := plugin.NewExternalCredentialProviderDockerKeyring("shop", "pod", "uid", name).Lookup("zot.example.com/app")
		require.Len(t, found, 1)
		trust.Subject = "system:serviceaccount:shop:" + name
		_, err := trust.Verify(found[0].Password)
		require.NoError(t, err, "each account gets its own credential")
	}
	require.Contains(t, audiences, "https://zot.example.com")
}
