package mirrors

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
)

const dockerFile = "/etc/docker/daemon.json"

// A dockerConfig is the part of Docker's daemon.json that decides how it pulls.
type dockerConfig struct {
	present bool
	invalid string // Why Docker does not start.

	Mirrors  []string `json:"registry-mirrors"`
	Insecure []string `json:"insecure-registries"`
}

func (n *Node) readDocker() error {
	content, ok, err := n.read(dockerFile)
	if err != nil || !ok {
		return err
	}
	c := &n.docker
	c.present = true
	if err := json.Unmarshal(content, c); err != nil {
		c.invalid = fmt.Sprintf("%s is not valid: %s", dockerFile, oneLine(err))
		return nil
	}
	for _, m := range c.Mirrors {
		u, err := url.Parse(m)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			c.invalid = fmt.Sprintf("the mirror %q in %s is not the URL of a host, with which Docker does not start", shown(m), dockerFile)
		}
	}
	return nil
}

// isInsecure reports whether Docker accepts plain HTTP and any certificate of the host.
func (c *dockerConfig) isInsecure(host string) bool {
	addr, err := netip.ParseAddr(hostname(host))
	if err == nil && addr.Is4() && addr.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(c.Insecure, func(entry string) bool {
		network, failed := netip.ParsePrefix(entry)
		return entry == host || err == nil && failed == nil && network.Contains(addr)
	})
}

// routeDocker adds the mirrors, which Docker uses for Docker Hub alone, and the registry itself. Each of them receives
// the login of the pull secret.
func (n *Node) routeDocker(r *Route) {
	c := &n.docker
	if r.Broken = c.invalid; r.Broken != "" {
		r.File = dockerFile
		return
	}
	add := func(scheme, host, root string, mirror bool) {
		hop := Hop{Scheme: scheme, Host: host, Path: path.Join("/", root, "v2"), Repository: r.Image.Repository, Mirror: mirror, Resolves: true, Serves: true}
		if scheme == "https" && c.isInsecure(host) {
			hop.SkipVerify, hop.HTTPFallback = true, true
		}
		if r.Secret {
			hop.Login = SecretLogin
		}
		if problem := n.addCertificates(&hop, host, dockerCertsDir); problem != "" {
			r.Broken, r.File = problem, dockerCertsDir+"/"+host
		}
		r.Hops = append(r.Hops, hop)
	}
	if r.Image.Host == "docker.io" {
		for _, m := range c.Mirrors {
			u, _ := url.Parse(m)                // It was parsed before.
			add(u.Scheme, u.Host, u.Path, true) // 20.10 does not start with a path (registry/config.go).
			r.File = dockerFile
		}
	}
	add("https", apiHost(r.Image.Host), "", false)
}

func (n *Node) lintDocker(r *report) {
	if c := &n.docker; c.invalid != "" {
		r.add(Docker, Finding{Rule: BrokenFile, Fatal: true, Subject: dockerFile, Message: c.invalid, Hint: "correct the file"})
	}
	n.lintCertificateFolders(r, Docker, dockerCertsDir)
}
