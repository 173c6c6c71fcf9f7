package node

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry/registrytest"
)

// shortLife is a token's lifetime. A part of it is left after the renewal, and a pod must start with a new token.
const shortLife = 2 * time.Minute

// Once the first pod runs, nobody asks the controller for anything, or tells it anything.
func pullsAfterTheTokenExpired(t *testing.T, bin string) {
	w := newWorld(t, bin, &issuer{life: shortLife})
	w.policy = corev1.PullAlways
	w.namespace(t, "shop", map[string]string{"team": "shop"})
	w.namespace(t, "copied", nil)
	w.ready(t, "shop", "acme/first")
	w.create(t, "shop", "acme/first")
	w.runs(t, "shop", "first")

	// One namespace has a copy of the secret, which nobody renews. It is good now, and for almost all of its lifetime.
	_, earlier := w.published(t, "shop")
	var secret *corev1.Secret
	var first credentials.Credential
	eventually(t, "a new token is published", func(context.Context) bool {
		secret, first = w.published(t, "shop")
		return first.Username != earlier.Username
	})
	_, err := w.CoreV1().Secrets("copied").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "copy"}, Type: secret.Type, Data: secret.Data,
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	w.create(t, "copied", "acme/first", "copy")
	w.runs(t, "copied", "first")

	eventually(t, "another token is published", func(context.Context) bool {
		_, now := w.published(t, "shop")
		return now.Username != first.Username
	})
	left := time.Until(first.ExpiresAt)
	t.Logf("another token is published %v before the first one expires", left.Round(time.Second))
	require.Positive(t, left)
	eventually(t, "the registry refuses the first token", func(ctx context.Context) bool {
		var refused *transport.Error
		return errors.As(w.pull(ctx, "acme/first", first), &refused) && refused.StatusCode == http.StatusUnauthorized
	})
	require.False(t, time.Now().Before(first.ExpiresAt), "it was refused before it expired")

	w.create(t, "shop", "acme/second")
	w.create(t, "copied", "acme/second", "copy")
	w.runs(t, "shop", "second")
	w.isStuck(t, "copied", "second")
	pulled := w.pulledBy("acme/second")
	t.Log("acme/second was pulled by", pulled)
	require.NotEmpty(t, pulled)
	require.NotContains(t, pulled, first.Username)
}

// pull asks for an image as a node does.
func (w *world) pull(ctx context.Context, image string, c credentials.Credential) error {
	ref, err := name.ParseReference(w.server.Host + "/" + image)
	if err != nil {
		return err
	}
	_, err = remote.Get(ref, remote.WithContext(ctx), remote.WithTransport(w.server.Client().Transport),
		remote.WithAuth(&authn.Basic{Username: c.Username, Password: c.Password.Reveal()}))
	return err
}

// pulledBy returns the user names that the registry gave manifests or layers of a repository to.
func (w *world) pulledBy(repository string) map[string]bool { return pulledBy(w.server, repository) }

func pulledBy(server *registrytest.Server, repository string) map[string]bool {
	by := make(map[string]bool)
	for _, r := range server.Registry.Requests() {
		if r.Part == registrytest.PartRegistry && r.Repository == repository && r.Status == http.StatusOK {
			by[r.Account] = true
		}
	}
	return by
}
