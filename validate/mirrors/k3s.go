package mirrors

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A k3sConfig is the registries.yaml of k3s or RKE2, from which they write containerd's files at their start
// (github.com/k3s-io/k3s, pkg/agent/containerd/config.go).
type k3sConfig struct {
	file    string
	invalid string

	Mirrors map[string]struct {
		Endpoints []string          `yaml:"endpoint"`
		Rewrites  map[string]string `yaml:"rewrite"`
	} `yaml:"mirrors"`
	Configs map[string]struct {
		Auth *nodeAuth `yaml:"auth"`
		TLS  *k3sTLS   `yaml:"tls"`
	} `yaml:"configs"`

	noDefault bool // disable-default-registry-endpoint in config.yaml.
}

type k3sTLS struct {
	CAFile             string `yaml:"ca_file"`
	CertFile           string `yaml:"cert_file"`
	KeyFile            string `yaml:"key_file"`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify"`
}

func (n *Node) readK3s() error {
	for _, program := range []string{"k3s", "rke2"} {
		name := "/etc/rancher/" + program + "/registries.yaml"
		content, ok, err := n.read(name)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		c := &n.k3s
		c.file = name
		if err := yaml.Unmarshal(content, c); err != nil {
			c.invalid = name + " is not valid YAML, with which " + program + " does not start" // The error may quote a password.
		}
		content, _, err = n.read("/etc/rancher/" + program + "/config.yaml")
		if err != nil {
			return err
		}
		var options map[string]any
		_ = yaml.Unmarshal(content, &options)
		c.noDefault = fmt.Sprint(options["disable-default-registry-endpoint"]) == "true"
		return nil
	}
	return nil
}

// login returns the login for a host, which k3s writes into containerd's registry.configs.
func (c *k3sConfig) login(host string) *nodeAuth {
	if a := c.Configs[host].Auth; a.isSet() {
		return a
	}
	return nil
}

// tls returns the TLS settings of a host. registry-1.docker.io takes precedence over docker.io.
func (c *k3sConfig) tls(registry string) *k3sTLS {
	if config, ok := c.Configs[apiHost(registry)]; ok {
		return config.TLS
	}
	return c.Configs[registry].TLS
}

func (n *Node) routeK3s(r *Route) {
	c := &n.k3s
	r.File, r.Broken = c.file, c.invalid
	if r.Broken != "" {
		return
	}
	f, err := c.hosts(r.Image.Host)
	if err != nil {
		r.Broken = err.Error()
		return
	}
	for i := range f {
		h := &f[i]
		h.skipVerify = h.verify != nil && !*h.verify
		if r.Broken = n.checkFiles(h.cas, h.clients); r.Broken != "" {
			return
		}
		if h.scheme == "http" && h.explicitTLS() && !strings.HasSuffix(h.host, ":80") {
			h.scheme, h.fallback = "https", true
		}
	}
	r.addHosts(f, c.login)
}

// hosts returns the hosts for a registry. A registry that is in configs alone has a folder of its own, so that the
// mirrors of "*" are not used for it.
func (c *k3sConfig) hosts(registry string) ([]host, error) {
	mirror, ok := c.Mirrors[registry]
	config, configured := c.Configs[registry]
	if !ok && !(configured && (config.Auth != nil || config.TLS != nil)) {
		if mirror, ok = c.Mirrors["*"]; ok && len(mirror.Endpoints) == 0 {
			ok = false
		}
	}
	rewrite, err := rewriter(mirror.Rewrites)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.file, err)
	}
	own := host{}
	own.setOrigin(registry)
	own.addTLS(c.tls(registry))
	var all []host
	seen := make(map[string]bool)
	for i, e := range mirror.Endpoints {
		h, name, err := k3sEndpoint(e)
		if err != nil || seen[h.scheme+h.host+h.path] {
			continue // k3s logs a warning.
		}
		seen[h.scheme+h.host+h.path] = true
		h.addTLS(c.tls(name))
		if i == len(mirror.Endpoints)-1 && h.host == own.host && h.path == own.path && h.scheme == own.scheme {
			own = h // Without rewrites.
			continue
		}
		h.rewrite = rewrite
		all = append(all, h)
	}
	if !(ok && c.noDefault) {
		all = append(all, own)
	}
	return all, nil
}

func k3sEndpoint(text string) (h host, name string, err error) {
	if !strings.Contains(text, "://") {
		scheme := "https"
		hostname, _, _ := strings.Cut(text, "/")
		if isLoopback(hostname) && strings.Contains(hostname, ":") && !strings.HasSuffix(hostname, ":443") {
			scheme = "http"
		}
		text = scheme + "://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return h, "", fmt.Errorf("the endpoint %q is not a URL", shown(text))
	}
	h = host{scheme: u.Scheme, host: apiHost(u.Host), path: u.Path, resolve: true, pull: true}
	if h.path == "" || h.path == "/" {
		h.path = "/v2"
	}
	return h, u.Host, nil
}

func (h *host) addTLS(t *k3sTLS) {
	if t == nil {
		return
	}
	if t.CAFile != "" {
		h.cas = []string{t.CAFile}
	}
	if t.CertFile != "" || t.KeyFile != "" {
		h.clients = [][2]string{{t.CertFile, t.KeyFile}}
	}
	if t.InsecureSkipVerify {
		verify := false
		h.verify = &verify
	}
}

// rewriter returns a function that applies the rewrites of a mirror to a repository.
func rewriter(rewrites map[string]string) (func(string) string, error) {
	if len(rewrites) == 0 {
		return nil, nil
	}
	type rule struct {
		pattern *regexp.Regexp
		text    string
	}
	var rules []rule
	for pattern, text := range rewrites {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("the rewrite %q is not a regular expression", shown(pattern))
		}
		rules = append(rules, rule{re, text})
	}
	slices.SortFunc(rules, func(a, b rule) int { return strings.Compare(a.pattern.String(), b.pattern.String()) })
	return func(repository string) string {
		for _, r := range rules {
			if r.pattern.MatchString(repository) {
				return r.pattern.ReplaceAllString(repository, r.text)
			}
		}
		return repository
	}, nil
}
