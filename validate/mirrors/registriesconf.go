package mirrors

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/regcred/regcred/registry"
)

const (
	registriesFile   = "/etc/containers/registries.conf"
	registriesFolder = "/etc/containers/registries.conf.d"
)

// A registriesConf is registries.conf with its drop-ins merged into it.
type registriesConf struct {
	registries []registryTable // In the order of their prefixes.
	invalid    string          // Why every pull fails.
	file       string          // The file that is invalid.
	ignored    []string        // Drop-ins without the extension .conf.
}

type registryTable struct {
	Prefix string `toml:"prefix"`
	endpoint
	Mirrors            []endpoint `toml:"mirror"`
	Blocked            bool       `toml:"blocked"`
	MirrorByDigestOnly bool       `toml:"mirror-by-digest-only"`

	file string
}

type endpoint struct {
	Location       string `toml:"location"`
	Insecure       bool   `toml:"insecure"`
	PullFromMirror string `toml:"pull-from-mirror"`
}

func (n *Node) readRegistriesConf() error {
	c := &n.registries
	names := []string{registriesFile}
	entries, err := fs.ReadDir(n.fsys, rel(registriesFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		name := path.Join(registriesFolder, e.Name())
		switch {
		case e.IsDir():
		case strings.HasSuffix(name, ".conf"):
			names = append(names, name)
		default:
			c.ignored = append(c.ignored, name)
		}
	}
	byPrefix := make(map[string]registryTable)
	for _, name := range names {
		content, ok, err := n.read(name)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		tables, err := parseRegistriesConf(content, name != registriesFile)
		if err != nil {
			c.invalid, c.file = fmt.Sprintf("%s is not valid: %s", name, oneLine(err)), name
			return nil
		}
		seen := make(map[string]bool)
		for _, t := range tables {
			if !seen[t.Prefix] { // Within a file the first counts, between files the last.
				seen[t.Prefix] = true
				t.file = name
				byPrefix[t.Prefix] = t
			}
		}
	}
	for _, t := range byPrefix {
		c.registries = append(c.registries, t)
	}
	slices.SortFunc(c.registries, func(a, b registryTable) int { return strings.Compare(a.Prefix, b.Prefix) })
	return nil
}

// parseRegistriesConf reads one file by the rules of go.podman.io/image/v5/pkg/sysregistriesv2. After an error, every
// pull fails.
func parseRegistriesConf(content []byte, dropIn bool) ([]registryTable, error) {
	type v1List struct {
		Registries []string `toml:"registries"`
	}
	var file struct {
		Registry      []registryTable `toml:"registry"`
		Search        []string        `toml:"unqualified-search-registries"`
		Helpers       []string        `toml:"credential-helpers"`
		ShortNameMode string          `toml:"short-name-mode"`
		V1            struct {
			Search   v1List `toml:"search"`
			Insecure v1List `toml:"insecure"`
			Block    v1List `toml:"block"`
		} `toml:"registries"`
	}
	if err := toml.Unmarshal(content, &file); err != nil {
		return nil, err
	}
	if v1 := file.V1; v1.Search.Registries != nil || v1.Insecure.Registries != nil || v1.Block.Registries != nil {
		switch {
		case dropIn:
			return nil, errors.New("it has the format of version 1, which drop-ins must not have")
		case file.Registry != nil || file.Search != nil || file.Helpers != nil || file.ShortNameMode != "":
			return nil, errors.New("it mixes the formats of the versions 1 and 2")
		}
		return fromV1(v1.Insecure.Registries, v1.Block.Registries), nil
	}
	switch file.ShortNameMode {
	case "", "disabled", "enforcing", "permissive":
	default:
		return nil, fmt.Errorf("short-name-mode %q is unknown", shown(file.ShortNameMode))
	}
	for i := range file.Registry {
		if err := file.Registry[i].complete(); err != nil {
			return nil, err
		}
	}
	first := make(map[string]*registryTable)
	for i := range file.Registry {
		t := &file.Registry[i]
		other := first[t.location()]
		switch {
		case other == nil:
			first[t.location()] = t
		case t.Insecure != other.Insecure || t.Blocked != other.Blocked:
			return nil, fmt.Errorf("the registry %q has two tables that differ in insecure or blocked", shown(t.location()))
		}
	}
	return file.Registry, nil
}

func (t *registryTable) location() string {
	if t.Location != "" {
		return t.Location
	}
	return t.Prefix
}

// complete checks a table and fills in its prefix.
func (t *registryTable) complete() error {
	var err error
	if t.Location, err = location(t.Location); err != nil {
		return err
	}
	if t.Prefix, err = location(t.Prefix); err != nil {
		return err
	}
	wildcard := strings.HasPrefix(t.Prefix, "*.")
	switch {
	case t.Prefix == "" && t.Location == "":
		return errors.New("a [[registry]] has neither prefix nor location")
	case t.Prefix == "":
		t.Prefix = t.Location
		wildcard = strings.HasPrefix(t.Prefix, "*.")
	case t.Location == "" && !wildcard:
		return fmt.Errorf("the [[registry]] with the prefix %q has no location", shown(t.Prefix))
	}
	switch {
	case wildcard && strings.ContainsAny(t.Prefix, "/@:"):
		return fmt.Errorf("the prefix %q has a star and more than the end of a host name", shown(t.Prefix))
	case t.PullFromMirror != "":
		return fmt.Errorf("pull-from-mirror is set outside of a mirror, for %q", shown(t.Prefix))
	}
	for i := range t.Mirrors {
		m := &t.Mirrors[i]
		if m.Location, err = location(m.Location); err != nil {
			return err
		}
		switch {
		case m.Location == "":
			return fmt.Errorf("a mirror of %q has no location", shown(t.Prefix))
		case t.MirrorByDigestOnly && m.PullFromMirror != "":
			return fmt.Errorf("mirror-by-digest-only and pull-from-mirror are both set for %q", shown(t.Prefix))
		case !slices.Contains([]string{"", "all", "digest-only", "tag-only"}, m.PullFromMirror):
			return fmt.Errorf("pull-from-mirror %q is unknown", shown(m.PullFromMirror))
		}
	}
	return nil
}

func location(text string) (string, error) {
	if strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://") {
		return "", fmt.Errorf("the location %q has a scheme", shown(text))
	}
	return strings.TrimRight(text, "/"), nil
}

// fromV1 converts the lists of the old format.
func fromV1(insecure, blocked []string) []registryTable {
	byLocation := make(map[string]*registryTable)
	var order []string
	get := func(name string) *registryTable {
		name = strings.TrimRight(name, "/")
		if byLocation[name] == nil {
			byLocation[name] = &registryTable{Prefix: name, endpoint: endpoint{Location: name}}
			order = append(order, name)
		}
		return byLocation[name]
	}
	for _, name := range blocked {
		get(name).Blocked = true
	}
	for _, name := range insecure {
		get(name).Insecure = true
	}
	all := make([]registryTable, len(order))
	for i, name := range order {
		all[i] = *byLocation[name]
	}
	return all
}

// prefixLength returns the length of the part of name that the prefix matches; negative if it does not match. A prefix
// ends at a whole part of the name, or before a port.
func prefixLength(name, prefix string) int {
	if suffix, ok := strings.CutPrefix(prefix, "*"); ok && strings.HasPrefix(suffix, ".") {
		i := strings.Index(name, suffix)
		if slash := strings.IndexByte(name, '/'); i < 0 || slash >= 0 && i > slash {
			return -1
		}
		end := i + len(suffix)
		if end == len(name) || strings.IndexByte(":/@", name[end]) >= 0 {
			return end
		}
		return -1
	}
	if !strings.HasPrefix(name, prefix) {
		return -1
	}
	if len(name) == len(prefix) || strings.IndexByte(":/@", name[len(prefix)]) >= 0 {
		return len(prefix)
	}
	return -1
}

// find returns the table with the longest prefix that matches.
func (c *registriesConf) find(name string) *registryTable {
	var best *registryTable
	for i := range c.registries {
		t := &c.registries[i]
		if prefixLength(name, t.Prefix) >= 0 && (best == nil || len(t.Prefix) > len(best.Prefix)) {
			best = t
		}
	}
	return best
}

func (n *Node) routeRegistriesConf(r *Route) {
	c := &n.registries
	if c.invalid != "" {
		r.Broken, r.File = c.invalid, c.file
		return
	}
	t := c.find(r.Image.Name())
	if t == nil {
		t = &registryTable{Prefix: r.Image.Name(), endpoint: endpoint{Location: r.Image.Name()}}
	}
	r.File = t.file
	digest := r.Image.Digest != ""
	for _, m := range t.Mirrors {
		if digest && m.PullFromMirror == "tag-only" || !digest && (m.PullFromMirror == "digest-only" || t.MirrorByDigestOnly) {
			continue
		}
		n.addEndpoint(r, t.Prefix, m)
	}
	n.addEndpoint(r, t.Prefix, t.endpoint)
	if len(r.Hops) == 0 && r.Broken == "" {
		r.Broken = r.skipped
	}
	if len(r.Hops) == 0 && r.Broken == "" {
		r.Broken = fmt.Sprintf("the registry is blocked in %s, and no mirror is used for this image", t.file)
	}
	if r.Broken != "" {
		r.Hops = nil
	}
}

// addEndpoint adds the hop of an endpoint, unless it is blocked.
func (n *Node) addEndpoint(r *Route, prefix string, e endpoint) {
	name := r.Image.Name()
	if e.Location != "" {
		name = e.Location + name[prefixLength(name, prefix):]
	}
	physical, err := registry.ParseImage(name + ":latest")
	if err != nil || physical.Name() != name {
		r.Broken = fmt.Sprintf("the prefix %q makes the name %q of %s, which is not the full name of an image", shown(prefix), shown(name), r.Image.Name())
		return
	}
	if t := n.registries.find(name); t != nil && t.Blocked {
		return
	}
	hop := Hop{
		Scheme: "https", Host: apiHost(physical.Host), Path: "/v2", Repository: physical.Repository,
		HTTPFallback: e.Insecure, SkipVerify: e.Insecure,
		Mirror: physical.Host != r.Image.Host, Resolves: true, Serves: true,
	}
	if problem := n.addCertificates(&hop, physical.Host, "/etc/containers/certs.d", dockerCertsDir); problem != "" {
		r.skipped = problem // The next endpoint is tried.
		return
	}
	if r.Secret && !hop.Mirror {
		hop.Login = SecretLogin
	} else if hop.auth = n.auth.find(r.Runtime, physical); hop.auth != nil {
		hop.Login = NodeLogin
	}
	r.Hops = append(r.Hops, hop)
}

// addCertificates adds the files of the host's folder of certificates, in the first root that has one. It returns the
// reason why requests to the host fail; empty if there is none.
func (n *Node) addCertificates(h *Hop, host string, roots ...string) string {
	for _, root := range roots {
		dir := path.Join(root, host)
		entries, err := fs.ReadDir(n.fsys, rel(dir))
		if err != nil {
			continue
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			switch path.Ext(name) {
			case ".crt":
				h.CAs = append(h.CAs, name)
			case ".cert":
				key := strings.TrimSuffix(name, ".cert") + ".key"
				if !n.exists(key) {
					return "the file " + name + " has no key beside it, " + key + "; files of authorities must end in .crt"
				}
				h.Clients = append(h.Clients, [2]string{name, key})
			case ".key":
				if cert := strings.TrimSuffix(name, ".key") + ".cert"; !n.exists(cert) {
					return "the file " + name + " has no certificate beside it, " + cert
				}
			}
		}
		return n.checkFiles(nil, h.Clients)
	}
	return ""
}
