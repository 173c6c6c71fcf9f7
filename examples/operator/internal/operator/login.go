package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regcred/regcred/credentials"
)

// logins are those in the secrets of the operator's namespace. A secret is read when a profile names it, and again when
// its version has changed.
type logins struct {
	watched   client.Reader // Has the metadata.
	api       client.Reader // Has it all.
	namespace string

	mu    sync.Mutex
	known map[string]known
}

type known struct {
	version string
	login   credentials.Login
	err     error
}

func secretMetadata() *metav1.PartialObjectMetadata {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return meta
}

// read returns the login in a secret.
func (l *logins) read(ctx context.Context, name string) (credentials.Login, error) {
	key := client.ObjectKey{Namespace: l.namespace, Name: name}
	meta := secretMetadata()
	if err := l.watched.Get(ctx, key, meta); err != nil {
		return credentials.Login{}, l.failed(name, err)
	}
	l.mu.Lock()
	have, ok := l.known[name]
	l.mu.Unlock()
	if ok && have.version == meta.ResourceVersion {
		return have.login, have.err
	}
	var secret corev1.Secret
	if err := l.api.Get(ctx, key, &secret); err != nil {
		return credentials.Login{}, l.failed(name, err)
	}
	login, err := parseLogin(secret.Data)
	if err != nil {
		err = l.failed(name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.known = make(map[string]known)
	}
	l.known[name] = known{secret.ResourceVersion, login, err}
	return login, err
}

func (l *logins) failed(name string, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("login: there is no secret %s/%s", l.namespace, name)
	}
	return fmt.Errorf("login in secret %s/%s: %w", l.namespace, name, err)
}

// keep forgets the logins that no profile uses.
func (l *logins) keep(used map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.known {
		if !used[name] {
			delete(l.known, name)
		}
	}
}

// parseLogin takes what kubectl create secret generic makes from a user name and a password, or the JSON of a login.
func parseLogin(data map[string][]byte) (credentials.Login, error) {
	var login credentials.Login
	if text, ok := data["login"]; ok {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&login); err != nil {
			return credentials.Login{}, fmt.Errorf("key login: %w", err)
		}
		return login, nil
	}
	for _, key := range []string{"username", "password"} {
		if len(data[key]) == 0 {
			return login, fmt.Errorf("key %s is missing; expected username and password, or login with the JSON of a login", key)
		}
	}
	login.Username, login.Password = string(data["username"]), credentials.NewSecret(string(data["password"]))
	return login, nil
}
