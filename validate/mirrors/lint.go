package mirrors

import (
	"fmt"
	"io/fs"
	"maps"
	"net"
	"path"
	"slices"
	"strings"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// Lint returns the problems of the node's files, sorted by subject; nil if there are none. For each of the registries,
// it also reports where the passwords of pull secrets go, and where they cannot help. It sends no requests.
func (n *Node) Lint(o LintOptions) []Finding {
	var r report
	runtimes := o.Runtimes
	if runtimes == nil {
		runtimes = n.Runtimes()
	}
	for _, runtime := range runtimes {
		switch runtime {
		case Containerd16, Containerd17, Containerd2:
			n.lintContainerd(&r, runtime)
		case K3s:
			n.lintK3s(&r)
		case CRIO, Podman:
			n.lintRegistriesConf(&r, runtime)
		case Docker:
			n.lintDocker(&r)
		}
		for _, key := range o.Registries {
			names := []string{key}
			if strings.Contains(key, "*") {
				names = n.named(runtime, key)
			}
			for _, name := range names {
				for _, s := range n.samples(runtime, name) {
					n.lintRegistry(&r, o, runtime, s)
				}
			}
		}
	}
	return r.sorted()
}

func (n *Node) lintContainerd(r *report, runtime Runtime) {
	s, broken := n.containerd.section(runtime)
	if broken != "" {
		r.add(runtime, Finding{Rule: BrokenFile, Fatal: true, Subject: containerdFile, Message: broken,
			Hint: "correct the file; containerd's log names the place"})
		return
	}
	n.lintSections(r, runtime)
	read, _ := s.folders(runtime)
	known := []string{defaultCertsDir, dockerCertsDir}
	for _, dir := range strings.Split(s.Registry.ConfigPath, ":") {
		if dir != "" && !slices.Contains(known, dir) {
			known = append(known, dir)
		}
	}
	for _, dir := range known {
		entries, err := fs.ReadDir(n.fsys, rel(dir))
		if err != nil || len(entries) == 0 {
			continue
		}
		if !slices.Contains(read, dir) {
			if dir != dockerCertsDir || runtime == Containerd2 && s.Registry.ConfigPath == "" || slices.Contains(strings.Split(s.Registry.ConfigPath, ":"), dir) {
				n.ignoredFolder(r, runtime, dir, s.Registry.ConfigPath)
			}
			continue
		}
		for _, e := range entries {
			if e.IsDir() {
				n.lintHostFolder(r, runtime, path.Join(dir, e.Name()))
			}
		}
	}
}

func (n *Node) ignoredFolder(r *report, runtime Runtime, dir, configPath string) {
	f := Finding{Rule: IgnoredFolder, Subject: dir, Message: "is not read: no mirror, authority or login in it is used",
		Hint: fmt.Sprintf("set config_path = %q in %s", dir, containerdFile)}
	switch {
	case runtime != Containerd2 && configPath == "":
		f.Message += ", because config_path is not set"
	case runtime == Containerd2 && configPath == "":
		f.Message += ", because config_path is not set, and its default is two folders, which the transfer service treats as the name of one"
	case runtime == Containerd2 && strings.Contains(configPath, ":"):
		f.Message += ", because config_path has several folders, which the transfer service treats as the name of one"
		f.Hint += ", that folder alone, or use_local_image_pull = true"
	default:
		f.Message += ", because config_path names another folder"
	}
	r.add(runtime, f)
}

// lintSections reports settings about registries under a name that the version of the file does not have.
func (n *Node) lintSections(r *report, runtime Runtime) {
	c := &n.containerd
	names := [3]string{"cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"}
	for i, s := range c.sections {
		if s == nil || s.Registry == nil {
			continue
		}
		f := Finding{Rule: IgnoredSection, Subject: containerdFile,
			Message: fmt.Sprintf("has version %d, in which the registry settings of the plugin %s are ignored", c.version, names[i])}
		switch {
		case runtime != Containerd2 && i == c.version-1:
			continue
		case runtime != Containerd2:
			f.Hint = "move them to the plugin " + names[c.version-1]
		case i == 2, c.version < 3:
			continue
		case c.version == 3:
			f.Message = "has version 3, in which containerd 2.0 to 2.2 ignore the registry settings of the plugin " + names[i]
			f.Hint = "move them to the plugin " + names[2]
		default:
			f.Hint = "move them to the plugin " + names[2]
		}
		r.add(runtime, f)
	}
}

func (n *Node) lintHostFolder(r *report, runtime Runtime, dir string) {
	f := hostFolder{dir: dir}
	n.readHostFolder(runtime, &f)
	if f.broken != "" {
		r.add(runtime, Finding{Rule: BrokenFile, Fatal: true, Subject: f.file(), Message: f.broken, Hint: "make the file readable for containerd"})
		return
	}
	if f.ignored != "" {
		r.add(runtime, Finding{Rule: IgnoredFile, Subject: f.file(), Message: "is ignored as a whole, and the registry is contacted without it: " + f.ignored,
			Hint: "correct the file; containerd reads it again at the next pull"})
	}
	entries, _ := fs.ReadDir(n.fsys, rel(dir))
	n.lintCertificates(r, runtime, dir, entries, f.toml && f.ignored == "")
	usable := len(f.hosts) == 0
	for _, h := range f.hosts {
		if problem := n.checkFiles(h.cas, h.clients); problem != "" {
			r.add(runtime, Finding{Rule: MissingFile, Fatal: true, Subject: f.file(), Message: problem + ", so that every pull from this registry fails",
				Hint: "put the file there, or correct its name: a relative name is looked up in the folder of hosts.toml"})
		}
		usable = usable || h.host == "" || h.resolve && h.pull
	}
	if !usable {
		r.add(runtime, Finding{Rule: NoHost, Fatal: true, Subject: f.file(), Message: "no host in it has the capabilities pull and resolve, so that no tag can be pulled",
			Hint: `give one host capabilities = ["pull", "resolve"], or remove server`})
	}
}

// lintCertificates reports files of certificates that are not read.
func (n *Node) lintCertificates(r *report, runtime Runtime, dir string, entries []fs.DirEntry, besideTOML bool) {
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		ext := path.Ext(name)
		content, _, _ := n.read(name)
		isCertificate := strings.Contains(string(content), "-----BEGIN CERTIFICATE-----")
		switch {
		case e.IsDir() || !isCertificate:
		case besideTOML && (ext == ".crt" || ext == ".cert"):
			hosts, _, _ := n.read(dir + "/hosts.toml")
			if !strings.Contains(string(hosts), e.Name()) {
				r.add(runtime, Finding{Rule: IgnoredFile, Subject: name, Message: "is not read, because a hosts.toml is beside it that does not name it",
					Hint: "name it as ca or client in hosts.toml"})
			}
		case !besideTOML && ext != ".crt" && ext != ".cert":
			r.add(runtime, Finding{Rule: IgnoredFile, Subject: name, Message: "is not read, because of its extension",
				Hint: "name the certificates of authorities .crt, and those of clients .cert"})
		}
	}
}

func (n *Node) lintK3s(r *report) {
	c := &n.k3s
	if c.invalid != "" {
		r.add(K3s, Finding{Rule: BrokenFile, Fatal: true, Subject: c.file, Message: c.invalid, Hint: "correct the YAML"})
		return
	}
	names := make([]string, 0, len(c.Mirrors)+len(c.Configs))
	for name := range c.Mirrors {
		names = append(names, name)
	}
	for name := range c.Configs {
		if _, ok := c.Mirrors[name]; !ok {
			names = append(names, name)
			_, all := c.Mirrors["*"]
			if config := c.Configs[name]; all && name != "*" && (config.Auth != nil || config.TLS != nil) && !c.isEndpoint(name) {
				r.add(K3s, Finding{Rule: IgnoredSection, Subject: c.file,
					Message: fmt.Sprintf(`the mirrors of "*" are not used for %s, because it is in configs`, shown(name)),
					Hint:    "add mirrors for " + shown(name) + ", if its images are to come from them"})
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		hosts, err := c.hosts(name)
		if err != nil {
			r.add(K3s, Finding{Rule: BrokenFile, Fatal: true, Subject: c.file, Message: err.Error(), Hint: "correct the rewrite"})
			continue
		}
		for _, h := range hosts {
			if problem := n.checkFiles(h.cas, h.clients); problem != "" {
				r.add(K3s, Finding{Rule: MissingFile, Fatal: true, Subject: c.file, Message: problem + ", so that every pull from " + shown(name) + " fails",
					Hint: "put the file there, or correct its name"})
			}
		}
	}
}

// isEndpoint reports whether the host is the endpoint of a mirror.
func (c *k3sConfig) isEndpoint(host string) bool {
	for _, m := range c.Mirrors {
		for _, e := range m.Endpoints {
			if h, name, err := k3sEndpoint(e); err == nil && (h.host == host || name == host) {
				return true
			}
		}
	}
	return false
}

func (n *Node) lintRegistriesConf(r *report, runtime Runtime) {
	c := &n.registries
	if c.invalid != "" {
		r.add(runtime, Finding{Rule: BrokenFile, Fatal: true, Subject: c.file, Message: c.invalid + ", with which every pull fails", Hint: "correct the file"})
	}
	for _, name := range c.ignored {
		r.add(runtime, Finding{Rule: IgnoredFile, Subject: name, Message: "is not read, because its name does not end in .conf", Hint: "rename or remove it"})
	}
	n.lintCertificateFolders(r, runtime, "/etc/containers/certs.d", dockerCertsDir)
}

// lintCertificateFolders reports mistakes in folders of certificates.
func (n *Node) lintCertificateFolders(r *report, runtime Runtime, roots ...string) {
	for _, root := range roots {
		hosts, _ := fs.ReadDir(n.fsys, rel(root))
		for _, host := range hosts {
			dir := path.Join(root, host.Name())
			entries, err := fs.ReadDir(n.fsys, rel(dir))
			if err != nil {
				continue
			}
			var hop Hop
			if problem := n.addCertificates(&hop, host.Name(), root); problem != "" && strings.Contains(problem, dir+"/") {
				r.add(runtime, Finding{Rule: MissingFile, Fatal: true, Subject: dir, Message: problem + ", so that every request to this host fails",
					Hint: "name the certificates of authorities .crt, and put a .key beside each .cert"})
			}
			n.lintCertificates(r, runtime, dir, entries, false)
		}
	}
}

// A sample is an example of the images of a registry.
type sample struct {
	name  string // Of the registry, or of a part of it that the files treat in another way.
	image registry.Image
}

// named returns the registries in the files of the runtime that a key with stars matches, as a kubelet matches it: a
// star matches letters of one part of the host.
func (n *Node) named(runtime Runtime, key string) []string {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		key = rest
	}
	pattern, below, _ := strings.Cut(key, "/")
	labels := strings.Split(pattern, ".")
	var names []string
	for _, host := range n.registryNames(runtime) {
		parts := strings.Split(host, ".")
		matches := len(parts) == len(labels)
		for i := 0; matches && i < len(parts); i++ {
			matches, _ = path.Match(labels[i], parts[i])
		}
		if name := strings.TrimSuffix(host+"/"+below, "/"); matches && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// registryNames returns the hosts of the registries that the files of the runtime name.
func (n *Node) registryNames(runtime Runtime) []string {
	var names []string
	switch runtime {
	case K3s:
		names = slices.Concat(slices.Collect(maps.Keys(n.k3s.Mirrors)), slices.Collect(maps.Keys(n.k3s.Configs)))
	case CRIO, Podman:
		for _, t := range n.registries.registries {
			host, _, _ := strings.Cut(t.Prefix, "/")
			names = append(names, host)
		}
	case Docker:
		names = []string{"docker.io"}
	default:
		s, _ := n.containerd.section(runtime)
		names = slices.Concat(slices.Collect(maps.Keys(s.Registry.Mirrors)), slices.Collect(maps.Keys(s.Registry.Configs)))
		folders, _ := s.folders(runtime)
		for _, dir := range folders {
			entries, _ := fs.ReadDir(n.fsys, rel(dir))
			for _, e := range entries {
				name := e.Name()
				if inner, ok := strings.CutSuffix(name, "_"); ok { // HOST_PORT_
					if i := strings.LastIndexByte(inner, '_'); i > 0 {
						name = inner[:i] + ":" + inner[i+1:]
					}
				}
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// samples returns images of a registry, one for each part that the files treat in another way.
func (n *Node) samples(runtime Runtime, name string) []sample {
	e, err := registry.ParseEndpoint(name)
	if err != nil {
		return nil
	}
	shownName := strings.TrimSuffix(e.Host+"/"+e.Path, "/")
	repository := path.Join(e.Path, "app")
	if e.Host == "docker.io" && e.Path == "" {
		repository = "library/app"
	}
	all := []sample{{shownName, registry.Image{Host: e.Host, Repository: repository, Tag: "latest"}}}
	if runtime != CRIO && runtime != Podman {
		return all
	}
	for _, t := range n.registries.registries {
		if below, ok := strings.CutPrefix(t.Prefix, shownName+"/"); ok && below != "" {
			all = append(all, sample{t.Prefix, registry.Image{Host: e.Host, Repository: path.Join(strings.TrimPrefix(t.Prefix, e.Host+"/"), "app"), Tag: "latest"}})
		}
	}
	return all
}

// lintRegistry reports where the password of a pull secret for the registry goes, and where it cannot help.
func (n *Node) lintRegistry(r *report, o LintOptions, runtime Runtime, s sample) {
	with, without := n.Route(runtime, s.image, true), n.Route(runtime, s.image, false)
	add := func(f Finding) {
		f.Subject = s.name
		r.add(runtime, f)
	}
	if with.Broken != "" {
		if !slices.ContainsFunc(r.findings, func(f Finding) bool {
			return f.Fatal && (f.Message == with.Broken || strings.HasPrefix(f.Message, with.Broken+",")) && slices.Contains(f.Runtimes, runtime)
		}) {
			add(Finding{Rule: NoHost, Fatal: true, Message: "every pull fails: " + with.Broken, Hint: "correct " + with.File})
		}
		return
	}
	ownHost := slices.ContainsFunc(with.Hops, func(h Hop) bool { return !h.Mirror })
	secretUsed := slices.ContainsFunc(with.Hops, func(h Hop) bool { return h.Login == SecretLogin })
	isContainerd := runtime != CRIO && runtime != Podman
	for i, h := range with.Hops {
		gets := h.Login == SecretLogin
		if gets && h.Mirror && !trusted(o.Trusted, h.Host) && !validate.SameSite(hostname(apiHost(s.image.Host)), hostname(h.Host)) {
			add(Finding{Rule: ThirdParty, Message: "the password of a pull secret for it is sent to " + h.Host + ", which belongs to another site, if that host requires a login, and to any token server that it names",
				Hint: "use a mirror of your own, list it as trusted, or give nodes with this mirror no pull secret for this registry"})
		}
		if gets && (h.SkipVerify || h.Scheme == "http" || h.HTTPFallback) && !isLoopback(h.Host) {
			add(Finding{Rule: Unverified, Message: "the password of a pull secret for it is sent to " + h.Host + " without a verified certificate, so that anyone on the network path can read it",
				Hint: "give the host a certificate, and name its authority as ca in place of skip_verify, insecure or http"})
		}
		if gets && i < len(without.Hops) && without.Hops[i].Login == NodeLogin { // Files may change between two routes.
			f := Finding{Rule: NodeLoginUnused, Fatal: !ownHost, Message: "a pull secret for it replaces the node's own login at " + h.Host,
				Hint: "inject no pull secret for it where nodes have this login, or one with the login of " + h.Host + " under the key " + s.name}
			if ownHost {
				f.Message += "; the registry itself is contacted next, which must be reachable"
			}
			add(f)
		}
		if !isContainerd && h.Mirror && h.Login == NoLogin {
			f := Finding{Rule: NoLoginAtMirror, Fatal: !secretUsed, Message: "no pull secret can log in at " + h.Host + ": its login is for the host in the image's name only",
				Hint: "put the login of " + h.Host + " into the node's own file (global_auth_file of CRI-O, auth.json), or let the mirror serve without a login"}
			add(f)
		}
	}
	if isContainerd && !ownHost {
		add(Finding{Rule: RegistryReplaced, Message: "it is never contacted: " + with.File + " names other hosts only, which must accept the login of a pull secret for it",
			Hint: "check the pull secret at " + with.Hops[0].Host + ", or add the registry itself as a [host] or endpoint"})
	}
}

// hostname returns a host without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}
