package helper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/regcred/regcred/registry"
)

// ErrHelperNotFound is the error for a server that no profile serves. Its text is the one by which clients recognize it:
// docker-credential-helpers credentials/error.go. The program prints it to standard output and exits with 1.
var ErrHelperNotFound = errors.New("credentials not found in native keychain")

// errReadOnly is the error for docker login and docker logout.
var errReadOnly = errors.New("this helper stores no logins, because its profiles have them; remove it from credHelpers or credsStore to use docker login")

// tokenUsername marks a secret that is an identity token; a client would then drop the user name.
const tokenUsername = "<token>"

// Docker serves one call of a docker credential helper: action is "get", "list" or "version". "store" and "erase" are
// rejected, because the profiles are the store. Clients expect an error as text on standard output, with exit code 1.
//
// "get" reads the address of a server in every form that docker, podman, skopeo, BuildKit, ORAS, regclient,
// go-containerregistry and nerdctl send: with or without a scheme, "/v1/" and the default port, and whole repositories.
// For a host without a repository, the profile that serves most of the host's images is used. If no profile serves the
// server, or its profile has no login, the error is [ErrHelperNotFound]. Other errors have the hint of a
// [registry.Error]; docker shows none of them and pulls without a login.
//
// "list" writes the hosts and user names for which "get" returns the user name and password of a profile. It issues no
// credentials, because docker calls it for every build, and uses no login at all if one on the list fails.
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
		c, err := h.credential(ctx, p, forTerminal())
		switch {
		case err != nil:
			errs = append(errs, err)
		case !c.Anonymous && c.Username != tokenUsername:
			h.warn(c.Late)
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
	for _, name := range serverNames(address) {
		host, path, _ := strings.Cut(name, "/")
		if path != "" { // A repository: go-containerregistry sends them.
			if image, err := registry.ParseImage(name); err == nil {
				if found := registry.Serving(h.Profiles, image); len(found) > 0 {
					return found
				}
			}
		}
		if found := registry.ServingHost(h.Profiles, host); len(found) > 0 {
			return found
		}
	}
	return nil
}

// serverNames returns the names under which profiles may list the server at an address: its host, and its path if that
// is part of an image name. The first name has the port, which profiles keep; the second has no default port. Clients
// send these forms: docker "https://index.docker.io/v1/", go-containerregistry "ghcr.io/team/app", nerdctl
// "ghcr.io:443" and, if that is not found, "https://ghcr.io:443" and "http://ghcr.io:443".
func serverNames(address string) []string {
	scheme, name, ok := strings.Cut(address, "://")
	if !ok {
		scheme, name = "", address
	}
	host, path, _ := strings.Cut(name, "/")
	path = strings.Trim(path, "/")
	switch {
	case path == "v1", path == "v2":
		path = ""
	case ok && strings.HasPrefix(path, "v1/"):
		return nil // An address of Docker's own tokens, not of a login: https://index.docker.io/v1/refresh-token.
	}
	join := func(host string) string { return strings.TrimSuffix(host+"/"+path, "/") }
	names := []string{join(host)}
	short, isDefault := strings.CutSuffix(host, ":443")
	if !isDefault && scheme == "http" {
		short, isDefault = strings.CutSuffix(host, ":80")
	}
	if isDefault {
		names = append(names, join(short))
	}
	return names
}

// list writes one line for each host, because docker, regclient and BuildKit support one login for each host, and
// regclient skips servers with a path.
func (h *Helper) list(out io.Writer) error {
	servers := make(map[string]string)
	for _, p := range h.Profiles {
		endpoints, _ := p.Endpoints() // An endpoint that cannot be read serves no image.
		for _, e := range endpoints {
			serving := registry.ServingHost(h.Profiles, e.Host)
			at := slices.IndexFunc(serving, func(p registry.Profile) bool { return !p.Login.Anonymous })
			if at >= 0 && serving[at].Login.Username != "" {
				servers[registry.Endpoint{Host: e.Host}.Key()] = serving[at].Login.Username
			}
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
