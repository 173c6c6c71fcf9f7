package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/examples/operator/api/v1alpha1"
	"github.com/regcred/regcred/registry"
)

// logins caches the logins in the secrets of the operator's namespace. It reads a secret when a profile names it, and
// again after its version has changed.
type logins struct {
	watched   client.Reader // Reads the metadata, from a cache.
	api       client.Reader // Reads the whole object.
	namespace string

	mu    sync.Mutex
	known map[string]known
}

type known struct {
	version      string
	login        credentials.Login
	loginErr     error
	transport    registry.TransportConfig
	transportErr error
}

// metadata returns an object of which a cache holds the metadata only.
func metadata(kind string) *metav1.PartialObjectMetadata {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return meta
}

// login returns the login in a secret.
func (l *logins) login(ctx context.Context, name string) (credentials.Login, error) {
	found, err := l.read(ctx, name)
	if err == nil {
		err = found.loginErr
	}
	if err != nil {
		return credentials.Login{}, l.failed("login", name, err)
	}
	return found.login, nil
}

// transport returns the transport settings in a secret.
func (l *logins) transport(ctx context.Context, name string) (registry.TransportConfig, error) {
	found, err := l.read(ctx, name)
	if err == nil {
		err = found.transportErr
	}
	if err != nil {
		return registry.TransportConfig{}, l.failed("transport", name, err)
	}
	return found.transport, nil
}

// read returns the parsed content of a secret.
func (l *logins) read(ctx context.Context, name string) (known, error) {
	key := client.ObjectKey{Namespace: l.namespace, Name: name}
	meta := metadata("Secret")
	if err := l.watched.Get(ctx, key, meta); err != nil {
		return known{}, err
	}
	l.mu.Lock()
	have, ok := l.known[name]
	l.mu.Unlock()
	if ok && have.version == meta.ResourceVersion {
		return have, nil
	}
	var secret corev1.Secret
	if err := l.api.Get(ctx, key, &secret); err != nil {
		return known{}, err
	}
	found := known{version: secret.ResourceVersion}
	found.login, found.loginErr = parseLogin(secret.Data)
	found.transport, found.transportErr = parseTransport(secret.Data)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.known = make(map[string]known)
	}
	l.known[name] = found
	return found, nil
}

func (l *logins) failed(what, name string, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%s: there is no secret %s/%s", what, l.namespace, name)
	}
	return fmt.Errorf("%s in secret %s/%s: %w", what, l.namespace, name, err)
}

// keep drops the logins that no profile uses.
func (l *logins) keep(used map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.known {
		if !used[name] {
			delete(l.known, name)
		}
	}
}

// parseLogin accepts the data that kubectl create secret generic writes for a user name and a password, or the JSON of
// a login.
func parseLogin(data map[string][]byte) (credentials.Login, error) {
	var login credentials.Login
	if text, ok := data["login"]; ok {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&login); err != nil {
			return credentials.Login{}, fmt.Errorf("key login: %w", err)
		}
		if hasSubject(login) {
			return credentials.Login{}, errors.New("key login: a login with a subject holds no secret; set federated, aws, google or azure in spec.login of the profile")
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

// hasSubject reports whether a login is the identity of a workload.
func hasSubject(l credentials.Login) bool {
	return l.Federated != nil || l.AWS != nil && l.AWS.WebIdentity != nil && l.AWS.WebIdentity.Subject != nil ||
		l.Google != nil && l.Google.Federation != nil || l.Azure != nil && l.Azure.Subject != nil
}

// loginWithoutSecret returns a login that needs no secret. Its fields have the names of the library.
func loginWithoutSecret(l v1alpha1.Login) (login credentials.Login, err error) {
	text, err := json.Marshal(l)
	if err != nil {
		return login, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&login)
	return login, err
}

// parseTransport accepts a client certificate, as in a secret of the type kubernetes.io/tls, and a login for a proxy.
func parseTransport(data map[string][]byte) (registry.TransportConfig, error) {
	t := registry.TransportConfig{ClientCertificate: string(data["tls.crt"]), ProxyUsername: string(data["proxyUsername"])}
	if key := data["tls.key"]; len(key) > 0 {
		t.ClientKey = credentials.NewSecret(string(key))
	}
	if password := data["proxyPassword"]; len(password) > 0 {
		t.ProxyPassword = credentials.NewSecret(string(password))
	}
	if t.IsZero() {
		return t, errors.New("there is none of the keys tls.crt, tls.key, proxyUsername and proxyPassword")
	}
	return t, nil
}
