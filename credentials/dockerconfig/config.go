// Package dockerconfig makes credential sources from the logins of docker and podman: a configuration file, the
// .dockerconfigjson of a pull secret, or a credential helper.
//
// [File] reads a file on each call, or, without a path, the files of the user. [Parse] parses the bytes of a file, and
// [Helper] runs a program docker-credential-NAME. The formats, the names and the protocol of helpers are defined by
// github.com/docker/cli and github.com/docker/docker-credential-helpers. The package matches names of servers; package
// pullsecret matches names of images. A login that cannot be found or read is an error, never anonymous access.
package dockerconfig

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/docker/cli/cli/config/configfile"
	dockercredentials "github.com/docker/cli/cli/config/credentials"
	"github.com/docker/cli/cli/config/types"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// ErrMalformed reports a configuration that cannot be parsed; it is a [registry.ErrInvalid]. Errors do not quote the
// input, which may hold a secret.
var ErrMalformed error = malformed{}

type malformed struct{}

func (malformed) Error() string { return "malformed" }
func (malformed) Unwrap() error { return registry.ErrInvalid }

// A Config is a Docker configuration: logins by server, and credential helpers. The zero Config has neither. A Config
// is immutable and safe for concurrent use.
type Config struct {
	auths   map[string]auth
	helpers map[string]string
	store   string
}

// An auth is a [types.AuthConfig] that prints no secret.
type auth struct {
	username                                string
	auth, password, identity, registryToken credentials.Secret
}

// Parse parses a config.json, an auth.json of podman, a .dockerconfigjson, or the older .dockercfg, which consists of
// the entries alone. It ignores unknown fields.
func Parse(data []byte) (Config, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	file := configfile.ConfigFile{}
	if err := json.Unmarshal(data, &file); err != nil {
		return Config{}, fmt.Errorf("docker configuration: %w", ErrMalformed)
	}
	if !file.ContainsAuth() {
		file.AuthConfigs = bareEntries(data)
	}
	c := Config{auths: make(map[string]auth, len(file.AuthConfigs)), helpers: file.CredentialHelpers, store: file.CredentialsStore}
	for key, a := range file.AuthConfigs {
		c.auths[key] = auth{
			a.Username, credentials.NewSecret(a.Auth), credentials.NewSecret(a.Password),
			credentials.NewSecret(a.IdentityToken), credentials.NewSecret(a.RegistryToken),
		}
	}
	return c, nil
}

// bareEntries returns the entries of a .dockercfg, an object whose members are all logins, or nil if data is something
// else.
func bareEntries(data []byte) map[string]types.AuthConfig {
	var entries map[string]types.AuthConfig
	if json.Unmarshal(data, &entries) != nil {
		return nil
	}
	for _, a := range entries {
		if a == (types.AuthConfig{}) {
			return nil
		}
	}
	return entries
}

// empty reports whether the configuration names no login and no helper.
func (c Config) empty() bool { return len(c.auths) == 0 && len(c.helpers) == 0 && c.store == "" }

// Source returns the source for the server: a host, with its port if it has one; a key exactly as in the file; or, for
// podman's logins to a part of a registry, a host with a path. Like docker, it runs the server's own helper if there is
// one, else the helper for all servers. If there is none, or the helper for all servers has no login, or the name of the
// server's own helper is empty, it uses the login in the configuration. A missing login is reported when the source is
// called.
func (c Config) Source(server string) credentials.Source {
	return credentials.Func(func(ctx context.Context) (credentials.Credential, error) {
		return c.credential(ctx, server)
	})
}

func (c Config) credential(ctx context.Context, server string) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, context.Cause(ctx)
	}
	store := c.store
	if key, name, ok := lookup(c.helpers, server); ok {
		if name != "" {
			return Helper{Name: name, Server: storeKey(key)}.Credential(ctx)
		}
		store = "" // In docker, an empty name selects the configuration itself.
	}
	key, login, ok := lookup(c.auths, server)
	if store != "" {
		asked := server
		if ok {
			asked = key // Docker writes an entry without a login under the name that its store uses.
		}
		found, err := Helper{Name: store, Server: storeKey(asked)}.Credential(ctx)
		if !errors.Is(err, credentials.ErrNoLogin) {
			return found, err
		}
	}
	if !ok {
		return credentials.Credential{}, fmt.Errorf("docker configuration, %s: %w", server, credentials.ErrNoLogin)
	}
	found, err := login.credential()
	if err != nil {
		return credentials.Credential{}, fmt.Errorf("docker configuration, %s: %w", key, err)
	}
	return found, nil
}

// lookup returns the value of the server's name, else of a name with the same host, else, like podman, of the nearest
// path above the server's.
func lookup[V any](all map[string]V, server string) (key string, value V, ok bool) {
	if value, ok = all[server]; ok {
		return server, value, true
	}
	for name := host(server); ; {
		for k, v := range all {
			// Use the smallest key, because the order of a map is random.
			if host(k) == name && (!ok || k < key) {
				key, value, ok = k, v, true
			}
		}
		i := strings.LastIndexByte(name, '/')
		if ok || i < 0 {
			return key, value, ok
		}
		name = name[:i]
	}
}

const (
	// hubHost is the host of Docker Hub in the key that docker uses for historical reasons, and hubKey is that key; see
	// getAuthConfigKey in package configfile.
	hubHost = "index.docker.io"
	hubKey  = "https://index.docker.io/v1/"
)

// host returns the host of a key. A key with a scheme covers its whole host, whatever its path: docker wrote the
// version of an API there. A key without scheme and with a path is a podman login to that part of the registry, and is
// returned as it is.
func host(key string) string {
	h := key
	if strings.Contains(key, "://") {
		h = dockercredentials.ConvertToHostname(key)
	}
	h = strings.TrimSuffix(h, "/")
	h = strings.TrimSuffix(strings.TrimSuffix(h, "/v1"), "/v2")
	if h == "docker.io" || h == "registry-1.docker.io" {
		return hubHost
	}
	return h
}

// storeKey returns the name of the login in docker's stores.
func storeKey(key string) string {
	if host(key) == hubHost {
		return hubKey
	}
	return key
}

func (a auth) credential() (credentials.Credential, error) {
	if !a.identity.IsZero() || !a.registryToken.IsZero() {
		return credentials.Credential{}, credentials.ErrIdentityToken
	}
	c := credentials.Credential{Username: a.username, Password: a.password}
	if !a.auth.IsZero() {
		// With and without padding, because files of both kinds exist. Docker's own package accepts only padded ones,
		// and rejects the whole file because of one bad entry, so it is not used here.
		pair, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(a.auth.Reveal(), "=\r\n "))
		name, password, ok := strings.Cut(string(pair), ":")
		if err != nil || !ok {
			return credentials.Credential{}, fmt.Errorf("auth is %w: expected base64 of name:password", ErrMalformed)
		}
		// Old versions of Docker padded with zeros.
		c.Username, c.Password = name, credentials.NewSecret(strings.TrimRight(password, "\x00"))
	}
	if c.Username == "" && c.Password.IsZero() {
		return credentials.Credential{}, credentials.ErrNoLogin
	}
	return c, c.Validate(time.Now())
}

// goodFor sets the expiry of a credential without one.
func goodFor(c credentials.Credential, d time.Duration) credentials.Credential {
	if d > 0 && c.ExpiresAt.IsZero() {
		c.IssuedAt = time.Now()
		c.ExpiresAt = c.IssuedAt.Add(d)
	}
	return c
}
