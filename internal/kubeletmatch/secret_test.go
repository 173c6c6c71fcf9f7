package kubeletmatch_test

import (
	"strings"
	"testing"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

func config(t testing.TB) pullsecret.Config {
	c, err := pullsecret.Build(pullsecret.Entry{
		Profile:    registry.Profile{Name: "a", Kind: registry.Custom, Endpoint: "h.io"},
		Credential: credentials.Credential{Username: "u", Password: credentials.NewSecret("p")},
	})
	require.NoError(t, err)
	return c
}

// manifests decodes both manifests as kubectl does, and fails for unknown fields.
func manifests(t testing.TB, s pullsecret.Secret) {
	t.Helper()
	want := v1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace, Labels: s.Labels, Annotations: s.Annotations},
		Type:       v1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{v1.DockerConfigJsonKey: s.Config.Reveal()},
	}
	for name, manifest := range map[string]func() ([]byte, error){"JSON": s.JSON, "YAML": s.YAML} {
		text, err := manifest()
		require.NoError(t, err)
		var got v1.Secret
		require.NoError(t, yaml.UnmarshalStrict(text, &got), "%s %q", name, text)
		require.Equal(t, want, got, name)
	}
}

func TestManifestsAreSecrets(t *testing.T) {
	manifests(t, pullsecret.Secret{Name: "123", Config: config(t)})
	manifests(t, pullsecret.Secret{
		Name: "1e3", Namespace: "null", Labels: map[string]string{"y": "yes", "1": "", "a/b": "0x10"},
		Annotations: map[string]string{"on": "2001-01-01", "n/o": "a\nb\t\"\\\u0085\u2028\ufeff\U0001f600 # : - ~"}, Config: config(t),
	})
}

// FuzzValidate compares Validate with the checks of an API server, and decodes the manifests of valid secrets.
func FuzzValidate(f *testing.F) {
	for _, s := range []string{"", "a", "A", "a.b", "a-", "a_b", "a/b", "A.b/C", "a/B/c", "/a", "a/", strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 127), "no", "\u00e9", "\u212a", "a\x7f", "-a"} {
		f.Add(s, s, s, s, s, s)
		f.Add("a", "a", s, "a", s, s)
	}
	f.Fuzz(func(t *testing.T, name, namespace, labelKey, labelValue, annotationKey, annotationValue string) {
		s := pullsecret.Secret{
			Name: name, Namespace: namespace, Config: config(t),
			Labels: map[string]string{labelKey: labelValue}, Annotations: map[string]string{annotationKey: annotationValue},
		}
		path := field.NewPath("")
		refused := len(apivalidation.NameIsDNSSubdomain(name, false)) > 0 ||
			namespace != "" && len(apivalidation.ValidateNamespaceName(namespace, false)) > 0 ||
			len(metavalidation.ValidateLabels(s.Labels, path)) > 0 ||
			len(apivalidation.ValidateAnnotations(s.Annotations, path)) > 0
		err := s.Validate()
		if annotationValue != strings.ToValidUTF8(annotationValue, "") {
			require.Error(t, err) // It does not reach an API server unchanged.
			return
		}
		require.Equal(t, refused, err != nil, "%+v: %v", s, err)
		if !refused {
			manifests(t, s)
		}
	})
}
