package mirrors

import (
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/regcred/regcred/credentials"
)

const containerdFile = "/etc/containerd/config.toml"

// A containerdConfig is the part of containerd's main configuration that decides how it pulls.
type containerdConfig struct {
	present bool
	version int
	invalid string // Why containerd does not start.
	// The sections by the names of the versions 1, 2 and 3 of the file; nil if they are missing.
	sections [3]*imagesSection
}

// An imagesSection is the section of the CRI plugin for images. The options other than the registry decide whether
// containerd 2 uses its transfer service; see local.
type imagesSection struct {
	Registry *registrySection `toml:"registry"`

	UseLocalImagePull          bool  `toml:"use_local_image_pull"`
	ImagePullWithSyncFs        bool  `toml:"image_pull_with_sync_fs"`
	MaxConcurrentDownloads     *int  `toml:"max_concurrent_downloads"`
	DiscardUnpackedLayers      bool  `toml:"discard_unpacked_layers"`
	DisableSnapshotAnnotations *bool `toml:"disable_snapshot_annotations"`
	Containerd                 struct {
		DiscardUnpackedLayers      bool  `toml:"discard_unpacked_layers"`
		DisableSnapshotAnnotations *bool `toml:"disable_snapshot_annotations"`
	} `toml:"containerd"`
}

type registrySection struct {
	ConfigPath string                    `toml:"config_path"`
	Mirrors    map[string]mirrorSection  `toml:"mirrors"`
	Configs    map[string]configsSection `toml:"configs"`
	Auths      map[string]nodeAuth       `toml:"auths"`
}

type mirrorSection struct {
	Endpoints []string `toml:"endpoint"`
}

type configsSection struct {
	Auth *nodeAuth `toml:"auth"`
	TLS  *struct {
		InsecureSkipVerify bool   `toml:"insecure_skip_verify"`
		CAFile             string `toml:"ca_file"`
		CertFile           string `toml:"cert_file"`
		KeyFile            string `toml:"key_file"`
	} `toml:"tls"`
}

// A nodeAuth is a login of the node.
type nodeAuth struct {
	Username      string             `toml:"username" yaml:"username"`
	Password      credentials.Secret `toml:"password" yaml:"password"`
	Auth          credentials.Secret `toml:"auth" yaml:"auth"`
	IdentityToken credentials.Secret `toml:"identitytoken" yaml:"identity_token"`
}

// isSet reports whether containerd finds a login in it.
func (a *nodeAuth) isSet() bool {
	return a != nil && (a.Username != "" || !a.Auth.IsZero() || !a.IdentityToken.IsZero())
}

func (n *Node) readContainerd() error {
	c := &n.containerd
	type document struct {
		Version int      `toml:"version"`
		Imports []string `toml:"imports"`
		Plugins struct {
			V1 *imagesSection `toml:"cri"`
			V2 *imagesSection `toml:"io.containerd.grpc.v1.cri"`
			V3 *imagesSection `toml:"io.containerd.cri.v1.images"`
		} `toml:"plugins"`
	}
	content, ok, err := n.read(containerdFile)
	if err != nil || !ok {
		return err
	}
	c.present, c.version = true, 1
	names := []string{containerdFile}
	for i := 0; i < len(names) && i < maxImports; i++ {
		if i > 0 {
			if content, ok, err = n.read(names[i]); err != nil {
				return err
			} else if !ok {
				continue
			}
		}
		var file document
		if err := toml.Unmarshal(content, &file); err != nil {
			c.invalid = fmt.Sprintf("%s is not valid: %s", names[i], oneLine(err))
			return nil
		}
		c.version = max(c.version, file.Version)
		for j, s := range []*imagesSection{file.Plugins.V1, file.Plugins.V2, file.Plugins.V3} {
			if s != nil { // A section of an imported file replaces the section of the file before.
				c.sections[j] = s
			}
		}
		for _, pattern := range file.Imports {
			if !path.IsAbs(pattern) {
				pattern = path.Join(path.Dir(names[i]), pattern)
			}
			matches, err := fs.Glob(n.fsys, rel(pattern))
			if err != nil {
				continue
			}
			for _, m := range matches {
				if !slices.Contains(names, "/"+m) {
					names = append(names, "/"+m)
				}
			}
		}
	}
	return nil
}

const maxImports = 64

// section returns the section that the runtime reads. Its Registry is not nil.
func (c *containerdConfig) section(r Runtime) (s imagesSection, broken string) {
	s.Registry = &registrySection{}
	switch {
	case c.invalid != "":
		return s, c.invalid
	case c.version > 4 || c.version > 2 && r != Containerd2:
		return s, fmt.Sprintf("%s has version %d, with which %s does not start", containerdFile, c.version, r)
	case !c.present:
		return s, ""
	}
	if r == Containerd2 {
		s = c.migrated()
	} else if own := c.sections[c.version-1]; own != nil {
		s = *own
	}
	if s.Registry == nil {
		s.Registry = &registrySection{}
	}
	reg := s.Registry
	switch {
	case reg.ConfigPath != "" && len(reg.Mirrors) > 0:
		broken = "mirrors are set beside config_path in " + containerdFile + ", with which the CRI plugin does not start"
	case reg.ConfigPath != "" && r != Containerd2:
		for _, config := range reg.Configs {
			if config.TLS != nil {
				broken = "configs.tls is set beside config_path in " + containerdFile + ", with which the CRI plugin does not start"
			}
		}
	}
	return s, broken
}

// migrated returns the section that containerd 2.4 uses. From a file with a version below 4, containerd 2.4 moves parts
// of the older versions' section into it (plugins/cri/images/plugin.go). containerd 2.0 to 2.2 do so for versions below
// 3.
func (c *containerdConfig) migrated() imagesSection {
	var s imagesSection
	if c.sections[2] != nil {
		s = *c.sections[2]
	}
	old := c.sections[1]
	if c.version == 1 && c.sections[0] != nil {
		old = c.sections[0]
	}
	if old == nil || c.version >= 4 {
		return s
	}
	if old.Registry != nil {
		s.Registry = old.Registry
	}
	if old.MaxConcurrentDownloads != nil {
		s.MaxConcurrentDownloads = old.MaxConcurrentDownloads
	}
	s.ImagePullWithSyncFs = s.ImagePullWithSyncFs || old.ImagePullWithSyncFs
	s.Containerd = old.Containerd
	return s
}

// local reports whether containerd 2 pulls without its transfer service.
func (s *imagesSection) local() bool {
	annotations := s.DisableSnapshotAnnotations
	if annotations == nil {
		annotations = s.Containerd.DisableSnapshotAnnotations
	}
	return s.UseLocalImagePull || s.DiscardUnpackedLayers || s.Containerd.DiscardUnpackedLayers || s.ImagePullWithSyncFs ||
		annotations != nil && !*annotations ||
		s.MaxConcurrentDownloads != nil && *s.MaxConcurrentDownloads != 3 ||
		len(s.Registry.Mirrors) > 0 || len(s.Registry.Configs) > 0 || len(s.Registry.Auths) > 0
}

const (
	defaultCertsDir = "/etc/containerd/certs.d"
	dockerCertsDir  = "/etc/docker/certs.d"
)

// folders returns the folders in which the runtime looks for the folders of hosts. The second result is false if it
// uses registry.mirrors instead.
func (s *imagesSection) folders(r Runtime) ([]string, bool) {
	list := s.Registry.ConfigPath
	if list == "" {
		if r != Containerd2 || len(s.Registry.Mirrors) > 0 {
			return nil, false
		}
		list = defaultCertsDir + ":" + dockerCertsDir
	}
	if r == Containerd2 && !s.local() {
		return []string{list}, true // The transfer service does not split the list.
	}
	return strings.Split(list, ":"), true
}

// login returns the node's own login for a host.
func (s *registrySection) login(host string) *nodeAuth {
	if c := s.Configs[host]; c.Auth.isSet() {
		return c.Auth
	}
	for endpoint, auth := range s.Auths {
		if u, err := url.Parse(endpoint); err == nil && u.Scheme != "" && u.Host != "" {
			endpoint = u.Host
		}
		if endpoint == host && auth.isSet() {
			return &auth
		}
	}
	return nil
}

func (n *Node) routeContainerd(r *Route) {
	s, broken := n.containerd.section(r.Runtime)
	if broken != "" {
		r.Broken, r.File = broken, containerdFile
		return
	}
	folders, ok := s.folders(r.Runtime)
	if !ok {
		n.routeMirrors(r, &s)
		return
	}
	f := n.hostFolder(r.Runtime, folders, r.Image.Host)
	if f.dir != "" {
		r.File = f.file()
	}
	r.Broken = f.broken
	if r.Broken == "" {
		r.addHosts(f.hosts, s.Registry.login)
	}
}

// addHosts adds the hops of a host folder.
func (r *Route) addHosts(hosts []host, login func(string) *nodeAuth) {
	pulls := slices.ContainsFunc(hosts, func(h host) bool { return h.pull })
	resolves := false
	for _, h := range hosts {
		hop := Hop{
			Scheme: h.scheme, Host: h.host, Path: h.path, HTTPFallback: h.fallback, Repository: r.Image.Repository,
			Mirror:   h.host != apiHost(r.Image.Host) && h.host != r.Image.Host,
			Resolves: h.pull && (h.resolve || r.Image.Digest != ""),
			// Once one host has the capability, requests for content are sent to all of them
			// (core/remotes/docker/fetcher.go).
			Serves:     pulls,
			SkipVerify: h.skipVerify, CAs: h.cas, Clients: h.clients, header: h.header,
		}
		hop.setContainerdLogin(r, login)
		if h.rewrite != nil {
			hop.Repository = h.rewrite(hop.Repository)
		}
		resolves = resolves || hop.Resolves
		r.Hops = append(r.Hops, hop)
	}
	if !resolves {
		r.Broken = "no host has the capabilities that the pull needs"
		if r.Image.Digest == "" {
			r.Broken = "no host has the capabilities pull and resolve, which a pull by tag needs"
		}
	}
}

// setContainerdLogin sets the fields about logins. The kubelet passes a login without the server that it is for, so
// containerd uses it for every host. containerd uses the node's own logins only if the kubelet passes none.
func (h *Hop) setContainerdLogin(r *Route, login func(string) *nodeAuth) {
	if h.Mirror {
		h.Namespace = r.Image.Host
	}
	if r.Secret {
		h.Login = SecretLogin
	} else if h.auth = login(h.Host); h.auth != nil {
		h.Login = NodeLogin
	}
	h.Header = slices.ContainsFunc(h.header, func(f headerField) bool { return f.name == "Authorization" })
	h.HeaderToTokenServer = h.Header && (r.Runtime == Containerd2 || r.Runtime == K3s)
}

// routeMirrors adds the hops of registry.mirrors, which containerd uses without config_path.
func (n *Node) routeMirrors(r *Route, s *imagesSection) {
	mirrors, ok := s.Registry.Mirrors[r.Image.Host]
	if !ok {
		mirrors, ok = s.Registry.Mirrors["*"]
	}
	if ok {
		r.File = containerdFile
	}
	endpoints := slices.Clone(mirrors.Endpoints)
	known := false
	for i, e := range endpoints {
		if !strings.Contains(e, "://") {
			endpoints[i] = defaultScheme(strings.SplitN(e, "/", 2)[0]) + "://" + e
		}
		u, err := url.Parse(endpoints[i])
		if err != nil {
			r.Broken = fmt.Sprintf("the endpoint %q in %s is not a URL", shown(e), containerdFile)
			return
		}
		known = known || u.Host == r.Image.Host
	}
	if !known {
		own := apiHost(r.Image.Host)
		endpoints = append(endpoints, defaultScheme(own)+"://"+own)
	}
	for _, e := range endpoints {
		u, err := url.Parse(e)
		if err != nil || u.Host == "" {
			r.Broken = fmt.Sprintf("the endpoint %q in %s is not a URL", shown(e), containerdFile)
			return
		}
		hop := Hop{
			Scheme: u.Scheme, Host: u.Host, Path: u.Path, Repository: r.Image.Repository,
			Mirror: u.Host != apiHost(r.Image.Host) && u.Host != r.Image.Host, Resolves: true, Serves: true,
		}
		if hop.Path == "" {
			hop.Path = "/v2"
		}
		if t := s.Registry.Configs[u.Host].TLS; t != nil && r.Runtime != Containerd2 {
			hop.SkipVerify = t.InsecureSkipVerify
			if t.CAFile != "" {
				hop.CAs = []string{t.CAFile}
			}
			if t.CertFile != "" {
				hop.Clients = [][2]string{{t.CertFile, t.KeyFile}}
			}
			if r.Broken = n.checkFiles(hop.CAs, hop.Clients); r.Broken != "" {
				return
			}
		}
		hop.setContainerdLogin(r, s.Registry.login)
		r.Hops = append(r.Hops, hop)
	}
}

func defaultScheme(host string) string {
	if isLoopback(host) {
		return "http"
	}
	return "https"
}

// isLoopback reports whether containerd treats the host, with or without a port, as one on the node itself.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
