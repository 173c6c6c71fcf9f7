package helper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/regcred/regcred/registry"
)

// ErrHelperNotFound is the error for a server that no profile serves. Its text is the one by which clients recognise it:
// docker-credential-helpers credentials/error.go. The program prints it to standard output and exits with 1.
var ErrHelperNotFound = errors.New("credentials not found in native keychain")

// errReadOnly answers docker login and docker logout.
var errReadOnly = errors.New("this helper stores no logins: its profiles say how to log in; remove it from credHelpers or credsStore to use docker login")

// tokenUsername marks a secret that is an identity token; a client would then drop the user name.
const tokenUsername = "<token>"

// Docker serves one call of a docker credential helper: action is "get", "list" or "version". "store" and "erase" are
// rejected, because the profiles are the store. Clients expect an error as text on standard output, with exit code 1.
//
// "get" reads the address of a server in every form that docker, podman, skopeo, BuildKit, ORAS, regclient,
// go-containerregistry and nerdctl send: with or without a scheme, "/v1/" and the default port, and whole repositories.
// The profile that serves most of the server's images answers for a host alone. For a server that no profile serves, or
// one without a login, the error is [ErrHelperNotFound]. Other errors have the hint of a [registry.Error]; docker
// shows none of them and pulls without a login.
//
// "list" writes the servers and user names of profiles whose login is a user name and password. It issues no
// credentials, because docker calls it for every build.
func (h *Helper) Docker(ctx context.Context, action string, in io.Reader, out io.Writer) error {
	switch action {
	case "get":
		return h.get(ctx, in, out)
	case "list":
		return h.list(out)
	case "version":
		_, err := fmt.Fprintln(out, "docker-credential-regcred")
		return err
	case "store", "erase":
		return errReadOnly
	}
	return fmt.Errorf("unknown action %.100q: expected get, list or version", action)
}

// maxAddress is far above any address of a server.
const maxAddress = 64 << 10

func (h *Helper) get(ctx context.Context, in io.Reader, out io.Writer) error {
	line, err := bufio.NewReader(io.LimitReader(in, maxAddress)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	address := strings.TrimSpace(line)
	if address == "" {
		return errors.New("no credentials server URL") // The text of docker-credential-helpers.
	}
	var errs []error
	for _, p := range h.serving(address) {
		c, err := h.credential(ctx, p)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !c.Anonymous && c.Username != tokenUsername:
			return writeJSON(out, map[string]string{"ServerURL": address, "Username": c.Username, "Secret": c.Password.Reveal()})
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return ErrHelperNotFound
}

// serving returns the profiles for an address, the best first.
func (h *Helper) serving(address string) []registry.Profile {
	name := serverName(address)
	if host, path, ok := strings.Cut(name, "/"); ok && path != "" { // A repository: go-containerregistry sends them.
		if image, err := registry.ParseImage(host + "/" + path); err == nil {
			if found := registry.Serving(h.Profiles, image); len(found) > 0 {
				return found
			}
		}
		name = host
	}
	return registry.ServingHost(h.Profiles, name)
}

// serverName returns the host of an address, with what else of it names images. The forms: docker sends
// "https://index.docker.io/v1/", go-containerregistry "ghcr.io/team/app", nerdctl "https://ghcr.io:443".
func serverName(address string) string {
	name := address
	secure := true
	if rest, ok := strings.CutPrefix(name, "https://"); ok {
		name = rest
	} else if rest, ok := strings.CutPrefix(name, "http://"); ok {
		name, secure = rest, false
	}
	host, path, _ := strings.Cut(name, "/")
	if secure {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	path = strings.Trim(path, "/")
	for _, version := range []string{"v1", "v2"} {
		if path == version {
			path = ""
		}
	}
	if path == "" {
		return host
	}
	return host + "/" + path
}

func (h *Helper) list(out io.Writer) error {
	servers := make(map[string]string)
	for _, p := range h.Profiles {
		endpoints, err := p.Endpoints()
		if err != nil || p.Login.Username == "" {
			continue
		}
		for _, e := range endpoints {
			servers[e.Key()] = p.Login.Username
		}
	}
	return writeJSON(out, servers)
}

func writeJSON(out io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return errors.New("write response: a user name or password is not text")
	}
	_, err = out.Write(append(text, '\n'))
	return err
}
