package operator

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/examples/operator/api/v1alpha1"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/registry"
)

func TestOperator(t *testing.T) {
	w := newWorld(t)
	w.namespace("shop-1", nil)
	w.namespace("other", nil)
	require.NoError(t, w.Create(t.Context(), w.profile(func(*v1alpha1.RegistryProfileSpec) {})))
	w.becomes(metav1.ConditionTrue, "Published", 1)
	require.Nil(t, w.status().RenewAt, "a password does not expire")
	first := w.published("shop-1")
	require.NotEmpty(t, first)
	require.Empty(t, w.published("other"))

	// A new namespace gets the secret at once.
	w.namespace("shop-2", nil)
	w.eventually("the new namespace is served", func() bool { return w.published("shop-2") == first })
	w.becomes(metav1.ConditionTrue, "Published", 2)

	// If the registry rejects the login, the published secret stays.
	w.login("wrong")
	w.becomes(metav1.ConditionFalse, "Unauthorized", 2)
	require.Equal(t, first, w.published("shop-1"))
	// The same if the login is missing.
	require.NoError(t, w.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "shop-login"}}))
	w.becomes(metav1.ConditionFalse, "Invalid", 2)
	require.Equal(t, first, w.published("shop-1"))

	// A rotation reaches every namespace.
	w.password("second")
	w.becomes(metav1.ConditionTrue, "Published", 2)
	require.NotEqual(t, first, w.published("shop-1"))
	require.Equal(t, w.published("shop-1"), w.published("shop-2"))

	var events corev1.EventList
	w.eventually("events tell it", func() bool {
		require.NoError(t, w.List(t.Context(), &events))
		reasons := make(map[string]string)
		for _, e := range events.Items {
			reasons[e.Reason] = e.Type
		}
		return reasons["Published"] == "Normal" && reasons["Unauthorized"] == "Warning" && reasons["Invalid"] == "Warning"
	})

	found, err := w.metrics.Gather()
	require.NoError(t, err)
	var names []string
	for _, family := range found {
		names = append(names, family.GetName())
	}
	require.Subset(t, names, []string{"regcred_credential_calls_total", "regcred_pullsecret_changes_total", "regcred_pullsecret_credentials_total"})

	// Without the profile, all secrets are removed.
	require.NoError(t, w.Delete(t.Context(), w.profile(func(*v1alpha1.RegistryProfileSpec) {})))
	w.eventually("all is gone", func() bool { return w.published("shop-1") == "" && w.published("shop-2") == "" })
}

func TestSelector(t *testing.T) {
	w := newWorld(t)
	w.namespace("shop-1", map[string]string{"team": "shop"})
	w.namespace("shop-2", nil)
	require.NoError(t, w.Create(t.Context(), w.profile(func(s *v1alpha1.RegistryProfileSpec) {
		s.Namespaces.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "shop"}}
	})))
	w.becomes(metav1.ConditionTrue, "Published", 1)
	require.NotEmpty(t, w.published("shop-1"))
	require.Empty(t, w.published("shop-2"))

	// After an edit of the selection, the condition describes the old profile until a pass has covered the new one.
	generation := w.change(func(s *v1alpha1.RegistryProfileSpec) { s.Namespaces = v1alpha1.Namespaces{Names: []string{"shop-2"}} })
	w.eventually("the condition is about the new generation", func() bool {
		return w.status().Conditions[0].ObservedGeneration == generation
	})
	require.Empty(t, w.published("shop-1"))
	require.NotEmpty(t, w.published("shop-2"))
}

// The status has the time of the next renewal, and the renewal happens then.
func TestRenewal(t *testing.T) {
	const life = 10 * time.Second
	var mu sync.Mutex
	var issued []time.Time
	w := newWorld(t, func(c *Config) {
		c.Provider = providers.Func(func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
			credential, err := custom.Provider{}.Credential(ctx, p)
			credential.IssuedAt = time.Now()
			credential.ExpiresAt = credential.IssuedAt.Add(life)
			mu.Lock()
			defer mu.Unlock()
			issued = append(issued, credential.IssuedAt)
			return credential, err
		})
	})
	w.namespace("shop-1", nil)
	require.NoError(t, w.Create(t.Context(), w.profile(func(*v1alpha1.RegistryProfileSpec) {})))
	var first v1alpha1.RegistryProfileStatus
	w.eventually("a renewal is due", func() bool { first = w.status(); return first.RenewAt != nil && first.ExpiresAt != nil })
	w.eventually("it is done and published", func() bool {
		now := w.status()
		return now.RenewAt != nil && now.RenewAt.After(first.RenewAt.Time) && now.ExpiresAt.After(first.ExpiresAt.Time)
	})

	mu.Lock()
	defer mu.Unlock()
	next := slices.IndexFunc(issued, func(at time.Time) bool { return !at.Before(first.RenewAt.Time) })
	require.Positive(t, next, "issued at %v, to be renewed at %v", issued, first.RenewAt)
	before := issued[next-1]
	earliest := credentials.Policy{}.RenewAt(before, before.Add(life), 0).Truncate(time.Second) // The resolution of the API.
	latest := credentials.Policy{}.RenewAt(before, before.Add(life), 1)
	require.WithinRange(t, first.RenewAt.Time, earliest, latest)
}

// If the adoption key is deleted, everything is signed with a new one, and no issuer is called.
func TestKeyRotation(t *testing.T) {
	var issued atomic.Int64
	w := newWorld(t, func(c *Config) {
		c.Provider = providers.Func(func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
			credential, err := custom.Provider{}.Credential(ctx, p)
			credential.IssuedAt = time.Now()
			credential.ExpiresAt = credential.IssuedAt.Add(12 * time.Hour)
			issued.Add(1)
			return credential, err
		})
	})
	w.namespace("shop-1", nil)
	require.NoError(t, w.Create(t.Context(), w.profile(func(*v1alpha1.RegistryProfileSpec) {})))
	w.becomes(metav1.ConditionTrue, "Published", 1)
	origin := func() string {
		var secret corev1.Secret
		require.NoError(t, w.Get(t.Context(), client.ObjectKey{Namespace: "shop-1", Name: "shop"}, &secret))
		return secret.Annotations[inject.AnnotationOrigin]
	}
	before, first := origin(), w.published("shop-1")
	require.NotEmpty(t, before)
	require.NoError(t, w.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: adoptionSecret}}))
	w.eventually("it is signed again", func() bool { return origin() != before })
	require.Equal(t, first, w.published("shop-1"))
	require.EqualValues(t, 1, issued.Load())
}

// A login that expires by itself is reported in advance, in the condition and in an event on the profile.
func TestLoginExpiring(t *testing.T) {
	w := newWorld(t)
	w.namespace("shop-1", nil)
	expires := func(at *metav1.Time, status metav1.ConditionStatus, reason string) {
		t.Helper()
		generation := w.change(func(s *v1alpha1.RegistryProfileSpec) { s.Login.ExpiresAt = at })
		w.eventually("the condition", func() bool {
			c := meta.FindStatusCondition(w.status().Conditions, "LoginExpiring")
			return c != nil && c.ObservedGeneration == generation && c.Status == status && c.Reason == reason
		})
		w.becomes(metav1.ConditionTrue, "Published", 1)
	}
	require.NoError(t, w.Create(t.Context(), w.profile(func(*v1alpha1.RegistryProfileSpec) {})))
	expires(nil, metav1.ConditionFalse, "NotSoon")
	expires(&metav1.Time{Time: time.Now().Add(90 * 24 * time.Hour)}, metav1.ConditionFalse, "NotSoon")
	soon := time.Now().Add(10 * 24 * time.Hour)
	expires(&metav1.Time{Time: soon}, metav1.ConditionTrue, "LoginExpires")
	require.Contains(t, meta.FindStatusCondition(w.status().Conditions, "LoginExpiring").Message, soon.UTC().Format(time.RFC3339))
	w.eventually("it has the expiry", func() bool { at := w.status().ExpiresAt; return at != nil && at.Unix() == soon.Unix() })
	w.eventually("an event on the profile", func() bool {
		var events corev1.EventList
		require.NoError(t, w.List(t.Context(), &events))
		return slices.ContainsFunc(events.Items, func(e corev1.Event) bool {
			return e.Reason == "LoginExpires" && e.Type == "Warning" && e.InvolvedObject.Kind == "RegistryProfile" && e.InvolvedObject.Name == "shop"
		})
	})
	expires(nil, metav1.ConditionFalse, "NotSoon") // A new login.
}

// The API rejects an invalid profile when it is applied.
func TestValidation(t *testing.T) {
	w := newWorld(t)
	for says, change := range map[string]func(*v1alpha1.RegistryProfileSpec){
		"Unsupported value":                  func(s *v1alpha1.RegistryProfileSpec) { s.Kind = "quay" },
		"endpoint is required for this kind": func(s *v1alpha1.RegistryProfileSpec) { s.Endpoint = "" },
		"set exactly one of secretName":      func(s *v1alpha1.RegistryProfileSpec) { s.Login.Ambient = true },
		"exactly one of secretName, federated, aws, google, azure, ambient and anonymous": func(s *v1alpha1.RegistryProfileSpec) { s.Login = v1alpha1.Login{} },
		"secretName, federated, aws":  func(s *v1alpha1.RegistryProfileSpec) { s.Login.Federated = serviceAccount("", "puller").Federated },
		"federated belongs to custom": func(s *v1alpha1.RegistryProfileSpec) { s.Kind, s.Login = "ecr", serviceAccount("", "puller") },
		"aws to ecr": func(s *v1alpha1.RegistryProfileSpec) {
			s.Login = v1alpha1.Login{AWS: &v1alpha1.AWSLogin{WebIdentity: v1alpha1.AWSWebIdentity{
				RoleARN: "arn:aws:iam::1:role/shop", Subject: v1alpha1.Subject{Kubernetes: v1alpha1.ServiceAccount{Name: "puller"}},
			}}}
		},
		"set exactly one of provider and gke": func(s *v1alpha1.RegistryProfileSpec) {
			s.Kind, s.Login = "gcr", v1alpha1.Login{Google: &v1alpha1.GoogleLogin{Federation: v1alpha1.GoogleFederation{
				Subject: v1alpha1.Subject{Kubernetes: v1alpha1.ServiceAccount{Name: "puller"}},
			}}}
		},
		"at least 1 properties": func(s *v1alpha1.RegistryProfileSpec) {
			s.Login = serviceAccount("", "puller")
			s.Login.Federated.Exchange = v1alpha1.Exchange{}
		},
		"must have at most 1 item": func(s *v1alpha1.RegistryProfileSpec) {
			s.Login = serviceAccount("", "puller")
			s.Login.Federated.Exchange.Quay = &v1alpha1.QuayExchange{Robot: "acme+shop"}
		},
		"kubernetes.name in body should match":      func(s *v1alpha1.RegistryProfileSpec) { s.Login = serviceAccount("", "shop:puller") },
		"kubernetes.namespace in body should match": func(s *v1alpha1.RegistryProfileSpec) { s.Login = serviceAccount("shop/x", "puller") },
		"expiresAt needs secretName": func(s *v1alpha1.RegistryProfileSpec) {
			s.Login = v1alpha1.Login{Anonymous: true, ExpiresAt: &metav1.Time{Time: time.Now()}}
		},
		"ambient excludes caBundle": func(s *v1alpha1.RegistryProfileSpec) {
			s.Login, s.CABundle = v1alpha1.Login{Ambient: true}, "-----BEGIN CERTIFICATE-----"
		},
		"and transport.proxy: their owner": func(s *v1alpha1.RegistryProfileSpec) {
			s.Login, s.CABundle, s.Transport.Proxy = v1alpha1.Login{Ambient: true}, "", "http://proxy.example.com:3128"
		},
	} {
		require.ErrorContains(t, w.Create(t.Context(), w.profile(change)), says)
	}
	dots := w.profile(func(*v1alpha1.RegistryProfileSpec) {})
	dots.Name = "shop-1.shop"
	require.ErrorContains(t, w.Create(t.Context(), dots), "and no dots")
	for _, file := range []string{"profile.yaml", "keyless.yaml"} {
		for _, sample := range w.objects("samples/" + file) {
			require.NoError(t, w.Create(t.Context(), sample, client.DryRunAll), file)
		}
	}
	for name, change := range map[string]func(*v1alpha1.RegistryProfileSpec){
		"a service account": func(s *v1alpha1.RegistryProfileSpec) { s.Login = serviceAccount("shop-1", "puller") },
		"ambient":           func(s *v1alpha1.RegistryProfileSpec) { s.Login, s.CABundle = v1alpha1.Login{Ambient: true}, "" },
		"ambient, direct": func(s *v1alpha1.RegistryProfileSpec) {
			s.Login, s.CABundle, s.Transport.Proxy = v1alpha1.Login{Ambient: true}, "", "direct"
		},
		"a secret with both": func(s *v1alpha1.RegistryProfileSpec) { s.Transport.Proxy = "http://proxy.example.com:3128" },
	} {
		require.NoError(t, w.Create(t.Context(), w.profile(change), client.DryRunAll), name)
	}
}

// No status, event or metric has a secret in it, even if the secret is in the wrong field of a profile's spec.
func TestNothingLeaks(t *testing.T) {
	const canary = "c4n4ry-l0gin"
	w := newWorld(t)
	w.namespace("shop-1", nil)
	w.password(canary)
	good := w.profile(func(*v1alpha1.RegistryProfileSpec) {})
	require.NoError(t, w.Create(t.Context(), good))
	w.becomes(metav1.ConditionTrue, "Published", 1)
	quiet := func() {
		t.Helper()
		var events corev1.EventList
		require.NoError(t, w.List(t.Context(), &events))
		found, err := w.metrics.Gather()
		require.NoError(t, err)
		for what, v := range map[string]any{"status": w.status(), "events": events, "metrics": found} {
			text, err := json.Marshal(v)
			require.NoError(t, err)
			require.NotContains(t, string(text), canary, what)
		}
	}
	quiet()
	const url = "https://ann:" + canary + "@example.com/?key=" + canary
	for _, change := range []func(*v1alpha1.RegistryProfileSpec){
		func(s *v1alpha1.RegistryProfileSpec) { s.Endpoint = url },
		func(s *v1alpha1.RegistryProfileSpec) { s.Hosts = []string{url} },
		func(s *v1alpha1.RegistryProfileSpec) { s.Transport.Proxy = url },
	} {
		generation := w.change(func(s *v1alpha1.RegistryProfileSpec) { *s = w.profile(change).Spec })
		w.eventually("it is invalid", func() bool {
			c := meta.FindStatusCondition(w.status().Conditions, "Ready")
			return c.ObservedGeneration == generation && c.Reason == "Invalid"
		})
		quiet()
	}
	w.eventually("events tell it", func() bool {
		var events corev1.EventList
		require.NoError(t, w.List(t.Context(), &events))
		return slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return e.Reason == "Invalid" })
	})
	quiet()
}
