// Package dockerconfig makes sources of credentials from what is there already: a Docker configuration file, the
// .dockerconfigjson of a pull secret, or a credential helper.
//
// [File] reads a file each time it is asked, [Parse] takes the bytes, and [Helper] runs a program
// docker-credential-NAME. The package matches the names of servers, and not those of images, which is for package
// pullsecret; and it never makes anonymous access of a login that cannot be found or read.
package dockerconfig

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
)

// ErrMalformed is something that cannot be read. It is not quoted, because it may hold a secret.
var ErrMalformed = errors.New("malformed")

// A Config is a Docker configuration: logins by server, and the helpers that know more. The zero Config has none.
// It never changes, and is safe for concurrent use.
type Config struct {
	auths   map[string]auth
	helpers map[string]string
	store   string
}

type auth struct {
	Auth          credentials.Secret `json:"auth"`
	Username      string             `json:"username"`
	Password      credentials.Secret `json:"password"`
	IdentityToken credentials.Secret `json:"identitytoken"`
	RegistryToken credentials.Secret `json:"registrytoken"`
}

// Parse reads a config.json or .dockerconfigjson. What it does not know it leaves out.
func Parse(data []byte) (Config, error) {
	var file struct {
		Auths   map[string]auth   `json:"auths"`
		Helpers map[string]string `json:"credHelpers"`
		Store   string            `json:"credsStore"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return Config{}, fmt.Errorf("docker configuration: %w", ErrMalformed)
	}
	return Config{file.Auths, file.Helpers, file.Store}, nil
}

// Source returns the source for the server, which is a host with its port, if it has one, or the key as it stands in
// the file. As Docker does, it asks the server's own helper; or else the helper for all servers; or else, or if that
// helper has none, takes the login in the configuration. Whether there is one is found out when the source is asked.
func (c Config) Source(server string) credentials.Source {
	return credentials.Func(func(ctx context.Context) (credentials.Credential, error) {
		return c.credential(ctx, server)
	})
}

func (c Config) credential(ctx context.Context, server string) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, context.Cause(ctx)
	}
	if key, name, ok := lookup(c.helpers, server); ok {
		return Helper{Name: name, Server: key}.Credential(ctx)
	}
	key, login, ok := lookup(c.auths, server)
	if c.store != "" {
		asked := server
		if ok {
			asked = key // An entry without login is how Docker notes under what name its store has it.
		}
		found, err := Helper{Name: c.store, Server: asked}.Credential(ctx)
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

// lookup finds what is under the server's name, or else under a name that has the same host.
func lookup[V any](all map[string]V, server string) (key string, value V, ok bool) {
	if value, ok = all[server]; ok {
		return server, value, true
	}
	for k, v := range all {
		// The least key, for the order of a map is not one.
		if host(k) == host(server) && (!ok || k < key) {
			key, value, ok = k, v, true
		}
	}
	return key, value, ok
}

// dockerHub is the key that Docker uses for its own registry, for historical reasons.
const dockerHub = "index.docker.io"

// host returns the host of a key, which may be a URL with the path of an API version. A key with another path is for
// that path only, and is left as it is.
func host(key string) string {
	h := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	h = strings.TrimSuffix(h, "/")
	h = strings.TrimSuffix(strings.TrimSuffix(h, "/v1"), "/v2")
	if h == "docker.io" || h == "registry-1.docker.io" {
		return dockerHub
	}
	return h
}

func (a auth) credential() (credentials.Credential, error) {
	if !a.IdentityToken.IsZero() || !a.RegistryToken.IsZero() {
		return credentials.Credential{}, credentials.ErrIdentityToken
	}
	c := credentials.Credential{Username: a.Username, Password: a.Password}
	if !a.Auth.IsZero() {
		// With and without padding: there are files of both kinds.
		pair, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(a.Auth.Reveal(), "=\r\n "))
		name, password, ok := strings.Cut(string(pair), ":")
		if err != nil || !ok {
			return credentials.Credential{}, fmt.Errorf("auth is %w: expected base64 of name:password", ErrMalformed)
		}
		// Old versions of Docker filled up with zeros.
		c.Username, c.Password = name, credentials.NewSecret(strings.TrimRight(password, "\x00"))
	}
	if c.Username == "" && c.Password.IsZero() {
		return credentials.Credential{}, credentials.ErrNoLogin
	}
	return c, c.Validate(time.Now())
}

// A File is the login for one server in a Docker configuration file, which is read each time, so that a new login is
// seen.
type File struct {
	// Path is where the file is. It has to be set.
	Path string
	// Server is the host, or the key as it stands in the file. It has to be set.
	Server string
	// GoodFor is how long an answer is taken to be good. Zero means for ever; then a cache does not ask again.
	GoodFor time.Duration
}

// Credential reads the file.
func (f File) Credential(ctx context.Context) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, context.Cause(ctx)
	}
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return credentials.Credential{}, err
	}
	config, err := Parse(data)
	if err != nil {
		return credentials.Credential{}, fmt.Errorf("%s: %w", f.Path, err)
	}
	c, err := config.credential(ctx, f.Server)
	if err != nil {
		return credentials.Credential{}, err
	}
	return goodFor(c, f.GoodFor), nil
}

// goodFor dates a credential whose expiry nobody told.
func goodFor(c credentials.Credential, d time.Duration) credentials.Credential {
	if d > 0 && c.ExpiresAt.IsZero() {
		c.IssuedAt = time.Now()
		c.ExpiresAt = c.IssuedAt.Add(d)
	}
	return c
}
