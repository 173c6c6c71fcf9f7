package mirrors

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// authFiles are the files with the logins that CRI-O and podman have on a node, in the order in which they are read.
type authFiles struct {
	crio, podman []authFile
}

type authFile struct {
	name   string
	logins map[string]nodeAuth
}

func (n *Node) readAuthFiles() error {
	global, err := n.globalAuthFile()
	if err != nil {
		return err
	}
	read := func(names ...string) (files []authFile, err error) {
		for _, name := range names {
			content, ok, err := n.read(name)
			if err != nil {
				return nil, err
			}
			if ok {
				files = append(files, authFile{name, parseAuthFile(content)})
			}
		}
		return files, nil
	}
	standard := []string{"/run/containers/0/auth.json", path.Join("/root", ".docker", "config.json")}
	if n.auth.podman, err = read(standard...); err != nil {
		return err
	}
	n.auth.crio = n.auth.podman
	if global != "" {
		n.auth.crio, err = read(global)
	}
	return err
}

// globalAuthFile returns global_auth_file of CRI-O's configuration.
func (n *Node) globalAuthFile() (name string, err error) {
	files := []string{"/etc/crio/crio.conf"}
	entries, err := fs.ReadDir(n.fsys, "etc/crio/crio.conf.d")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, e := range entries {
		if !e.IsDir() {
			files = append(files, path.Join("/etc/crio/crio.conf.d", e.Name()))
		}
	}
	for _, f := range files {
		content, ok, err := n.read(f)
		if err != nil {
			return "", err
		}
		var file struct {
			Crio struct {
				Image struct {
					GlobalAuthFile *string `toml:"global_auth_file"`
				} `toml:"image"`
			} `toml:"crio"`
		}
		if ok && toml.Unmarshal(content, &file) == nil && file.Crio.Image.GlobalAuthFile != nil {
			name = *file.Crio.Image.GlobalAuthFile
		}
	}
	return name, nil
}

// parseAuthFile returns the logins of an auth.json by their keys; none if it is not valid.
func parseAuthFile(content []byte) map[string]nodeAuth {
	var file struct {
		Auths map[string]struct {
			Auth          credentials.Secret `json:"auth"`
			IdentityToken credentials.Secret `json:"identitytoken"`
		} `json:"auths"`
	}
	if json.Unmarshal(content, &file) != nil {
		return nil
	}
	logins := make(map[string]nodeAuth)
	for key, e := range file.Auths {
		if a := (nodeAuth{Auth: e.Auth, IdentityToken: e.IdentityToken}); a.isSet() {
			logins[key] = a
		}
	}
	return logins
}

// find returns the login for an image at its physical location: by the longest key that is a whole part of its name, or
// by a key of docker's form.
func (a *authFiles) find(r Runtime, image registry.Image) *nodeAuth {
	files := a.podman
	if r == CRIO {
		files = a.crio
	}
	for _, f := range files {
		for key := image.Name(); key != "."; key = path.Dir(key) {
			if login, ok := f.logins[key]; ok {
				return &login
			}
		}
		for key, login := range f.logins {
			if _, rest, ok := strings.Cut(key, "://"); ok { // As docker wrote it.
				key, _, _ = strings.Cut(rest, "/")
			}
			if key == "index.docker.io" || key == "registry-1.docker.io" {
				key = "docker.io"
			}
			if key == image.Host {
				return &login
			}
		}
	}
	return nil
}

// credential returns the user name and the password of a login of the node.
func (a *nodeAuth) credential() (credentials.Credential, error) {
	if a == nil {
		return credentials.Credential{}, errors.New("the login of the node is missing: pass a route as Node.Route returned it")
	}
	if a.Username != "" {
		return credentials.Credential{Username: a.Username, Password: a.Password}, nil
	}
	if a.Auth.IsZero() {
		return credentials.Credential{}, errors.New("the login of the node is an identity token, which is not checked")
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(a.Auth.Reveal()))
	username, password, ok := strings.Cut(string(decoded), ":")
	if err != nil || !ok {
		return credentials.Credential{}, errors.New("auth in the login of the node is not USER:PASSWORD in base64")
	}
	return credentials.Credential{Username: username, Password: credentials.NewSecret(strings.TrimRight(password, "\x00"))}, nil
}
