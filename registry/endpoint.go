package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/regcred/regcred/field"
)

// An Endpoint is the address of a registry, or of a part of one: all repositories under a path. It is comparable. The
// zero Endpoint means none.
type Endpoint struct {
	// Host is the host in lower case, with its port if there is one, as written in the names of images: "ghcr.io",
	// "10.0.0.1:5000", "[::1]:5000". For Docker Hub it is "docker.io".
	Host string
	// Path is the part of the registry: "team/project". Empty means all of it.
	Path string
	// PlainHTTP reports whether the endpoint was written with http://.
	PlainHTTP bool
}

// ParseEndpoint parses an endpoint as people write it: with or without a scheme, a port, a path, the /v2/ of the API,
// trailing slashes, in any case. The result is the same for all names of Docker Hub.
//
// If there is a scheme, its default port is dropped (https://ghcr.io:443 is ghcr.io). Without a scheme the port stays,
// because images and kubelets name the host with it. The error describes the problem, and does not contain the text
// before an @.
func ParseEndpoint(s string) (Endpoint, error) {
	var e Endpoint
	s = strings.TrimSpace(s)
	if s == "" {
		return e, errors.New("is empty")
	}
	scheme, rest, hasScheme := strings.Cut(s, "://")
	if hasScheme {
		switch strings.ToLower(scheme) {
		case "https":
		case "http":
			e.PlainHTTP = true
		default:
			return Endpoint{}, errors.New("has a scheme other than https")
		}
		s = rest
	}
	written, path, _ := strings.Cut(s, "/")
	if problem := site(written, path); problem != "" {
		return Endpoint{}, errors.New(problem)
	}
	switch {
	case strings.Contains(s, "@"):
		return Endpoint{}, errors.New("has an @: it can contain neither a login nor a digest")
	case strings.Contains(path, "/-/"):
		return Endpoint{}, errors.New("is a page of GitLab's web site: write the host of its registry, such as registry.gitlab.com/GROUP")
	case strings.ContainsAny(s, "?#"):
		return Endpoint{}, errors.New("has a query or a fragment")
	}
	host, err := cleanHost(written)
	if err != nil {
		return Endpoint{}, err
	}
	if hasScheme {
		host = dropDefaultPort(host, e.PlainHTTP)
	}
	if path, err = cleanPath(path); err != nil {
		return Endpoint{}, err
	}
	if isDockerHubAlias(host) {
		if path != "" && host == "hub.docker.com" {
			return Endpoint{}, errors.New("is a page of Docker Hub's web site: " +
				"write docker.io, or docker.io/ORGANIZATION for one organization")
		}
		host = dockerHubHost
	}
	switch {
	case looksLikeHost(host):
	case looksLikeHost(written):
		return Endpoint{}, fmt.Errorf("%s has no dot and no port: in the name of an image only its upper-case letters make it "+
			"a host; write the full name of the host, or docker.io/%s for that part of Docker Hub", field.Quote(written), host)
	default:
		return Endpoint{}, fmt.Errorf(
			"%s has no dot and no port: images with this name would be pulled from Docker Hub", field.Quote(host))
	}
	e.Host, e.Path = host, path
	return e, nil
}

// dropDefaultPort drops the default port, unless only the port distinguishes the host from a repository of Docker Hub,
// as in registry:443.
func dropDefaultPort(host string, plainHTTP bool) string {
	port := ":443"
	if plainHTTP {
		port = ":80"
	}
	if name, ok := strings.CutSuffix(host, port); ok && looksLikeHost(name) {
		return name
	}
	return host
}

// cleanPath drops the version of the API, and slashes at both ends.
func cleanPath(path string) (string, error) {
	path = strings.TrimRight(path, "/")
	first, rest, _ := strings.Cut(path, "/")
	if first == "v1" || first == "v2" {
		path = rest
	}
	if path == "" {
		return "", nil
	}
	if err := checkRepository(path); err != nil {
		return "", fmt.Errorf("path %w", err)
	}
	return path, nil
}

// isDockerHub reports whether the endpoint is Docker Hub or a part of it.
func (e Endpoint) isDockerHub() bool { return e.Host == dockerHubHost }

// String returns the endpoint as written in the names of images: "ghcr.io/team".
func (e Endpoint) String() string {
	if e.Path == "" {
		return e.Host
	}
	return e.Host + "/" + e.Path
}

// APIHost returns the host of the registry's API. It is Host, except for Docker Hub.
func (e Endpoint) APIHost() string {
	if e.isDockerHub() {
		return "registry-1.docker.io"
	}
	return e.Host
}

// Key returns the key under which docker, kubelet and other clients look up the login in a docker config: for Docker
// Hub the key that docker login writes, otherwise the endpoint itself. Kubelet, containerd and podman understand a key
// with a path; docker does not.
func (e Endpoint) Key() string {
	if e.isDockerHub() && e.Path == "" {
		return "https://index.docker.io/v1/"
	}
	return e.String()
}

// Serves reports whether the image is in the part of the registry that the endpoint covers. Hosts are compared as
// written, as kubelet does; paths are compared part by part: host/team does not serve host/team-b/app.
func (e Endpoint) Serves(image Image) bool {
	if e.Host != image.Host {
		return false
	}
	rest, ok := strings.CutPrefix(image.Repository, e.Path)
	return ok && (e.Path == "" || rest == "" || rest[0] == '/')
}
