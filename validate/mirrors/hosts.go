package mirrors

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/regcred/regcred/credentials"
)

// A host is one host of a folder below certs.d.
type host struct {
	scheme, host, path string
	fallback           bool // https first, then http.
	resolve, pull      bool
	cas                []string
	clients            [][2]string
	verify             *bool // The opposite of skip_verify, nil if it is not set.
	skipVerify         bool
	header             []headerField
	rewrite            func(repository string) string // k3s; nil for none.
}

// A headerField is one value of a header, which may be a login.
type headerField struct {
	name  string
	value credentials.Secret
}

func (h *host) explicitTLS() bool { return h.cas != nil || h.clients != nil || h.verify != nil }

// A hostFolder is the folder that containerd uses for a registry.
type hostFolder struct {
	dir     string // Empty if there is none.
	toml    bool   // It has a hosts.toml.
	ignored string // Why hosts.toml is ignored; empty if it is not.
	broken  string // Why every pull fails.
	hosts   []host
}

func (f *hostFolder) file() string {
	if f.toml {
		return f.dir + "/hosts.toml"
	}
	return f.dir
}

// hostFolder returns the first folder for the registry and its hosts, with the registry itself as the last one unless
// the folder replaces it.
func (n *Node) hostFolder(r Runtime, roots []string, registry string) hostFolder {
	var f hostFolder
	for _, root := range roots {
		for _, name := range folderNames(registry) {
			if dir := path.Join(root, name); f.dir == "" && n.exists(dir) {
				f.dir = dir
			}
		}
	}
	if f.dir != "" {
		n.readHostFolder(r, &f)
	}
	if f.broken != "" {
		return f
	}
	if f.hosts == nil {
		f.hosts = make([]host, 1)
	}
	if last := &f.hosts[len(f.hosts)-1]; last.host == "" {
		last.setOrigin(registry)
	}
	for i := range f.hosts {
		h := &f.hosts[i]
		h.skipVerify = h.verify != nil && !*h.verify
		if f.broken = n.checkFiles(h.cas, h.clients); f.broken != "" {
			return f
		}
		if _, port, _ := net.SplitHostPort(h.host); h.scheme == "http" && h.explicitTLS() && port != "80" {
			h.scheme, h.fallback = "https", true
		}
	}
	return f
}

// folderNames returns the names of the folders for a registry, in the order in which containerd looks for them.
func folderNames(registry string) []string {
	names := []string{registry, "_default"}
	if i := strings.LastIndex(registry, ":"); i > 0 {
		names = append([]string{registry[:i] + "_" + registry[i+1:] + "_"}, names...)
	}
	return names
}

// setOrigin completes a host without a name of its own: the registry itself.
func (h *host) setOrigin(registry string) {
	h.host, h.scheme, h.path, h.resolve, h.pull = apiHost(registry), "https", "/v2", true, true
	if !isLoopback(registry) {
		return
	}
	_, port, _ := net.SplitHostPort(registry)
	if port != "" && port != "443" {
		h.scheme = "http"
	}
	if port != "80" {
		verify := false
		h.verify = &verify
	}
}

func (n *Node) readHostFolder(r Runtime, f *hostFolder) {
	content, ok, err := n.read(f.dir + "/hosts.toml")
	switch {
	case err != nil:
		f.toml, f.broken = true, fmt.Sprintf("%s/hosts.toml cannot be read: %s", f.dir, oneLine(err))
		return
	case ok && len(content) > 0:
		f.toml = true
		hosts, err := parseHosts(r, f.dir, content)
		switch {
		case errors.Is(err, errTooMany):
			f.broken = fmt.Sprintf("%s/hosts.toml has %s", f.dir, oneLine(err))
			return
		case err == nil:
			f.hosts = hosts
			return
		}
		f.ignored = oneLine(err)
	}
	// Without a valid hosts.toml, the folder is read like one of docker's, with files of certificates.
	entries, err := fs.ReadDir(n.fsys, rel(f.dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.broken = fmt.Sprintf("%s cannot be read: %s", f.dir, oneLine(err))
		return
	}
	f.hosts = make([]host, 1)
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		name := path.Join(f.dir, e.Name())
		switch path.Ext(name) {
		case ".crt":
			f.hosts[0].cas = append(f.hosts[0].cas, name)
		case ".cert":
			pair := [2]string{name}
			if key := strings.TrimSuffix(name, ".cert") + ".key"; n.exists(key) {
				pair[1] = key
			}
			f.hosts[0].clients = append(f.hosts[0].clients, pair)
		}
	}
}

// A hostSection is a [host."..."] of hosts.toml, or its top level.
type hostSection struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
}

// maxHosts and maxFilesOfHost bound what a hostile folder of a host can make this program read. They are far above what
// nodes have. The runtimes have no such limits.
const (
	maxHosts       = 1000
	maxFilesOfHost = 1000
)

var errTooMany = fmt.Errorf("%s: over %d hosts", beyondLimits, maxHosts)

// parseHosts reads a hosts.toml by the rules of containerd (core/remotes/docker/config/hosts.go). After an error,
// containerd ignores the whole file.
func parseHosts(r Runtime, dir string, content []byte) ([]host, error) {
	var file struct {
		hostSection
		Server string                 `toml:"server"`
		Host   map[string]hostSection `toml:"host"`
	}
	order := tables(content)
	if err := toml.Unmarshal(content, &file); err != nil {
		return nil, err
	}
	if file.Host == nil && r == Containerd16 {
		return nil, errors.New("there is no [host] in it, without which containerd 1.6 ignores the file")
	}
	if r == Containerd16 || r == Containerd17 {
		order = unique(order)
	}
	if len(order) > maxHosts {
		return nil, errTooMany
	}
	var hosts []host
	for _, name := range order {
		h, err := parseHost(r, name, dir, file.Host[name])
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	own, err := parseHost(r, file.Server, dir, file.hostSection)
	if err != nil {
		return nil, err
	}
	return append(hosts, own), nil
}

// tables returns the names of the hosts in the order of their tables. containerd 2 lists a host again if another one
// is between two of its tables, and does not see a host without a table of its own.
func tables(content []byte) []string {
	var p unstable.Parser
	p.Reset(content)
	var order []string
	last := ""
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.Table {
			continue
		}
		var parts []string
		for it := e.Key(); it.Next(); {
			parts = append(parts, string(it.Node().Data))
		}
		if len(parts) >= 2 && parts[0] == "host" && parts[1] != last {
			last = parts[1]
			order = append(order, last)
		}
	}
	return order
}

func unique(list []string) []string {
	seen := make(map[string]bool)
	var all []string
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			all = append(all, s)
		}
	}
	return all
}

func parseHost(r Runtime, name, dir string, s hostSection) (host, error) {
	h := host{resolve: true, pull: true}
	if name != "" {
		if !strings.HasPrefix(name, "http") {
			name = "https://" + name
		}
		u, err := url.Parse(name)
		if err != nil {
			return h, fmt.Errorf("the host %q is not a URL", shown(name))
		}
		h.scheme, h.host, h.path = u.Scheme, u.Host, u.Path
		if h.path != "" {
			h.path = path.Clean(h.path)
		}
		if !s.OverridePath && !strings.HasSuffix(h.path, "/v2") {
			h.path += "/v2"
		}
	}
	if s.SkipVerify != nil {
		verify := !*s.SkipVerify
		h.verify = &verify
	}
	if len(s.Capabilities) > 0 {
		h.resolve, h.pull = false, false
		for _, c := range s.Capabilities {
			switch c = strings.ToLower(c); {
			case c == "pull":
				h.pull = true
			case c == "resolve":
				h.resolve = true
			case c == "push", c == "referrers" && r == Containerd2:
			default:
				return h, fmt.Errorf("the capability %q is unknown", shown(c))
			}
		}
	}
	var err error
	if h.cas, err = paths(s.CA, dir); err != nil {
		return h, fmt.Errorf("ca is neither a text nor a list of texts")
	}
	if h.clients, err = pairs(s.Client, dir); err != nil {
		return h, fmt.Errorf("client is not a list of pairs of files")
	}
	for name, value := range s.Header {
		values, err := texts(value)
		if err != nil {
			return h, fmt.Errorf("the header %q is neither a text nor a list of texts", shown(name))
		}
		for _, v := range values {
			h.header = append(h.header, headerField{http.CanonicalHeaderKey(name), credentials.NewSecret(v)})
		}
	}
	if s.DialTimeout != "" && r == Containerd2 {
		if _, err := time.ParseDuration(s.DialTimeout); err != nil {
			return h, fmt.Errorf("dial_timeout %q is not a duration", shown(s.DialTimeout))
		}
	}
	return h, nil
}

var errType = errors.New("another type is expected")

// texts returns the texts of a TOML value that is a text or a list of texts.
func texts(value any) ([]string, error) {
	switch v := value.(type) {
	case string:
		return []string{v}, nil
	case []any:
		all := make([]string, len(v))
		for i, one := range v {
			text, ok := one.(string)
			if !ok {
				return nil, errType
			}
			all[i] = text
		}
		return all, nil
	}
	return nil, errType
}

func paths(value any, dir string) ([]string, error) {
	if value == nil {
		return nil, nil
	}
	all, err := texts(value)
	for i := range all {
		all[i] = absolute(all[i], dir)
	}
	return all, err
}

func absolute(name, dir string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join(dir, name)
}

// pairs returns the client certificates: one file, files, or pairs of files.
func pairs(value any, dir string) ([][2]string, error) {
	var all [][2]string
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		return [][2]string{{absolute(v, dir)}}, nil
	case []any:
		for _, one := range v {
			if name, ok := one.(string); ok {
				all = append(all, [2]string{absolute(name, dir)})
				continue
			}
			names, err := texts(one)
			if err != nil || len(names) != 2 {
				return nil, errType
			}
			all = append(all, [2]string{absolute(names[0], dir), absolute(names[1], dir)})
		}
		return all, nil
	}
	return nil, errType
}

// checkFiles returns the reason why containerd cannot load the certificates, so that every pull fails; empty if there
// is none. Files outside of the copy of the node are not checked.
func (n *Node) checkFiles(cas []string, clients [][2]string) string {
	load := func(name string) (content []byte, skip bool, problem string) {
		content, ok, err := n.read(name)
		switch {
		case err != nil:
			return nil, false, name + " cannot be read: " + oneLine(err)
		case !ok && n.notCopied(name):
			return nil, true, ""
		case !ok:
			return nil, false, "the file " + name + " does not exist"
		}
		return content, false, ""
	}
	if len(cas)+len(clients) > maxFilesOfHost {
		return fmt.Sprintf("%s: a host has over %d files of certificates", beyondLimits, maxFilesOfHost)
	}
	for _, name := range cas {
		content, skip, problem := load(name)
		switch {
		case problem != "":
			return problem
		case !skip && !x509.NewCertPool().AppendCertsFromPEM(content):
			return "the file " + name + " has no certificate in PEM"
		}
	}
	for _, pair := range clients {
		cert, skip, problem := load(pair[0])
		key := cert
		if problem == "" && !skip && pair[1] != "" {
			key, skip, problem = load(pair[1])
		}
		if problem != "" {
			return problem
		}
		if _, err := tls.X509KeyPair(cert, key); !skip && err != nil {
			return "the files of the client certificate " + pair[0] + " are not a certificate and its key"
		}
	}
	return ""
}

// oneLine returns the text of an error in one line.
func oneLine(err error) string { return shown(err.Error()) }

// shown returns text from a file, bounded and in one line. It leaves out what is before an @, which may be a login.
func shown(text string) string {
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		text = "..." + text[i:]
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "..."
	}
	return text
}
