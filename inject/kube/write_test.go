package kube_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// An update writes a whole secret, so it must include everything that others may have added.
func TestUpdateKeepsAllThatOthersWrote(t *testing.T) {
	admin, err := kube.NewClient(needAPI(t))
	require.NoError(t, err)
	client, err := kube.NewClient(withRights(t, "regcred"))
	require.NoError(t, err)
	cluster := &kube.Cluster{Client: client, Owner: "keeps"}
	background(t, cluster.Run)
	const ns = "update-keeps"
	require.NoError(t, world{admin}.CreateNamespace(t.Context(), ns, nil))
	secrets := admin.CoreV1().Secrets(ns)
	someone := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "someone", UID: "4d9c4b6e"}

	for name, others := range map[string]func(s *corev1.Secret){
		"nothing":     func(*corev1.Secret) {},
		"metadata":    func(s *corev1.Secret) { s.Labels["theirs"], s.Annotations["theirs"] = "1", "2" },
		"another-key": func(s *corev1.Secret) { s.Data["theirs"] = []byte("3") },
		"owner":       func(s *corev1.Secret) { s.OwnerReferences = append(s.OwnerReferences, someone) },
		"finalizer":   func(s *corev1.Secret) { s.Finalizers = append(s.Finalizers, "example.com/theirs") },
		"all": func(s *corev1.Secret) {
			s.Labels["theirs"], s.Data["theirs"] = "1", []byte("3")
			s.OwnerReferences, s.Finalizers = append(s.OwnerReferences, someone), append(s.Finalizers, "example.com/theirs")
		},
	} {
		t.Run(name, func(t *testing.T) {
			change := inject.Change{Action: inject.CreateSecret, Owner: "keeps", Namespace: ns, Name: name, Secret: pullsecret.Secret{
				Labels:      map[string]string{inject.LabelOwner: "keeps"},
				Annotations: map[string]string{inject.AnnotationProfiles: "old"},
				Config:      configWith(t, "old"),
			}}
			require.NoError(t, cluster.Apply(t.Context(), change))
			s, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
			require.NoError(t, err)
			others(s)
			_, err = secrets.Update(t.Context(), s, metav1.UpdateOptions{FieldManager: "someone"})
			require.NoError(t, err)
			_, err = secrets.Apply(t.Context(), applycorev1.Secret(name, ns).WithAnnotations(map[string]string{"applied": "4"}),
				metav1.ApplyOptions{FieldManager: "applier"})
			require.NoError(t, err)
			before, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
			require.NoError(t, err)
			t.Cleanup(func() { // Without this, the namespace fills up when a test is repeated.
				_, err := secrets.Patch(context.Background(), name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
				require.NoError(t, err)
			})

			change.Action, change.Version = inject.UpdateSecret, before.ResourceVersion
			change.Secret.Annotations = map[string]string{inject.AnnotationProfiles: "new"}
			change.Secret.Config = configWith(t, "new")
			require.Eventually(t, func() bool {
				state, err := cluster.State(t.Context(), inject.Scope{Owner: "keeps", Namespaces: []string{ns}})
				require.NoError(t, err)
				for _, s := range state[0].Secrets {
					if s.Name == name {
						return s.Version == before.ResourceVersion
					}
				}
				return false
			}, time.Minute, 10*time.Millisecond)
			require.NoError(t, cluster.Apply(t.Context(), change))

			after, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
			require.NoError(t, err)
			require.Equal(t, "new", after.Annotations[inject.AnnotationProfiles])
			require.Equal(t, change.Secret.Config.Reveal(), after.Data[pullsecret.SecretKey])
			require.NotEqual(t, before.ResourceVersion, after.ResourceVersion)
			require.Equal(t, managers(before), managers(after))
			for _, s := range []*corev1.Secret{before, after} {
				delete(s.Annotations, inject.AnnotationProfiles)
				delete(s.Data, pullsecret.SecretKey)
				s.ResourceVersion, s.ManagedFields = "", nil
			}
			require.Equal(t, before, after)
			require.ErrorIs(t, cluster.Apply(t.Context(), change), registry.ErrConflict, "planned on what is not so anymore")
		})
	}
}

// The API server need not track the fields of a secret that only its owner writes. It tracks them again when another
// client applies some, and those stay.
func TestUpdateIsNotTracked(t *testing.T) {
	admin, err := kube.NewClient(needAPI(t))
	require.NoError(t, err)
	client, err := kube.NewClient(withRights(t, "regcred"))
	require.NoError(t, err)
	cluster := &kube.Cluster{Client: client, Owner: "tracked"}
	background(t, cluster.Run)
	const ns, name = "update-tracked", "regcred"
	require.NoError(t, world{admin}.CreateNamespace(t.Context(), ns, nil))
	secrets := admin.CoreV1().Secrets(ns)
	write := func(action inject.Action, password string) *corev1.Secret {
		t.Helper()
		change := inject.Change{Action: action, Owner: "tracked", Namespace: ns, Name: name, Secret: pullsecret.Secret{
			Labels: map[string]string{inject.LabelOwner: "tracked"}, Config: configWith(t, password),
		}}
		require.Eventually(t, func() bool { // The watch may be late.
			if action == inject.UpdateSecret {
				before, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
				require.NoError(t, err)
				change.Version = before.ResourceVersion
			}
			return cluster.Apply(t.Context(), change) == nil
		}, time.Minute, 10*time.Millisecond)
		after, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, change.Secret.Config.Reveal(), after.Data[pullsecret.SecretKey])
		return after
	}
	write(inject.CreateSecret, "1")
	require.Empty(t, write(inject.UpdateSecret, "2").ManagedFields)
	require.Empty(t, write(inject.UpdateSecret, "3").ManagedFields)

	theirs := applycorev1.Secret(name, ns).WithAnnotations(map[string]string{"applied": "4"})
	_, err = secrets.Apply(t.Context(), theirs, metav1.ApplyOptions{FieldManager: "applier"})
	require.NoError(t, err)
	after := write(inject.UpdateSecret, "5")
	require.True(t, managers(after)["applier"])
	require.Equal(t, "4", after.Annotations["applied"])
	_, err = secrets.Apply(t.Context(), applycorev1.Secret(name, ns), metav1.ApplyOptions{FieldManager: "applier"})
	require.NoError(t, err)
	after = write(inject.UpdateSecret, "6")
	require.NotContains(t, after.Annotations, "applied", "they can take back what they applied")
}

func managers(s *corev1.Secret) map[string]bool {
	all := make(map[string]bool)
	for _, entry := range s.ManagedFields {
		all[entry.Manager] = true
	}
	return all
}

func configWith(t *testing.T, password string) pullsecret.Config {
	t.Helper()
	config, err := pullsecret.Parse([]byte(`{"auths":{"registry.example.com":{"username":"u","password":"` + password + `"}}}`))
	require.NoError(t, err)
	return config
}
