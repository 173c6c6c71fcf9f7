package operator

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/examples/operator/api/v1alpha1"
	"github.com/regcred/regcred/inject"
)

// serviceAccount returns the login of an account whose token is the password.
func serviceAccount(namespace, name string) v1alpha1.Login {
	return v1alpha1.Login{Federated: &v1alpha1.FederatedLogin{
		Subject:  v1alpha1.Subject{Kubernetes: v1alpha1.ServiceAccount{Namespace: namespace, Name: name}},
		Exchange: v1alpha1.Exchange{Password: &v1alpha1.PasswordExchange{}},
	}}
}

// subject returns the subject of the token that is the password in a secret; "" if there is none.
func (w *world) subject(namespace, name string) string {
	w.t.Helper()
	config := w.secret(namespace, name)
	for _, key := range config.Keys() {
		credential, _ := config.Credential(key)
		if token, err := w.tokens.Verify(credential.Password.Reveal()); err == nil {
			return token.Subject
		}
	}
	return ""
}

func (w *world) label(namespace, tenant string) {
	w.t.Helper()
	var ns corev1.Namespace
	require.NoError(w.t, w.Get(w.t.Context(), client.ObjectKey{Name: namespace}, &ns))
	before := ns.DeepCopy()
	ns.Labels[tenantLabel] = tenant
	require.NoError(w.t, w.Patch(w.t.Context(), &ns, client.MergeFrom(before)))
}

// Each namespace pulls as its own account, or all as one.
func TestServiceAccounts(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Create(t.Context(), w.profile(func(s *v1alpha1.RegistryProfileSpec) { s.Login = serviceAccount("", "puller") })))
	w.becomes(metav1.ConditionTrue, "Published", 0)
	own := func(namespace string) func() bool {
		return func() bool {
			return w.subject(namespace, namespace+".shop") == "system:serviceaccount:"+namespace+":puller"
		}
	}
	for i, name := range []string{"shop-1", "shop-2"} {
		w.namespace(name, nil)
		w.eventually("the new namespace is served", own(name))
		w.becomes(metav1.ConditionTrue, "Published", i+1)
	}
	w.eventually("it is renewed", func() bool { s := w.status(); return s.RenewAt != nil && s.ExpiresAt != nil })

	// If the profile cannot be read, the secrets stay.
	w.change(func(s *v1alpha1.RegistryProfileSpec) {
		s.Namespaces.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"not a label": "x"}}
	})
	w.becomes(metav1.ConditionFalse, "Invalid", 2)
	require.True(t, own("shop-1")() && own("shop-2")())

	// One account for all.
	w.change(func(s *v1alpha1.RegistryProfileSpec) {
		s.Namespaces.Selector, s.Login = nil, serviceAccount("shop-2", "puller")
	})
	w.becomes(metav1.ConditionTrue, "Published", 2)
	for _, name := range []string{"shop-1", "shop-2"} {
		w.eventually("the account of one serves both", func() bool {
			return w.subject(name, "shop") == "system:serviceaccount:shop-2:puller" && w.subject(name, name+".shop") == ""
		})
	}

	// The operator has no right to the tokens of other accounts.
	w.change(func(s *v1alpha1.RegistryProfileSpec) { s.Login = serviceAccount("shop-2", "default") })
	w.becomes(metav1.ConditionFalse, "Denied", 2)
	require.Equal(t, "system:serviceaccount:shop-2:puller", w.subject("shop-1", "shop"))
}

// A tenant uses only the accounts of its own namespaces.
func TestTenants(t *testing.T) {
	w := newWorld(t)
	w.namespace("shop-1", map[string]string{tenantLabel: "acme"})
	w.namespace("shop-2", map[string]string{tenantLabel: "evil"})
	w.namespace("shop-3", map[string]string{})
	denied := func() {
		t.Helper()
		message := meta.FindStatusCondition(w.status().Conditions, "Ready").Message
		require.Contains(t, message, `tenant "acme" may not use this account`)
	}
	require.NoError(t, w.Create(t.Context(), w.profile(func(s *v1alpha1.RegistryProfileSpec) {
		s.Tenant, s.Login = "acme", serviceAccount("", "puller")
	})))
	w.becomes(metav1.ConditionFalse, "Denied", 1)
	denied()
	w.eventually("its own namespace is served", func() bool {
		return w.subject("shop-1", "shop-1.shop") == "system:serviceaccount:shop-1:puller"
	})
	for _, name := range []string{"shop-2", "shop-3"} {
		require.Empty(t, w.subject(name, name+".shop"))
	}

	// Nor by name.
	for _, other := range []string{"shop-2", "shop-3", "kube-system", "missing"} {
		generation := w.change(func(s *v1alpha1.RegistryProfileSpec) { s.Login = serviceAccount(other, "puller") })
		w.eventually("the condition is about it", func() bool {
			c := meta.FindStatusCondition(w.status().Conditions, "Ready")
			return c.ObservedGeneration == generation && c.Reason == "Denied"
		})
		denied()
		for _, name := range []string{"shop-1", "shop-2", "shop-3"} {
			require.Empty(t, w.subject(name, "shop"))
		}
	}

	// In its own namespaces it may.
	w.label("shop-3", "acme")
	w.change(func(s *v1alpha1.RegistryProfileSpec) {
		s.Namespaces, s.Login = v1alpha1.Namespaces{Names: []string{"shop-1", "shop-3"}}, serviceAccount("", "puller")
	})
	w.eventually("both are served", func() bool {
		return w.subject("shop-3", "shop-3.shop") == "system:serviceaccount:shop-3:puller" && w.subject("shop-1", "shop-1.shop") != ""
	})
	w.change(func(s *v1alpha1.RegistryProfileSpec) { s.Login = serviceAccount("shop-1", "puller") })
	w.eventually("the account of one serves both", func() bool { // The condition does not change.
		return w.subject("shop-1", "shop") == "system:serviceaccount:shop-1:puller" && w.subject("shop-3", "shop") == "system:serviceaccount:shop-1:puller"
	})
}

// A login without a secret has the fields of the library, and each exchange of the library that takes the tokens of
// service accounts is one of them.
func TestLoginsWithoutSecret(t *testing.T) {
	const subject = `"subject": {"kubernetes": {"namespace": "shop", "name": "puller"}}`
	for _, text := range []string{
		`{"aws": {"webIdentity": {"roleARN": "arn:aws:iam::1:role/shop", ` + subject + `}}}`,
		`{"google": {"federation": {"provider": "projects/1/locations/global/workloadIdentityPools/p/providers/k", ` + subject + `}, "impersonate": "p@q.iam.gserviceaccount.com"}}`,
		`{"google": {"federation": {"gke": "projects/p/locations/l/clusters/c", ` + subject + `}}}`,
		`{"azure": {"tenantID": "t", "clientID": "c", ` + subject + `}}`,
		`{"federated": {` + subject + `, "exchange": {"password": {"username": "kube"}}}}`,
		`{"federated": {` + subject + `, "exchange": {"quay": {"robot": "acme+shop"}}}}`,
		`{"federated": {` + subject + `, "exchange": {"artifactory": {"provider": "p", "mapping": "m", "project": "k"}}}}`,
		`{"federated": {` + subject + `, "exchange": {"cloudsmith": {"organization": "o", "service": "s"}}}}`,
		`{"federated": {` + subject + `, "exchange": {"chainguard": {"identity": "i"}}}}`,
		`{"federated": {` + subject + `, "exchange": {"ibm": {"profile": "Profile-1"}}}}`,
	} {
		var login v1alpha1.Login
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&login), text)
		got, err := loginWithoutSecret(login)
		require.NoError(t, err, text)
		require.NoError(t, got.Validate(), text)
		same, err := json.Marshal(got)
		require.NoError(t, err)
		require.JSONEq(t, text, string(same))

		// There is one place for it.
		_, err = parseLogin(map[string][]byte{"login": []byte(text)})
		require.ErrorContains(t, err, "in spec.login of the profile")
	}

	exchanges := func(of any) (names []string) {
		for field := range reflect.TypeOf(of).Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			names = append(names, name)
		}
		return names
	}
	all := slices.DeleteFunc(exchanges(credentials.Exchange{}), func(name string) bool {
		return name == "dockerHub" // Docker accepts tokens of GitHub Actions only.
	})
	require.ElementsMatch(t, all, exchanges(v1alpha1.Exchange{}))
}

// A tenant may use the accounts of its namespaces, and a profile without a tenant all.
func TestMayUse(t *testing.T) {
	namespace := func(name string, labels map[string]string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	may := mayUse(fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(
		namespace("shop", map[string]string{tenantLabel: "acme"}), namespace("other", map[string]string{tenantLabel: "evil"}),
		namespace("empty", map[string]string{tenantLabel: ""}), namespace("plain", nil),
	).Build())
	for _, name := range []string{"shop", "other", "empty", "plain", "missing"} {
		account := credentials.ServiceAccount{Namespace: name, Name: "puller"}
		require.Equal(t, name == "shop", may("acme", account), name)
		require.True(t, may("", account), name)
	}
}

// Each selected namespace has a target. If the profile cannot be read, all that it may have selected have one.
func TestTargetsPerNamespace(t *testing.T) {
	var namespaces []metav1.PartialObjectMetadata
	for name, labels := range map[string]map[string]string{"shop-1": {"team": "shop"}, "shop-2": nil, "other": {"team": "shop"}} {
		namespaces = append(namespaces, metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	}
	o := &operator{}
	profile := &v1alpha1.RegistryProfile{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: v1alpha1.RegistryProfileSpec{
		Kind: "custom", Endpoint: "registry.example.com", Login: serviceAccount("", "puller"),
		Namespaces: v1alpha1.Namespaces{Names: []string{"shop-*"}, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "shop"}}},
	}}
	names := func(targets []inject.Target) (names []string) {
		for _, target := range targets {
			names = append(names, target.Name)
			require.Equal(t, "shop", profileName(target.Name))
		}
		return names
	}
	targets, err := o.targetsOf(t.Context(), profile, namespaces)
	require.NoError(t, err)
	require.Equal(t, []string{"shop-1.shop"}, names(targets))
	require.NoError(t, targets[0].Validate())
	require.Equal(t, "shop-1", targets[0].Profiles[0].Login.Federated.Subject.Kubernetes.Namespace)
	require.Equal(t, inject.Selection{Names: []string{"shop-1"}}, targets[0].Namespaces)

	profile.Spec.Namespaces.Selector.MatchLabels = map[string]string{"not a label": "x"}
	targets, err = o.targetsOf(t.Context(), profile, namespaces)
	require.Error(t, err)
	require.ElementsMatch(t, []string{"shop-1.shop", "shop-2.shop"}, names(targets))
	for _, target := range targets {
		require.Error(t, target.Validate())
	}

	profile.Spec.Namespaces = v1alpha1.Namespaces{Names: []string{"none"}}
	targets, err = o.targetsOf(t.Context(), profile, namespaces)
	require.NoError(t, err)
	require.Equal(t, []string{"shop"}, names(targets))
	require.False(t, targets[0].Namespaces.Selects("shop-1", nil))
}

// The next call is the first among the logins of a profile, and unknown while all are being called.
func TestNextCall(t *testing.T) {
	key := func(text string) credentials.Key { return credentials.Key{Tenant: text} }
	early, late := time.Now(), time.Now().Add(time.Hour)
	cached := map[credentials.Key]credentials.Entry{
		key("early"): {NextCall: early}, key("late"): {NextCall: late}, key("calling"): {Calling: true, NextCall: early}, key("never"): {},
	}
	for names, want := range map[string]struct {
		at    time.Time
		known bool
	}{
		"":                           {known: true},
		"missing":                    {known: true},
		"never":                      {known: true},
		"late":                       {late, true},
		"late early never":           {early, true},
		"never late calling missing": {late, true},
		"calling":                    {},
	} {
		var keys []credentials.Key
		for _, name := range strings.Fields(names) {
			keys = append(keys, key(name))
		}
		at, known := nextCall(keys, cached)
		require.Equal(t, want.at, at, names)
		require.Equal(t, want.known, known, names)
	}
}
