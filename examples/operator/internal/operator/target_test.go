package operator

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/examples/operator/api/v1alpha1"
	"github.com/regcred/regcred/registry"
)

// Each kind that the CRD accepts has a provider, and each kind of the library is one of them.
func TestKinds(t *testing.T) {
	text, err := os.ReadFile("../../config/crd/regcred.github.io_registryprofiles.yaml")
	require.NoError(t, err)
	var crd apiextensions.CustomResourceDefinition
	require.NoError(t, yaml.Unmarshal(text, &crd))
	spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	var accepted []registry.Kind
	for _, value := range spec.Properties["kind"].Enum {
		var kind string
		require.NoError(t, json.Unmarshal(value.Raw, &kind))
		accepted = append(accepted, registry.Kind(kind))
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(kinds(nil))), accepted)
	require.ElementsMatch(t, []registry.Kind{
		registry.DockerHub, registry.ECR, registry.GCR, registry.ACR, registry.System, registry.Custom,
	}, accepted)
}

// The target has all settings of the profile.
func TestTarget(t *testing.T) {
	secret := func(name string, data map[string][]byte) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: name}, Data: data}
	}
	api := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(
		secret("login", map[string][]byte{"username": []byte("team+ci"), "password": []byte("rcr_x")}),
		secret("way", map[string][]byte{"tls.crt": []byte("certificate"), "tls.key": []byte("key"), "proxyUsername": []byte("p"), "proxyPassword": []byte("q")}),
		secret("empty", map[string][]byte{"other": []byte("x")}),
	).Build()
	o := &operator{logins: &logins{watched: api, api: api, namespace: home}}
	profile := &v1alpha1.RegistryProfile{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: v1alpha1.RegistryProfileSpec{
		Kind: "system", Endpoint: "registry.example.com/team", Hosts: []string{"registry.example.org"}, Tenant: "team", CABundle: "ca",
		Login:      v1alpha1.Login{SecretName: "login"},
		Namespaces: v1alpha1.Namespaces{Names: []string{"*"}},
		Transport:  v1alpha1.Transport{Proxy: "http://proxy.example.com", PlainHTTP: true, SecretName: "way"},
	}}
	target, err := o.target(t.Context(), profile)
	require.NoError(t, err)
	got := target.Profiles[0]
	require.Equal(t, "rcr_x", got.Login.Password.Reveal())
	require.Equal(t, "key", got.Transport.ClientKey.Reveal())
	require.Equal(t, "q", got.Transport.ProxyPassword.Reveal())
	got.Login, got.Transport.ClientKey, got.Transport.ProxyPassword = credentials.Login{}, credentials.Secret{}, credentials.Secret{}
	require.Equal(t, registry.Profile{
		Name: "shop", Tenant: "team", Kind: registry.System, Endpoint: "registry.example.com/team", Hosts: []string{"registry.example.org"},
		Transport: registry.TransportConfig{
			CABundle: "ca", ClientCertificate: "certificate", Proxy: "http://proxy.example.com", ProxyUsername: "p", PlainHTTP: true,
		},
	}, got)
	for name, want := range map[string]string{"none": "transport: there is no secret", "empty": "transport in secret regcred-system/empty: there is none of the keys"} {
		profile.Spec.Transport.SecretName = name
		target, err = o.target(t.Context(), profile)
		require.ErrorContains(t, err, want)
		require.True(t, target.Profiles[0].Login.Password.IsZero(), "the target is not valid either")
	}
}

// The API accepts a profile of kind system with all its settings, and the operator requests a login from its provider,
// which fails: the registry of these tests issues none.
func TestSystemRegistry(t *testing.T) {
	w := newWorld(t)
	w.namespace("shop-1", nil)
	require.NoError(t, w.Create(t.Context(), w.profile(func(s *v1alpha1.RegistryProfileSpec) {
		s.Kind, s.Hosts, s.Tenant, s.Transport = "system", []string{"registry.example.org"}, "team", v1alpha1.Transport{Proxy: "direct"}
	})))
	var c *metav1.Condition
	w.eventually("it is looked at", func() bool {
		var p v1alpha1.RegistryProfile
		require.NoError(t, w.Get(t.Context(), client.ObjectKey{Name: "shop"}, &p))
		c = meta.FindStatusCondition(p.Status.Conditions, "Ready")
		return c != nil && c.Status == metav1.ConditionFalse
	})
	require.NotEqual(t, "Invalid", c.Reason, c.Message)
	require.Contains(t, c.Message, "/api/v1/logins")
}
