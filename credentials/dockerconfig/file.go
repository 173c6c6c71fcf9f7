package dockerconfig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	dockercredentials "github.com/docker/cli/cli/config/credentials"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A File is the login for one server in a configuration file of docker or podman. The file is read on each call, so
// that a new login takes effect.
type File struct {
	// Path is the path of the file. If empty, these files of the user are read in this order, and the first one with a
	// login for the server is used:
	//
	//   - the text in $DOCKER_AUTH_CONFIG
	//   - config.json in $DOCKER_CONFIG, or else in .docker of the home directory; if it has no login and no helper,
	//     the store that docker uses by default on this platform
	//   - the file $REGISTRY_AUTH_FILE; if the variable is not set, containers/auth.json in $XDG_RUNTIME_DIR, and then
	//     containers/auth.json in $XDG_CONFIG_HOME, or else in .config of the home directory
	Path string
	// Server is the host, or the key as it is in the file; see [Config.Source]. Required.
	Server string
	// GoodFor is the lifetime to assume for a credential. Zero means that it never expires; a cache then never reads
	// the file again.
	GoodFor time.Duration
}

// maxFile is far larger than any real configuration: docker writes some hundred bytes for each login.
const maxFile = 4 << 20

// Credential reads the file. Its error wraps [credentials.ErrNoLogin] if there is no login for the server, and lists
// the paths that were searched if Path is empty.
func (f File) Credential(ctx context.Context) (credentials.Credential, error) {
	c, err := f.credential(ctx)
	if err != nil {
		return credentials.Credential{}, err
	}
	return goodFor(c, f.GoodFor), nil
}

func (f File) credential(ctx context.Context) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, context.Cause(ctx)
	}
	if f.Path != "" {
		c, err := read(f.Path)
		if err != nil {
			return credentials.Credential{}, err
		}
		return c.credential(ctx, f.Server)
	}
	return f.ofUser(ctx)
}

// ofUser searches the files of the user.
func (f File) ofUser(ctx context.Context) (credentials.Credential, error) {
	if text := os.Getenv(configfile.DockerEnvConfigKey); text != "" {
		parsed, err := Parse([]byte(text))
		if err != nil {
			return credentials.Credential{}, fmt.Errorf("$%s: %w", configfile.DockerEnvConfigKey, err)
		}
		if c, err := parsed.credential(ctx, f.Server); !errors.Is(err, credentials.ErrNoLogin) {
			return c, err
		}
	}
	paths := userPaths()
	for i, path := range paths {
		parsed, err := read(path)
		missing := errors.Is(err, os.ErrNotExist)
		if err != nil && !missing {
			return credentials.Credential{}, err
		}
		if i == 0 && parsed.empty() {
			if c, ok := f.inDefaultStore(ctx); ok {
				return c, nil
			}
			if ctx.Err() != nil {
				return credentials.Credential{}, context.Cause(ctx)
			}
		}
		if missing {
			continue
		}
		if c, err := parsed.credential(ctx, f.Server); !errors.Is(err, credentials.ErrNoLogin) {
			return c, err
		}
	}
	return credentials.Credential{}, fmt.Errorf("%w: %s is not in %s", credentials.ErrNoLogin, f.Server, strings.Join(paths, ", "))
}

// inDefaultStore runs the helper that docker uses by default. The user did not choose it, so its failure is not an
// error.
func (f File) inDefaultStore(ctx context.Context) (credentials.Credential, bool) {
	name := dockercredentials.DetectDefaultStore("")
	if name == "" {
		return credentials.Credential{}, false
	}
	c, err := Helper{Name: name, Server: storeKey(f.Server)}.Credential(ctx)
	return c, err == nil
}

// userPaths returns the paths of the logins of docker and podman; see
// https://docs.docker.com/reference/cli/docker/#environment-variables and containers-auth.json(5). Docker's package
// config computes the path only once per process.
func userPaths() []string {
	home, _ := os.UserHomeDir()
	docker := os.Getenv(config.EnvOverrideConfigDir)
	if docker == "" {
		docker = filepath.Join(home, ".docker")
	}
	paths := []string{filepath.Join(docker, config.ConfigFileName)}
	podman := filepath.Join("containers", "auth.json")
	if file := os.Getenv("REGISTRY_AUTH_FILE"); file != "" {
		return append(paths, file)
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && runtime.GOOS == "linux" {
		paths = append(paths, filepath.Join(dir, podman))
	}
	configHome := os.Getenv("XDG_CONFIG_HOME")
	if configHome == "" {
		configHome = filepath.Join(home, ".config")
	}
	return append(paths, filepath.Join(configHome, podman))
}

func read(path string) (Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return Config{}, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return Config{}, err
	}
	if len(data) > maxFile {
		return Config{}, fmt.Errorf("%s: %w: more than %d bytes", path, ErrMalformed, maxFile)
	}
	c, err := Parse(data)
	if err != nil {
		return Config{}, &registry.Error{
			Op: "read", Ref: path, Code: registry.ErrInvalid, Err: ErrMalformed, Hint: "correct the file: docker reads it as a JSON object",
		}
	}
	return c, nil
}
