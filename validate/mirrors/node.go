package mirrors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"strings"

	"github.com/regcred/regcred/registry"
)

// A Runtime is a container runtime whose files this package reads. The release lines of containerd differ in their
// rules.
type Runtime string

// The runtimes.
const (
	Containerd16 Runtime = "containerd 1.6"
	Containerd17 Runtime = "containerd 1.7"
	// Containerd2 is containerd 2.4.
	Containerd2 Runtime = "containerd 2"
	// K3s is k3s and RKE2, which write containerd's files from registries.yaml. Their rules were read and not observed.
	K3s Runtime = "k3s"
	// CRIO is CRI-O 1.37.
	CRIO Runtime = "CRI-O"
	// Podman is podman and skopeo, run by root. The login of --creds is their pull secret.
	Podman Runtime = "podman"
	// Docker is Docker Engine with a graph driver, as behind cri-dockerd. With the containerd image store, which is the
	// default of Docker 29, the mirrors are the same, and receive no login.
	Docker Runtime = "Docker"
)

// A Node is the registry configuration of one node. Create it with [Read]. It is safe for concurrent use if its file
// system is.
type Node struct {
	fsys       fs.FS
	containerd containerdConfig
	k3s        k3sConfig
	registries registriesConf
	docker     dockerConfig
	auth       authFiles
}

// Read reads the files of a node. The root of fsys is the root of the node's file system, such as os.DirFS("/") on the
// node itself, or a folder with a copy of the node's /etc as etc. Files that are missing have the runtime's defaults.
// Mistakes in files are reported by [Node.Lint] and [Node.Route]. Read fails if fsys cannot read a file that exists, or if
// a file is larger than 4 MiB.
//
// The folders of hosts (certs.d), and the certificates that files name, are read by each call of Route and Lint, and of
// [Checker.Check]. The other files are read by Read alone.
func Read(fsys fs.FS) (*Node, error) {
	n := &Node{fsys: fsys}
	for _, read := range []func() error{n.readContainerd, n.readK3s, n.readRegistriesConf, n.readDocker, n.readAuthFiles} {
		if err := read(); err != nil {
			return nil, fmt.Errorf("read the registry configuration of a node: %w", err)
		}
	}
	return n, nil
}

// Runtimes returns the runtimes for which the node has files. It cannot distinguish the release lines of containerd,
// except that only containerd 2 reads a configuration of version 3.
func (n *Node) Runtimes() []Runtime {
	var found []Runtime
	if n.containerd.present || n.exists("/etc/containerd") {
		if n.containerd.version < 3 {
			found = append(found, Containerd16, Containerd17)
		}
		found = append(found, Containerd2)
	}
	if n.k3s.file != "" {
		found = append(found, K3s)
	}
	if n.exists("/etc/crio") || n.exists("/etc/containers") {
		found = append(found, CRIO)
	}
	if n.exists("/etc/containers") {
		found = append(found, Podman)
	}
	if n.docker.present {
		found = append(found, Docker)
	}
	return found
}

// rel returns the path in fsys of an absolute path.
func rel(name string) string {
	if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
		return "."
	}
	return name
}

func (n *Node) exists(name string) bool {
	_, err := fs.Stat(n.fsys, rel(name))
	return err == nil
}

// beyondLimits is in the messages about what only this program rejects, so that [Checker.Check] does not report a verdict.
const beyondLimits = "more than this program reads"

// maxFile is larger than any honest file of this kind.
const maxFile = 4 << 20

// read returns the content of a file; ok is false if it does not exist.
func (n *Node) read(name string) (content []byte, ok bool, err error) {
	f, err := n.fsys.Open(rel(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, err
	}
	defer f.Close()
	content, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s: the file %s has over %d bytes", beyondLimits, name, maxFile)
	}
	return content, err == nil, err
}

// notCopied reports whether fsys lacks the top folder of the file's path. The absence of the file then proves nothing
// about the node.
func (n *Node) notCopied(name string) bool {
	top, _, _ := strings.Cut(rel(name), "/")
	_, err := fs.Stat(n.fsys, top)
	return errors.Is(err, fs.ErrNotExist)
}

// A Login is the origin of a login.
type Login string

// The logins.
const (
	// NoLogin means that the host receives no login. CRI-O and podman answer a Basic challenge with an empty user name
	// and password.
	NoLogin Login = ""
	// SecretLogin is the login of the pull secret, which the kubelet passes to the runtime.
	SecretLogin Login = "pull secret"
	// NodeLogin is a login in the files of the node.
	NodeLogin Login = "node"
)

// A Hop is one host to which a runtime sends requests for an image.
type Hop struct {
	// Host is the host with its port, if there is one. Scheme is "https" or "http". Path is the root of the API: "/v2",
	// or "/v2/proxy" with override_path.
	Scheme, Host, Path string
	// HTTPFallback reports that the runtime uses plain HTTP if the host does not answer with TLS.
	HTTPFallback bool
	// Repository is the repository at this host. It differs from the image's if a prefix or a rewrite replaced a part.
	Repository string
	// Namespace is the value of the query parameter ns. Empty if the runtime sends none.
	Namespace string
	// Mirror reports that the host is not the image's own registry.
	Mirror bool

	// Resolves reports that the host is requested for the manifest of the image's tag or digest. Serves reports that it
	// is requested for the rest: manifests by digest, and layers.
	Resolves, Serves bool

	// Login is the login that the host receives if it sends a challenge. A token server that the host names receives
	// the same one.
	Login Login
	// Header reports that each request to the host has a header Authorization from hosts.toml. HeaderToTokenServer
	// reports that its token server receives the header too.
	Header, HeaderToTokenServer bool

	// SkipVerify reports that the runtime does not verify the host's certificate.
	SkipVerify bool
	// CAs are the files with authorities that the runtime trusts for this host in addition to the system's. Clients are
	// pairs of files with client certificates and keys.
	CAs     []string
	Clients [][2]string

	auth   *nodeAuth     // With NodeLogin.
	header []headerField // Of hosts.toml.
}

// Origin returns the scheme and the host: https://registry.example.com.
func (h Hop) Origin() string { return h.Scheme + "://" + h.Host }

// ManifestPath returns the path and the query of the request for the manifest of a tag or digest.
func (h Hop) ManifestPath(reference string) string {
	p := path.Join("/", h.Path, h.Repository, "manifests", reference)
	if h.Namespace != "" {
		p += "?ns=" + url.QueryEscape(h.Namespace)
	}
	return p
}

// String returns the hop in one line: https://mirror.example.com/v2/proxy/team/app?ns=ghcr.io, login: pull secret.
func (h Hop) String() string {
	var b strings.Builder
	b.WriteString(h.Origin() + path.Join("/", h.Path, h.Repository))
	if h.Namespace != "" {
		b.WriteString("?ns=" + h.Namespace)
	}
	note := func(ok bool, text string) {
		if ok {
			b.WriteString(", " + text)
		}
	}
	note(h.HTTPFallback, "or plain HTTP")
	note(h.SkipVerify, "certificate not verified")
	note(!h.Resolves, "not for this reference")
	note(h.Header, "header Authorization")
	note(h.Login == NoLogin, "no login")
	note(h.Login != NoLogin, "login: "+string(h.Login))
	return b.String()
}

// A Route describes what a runtime does for an image.
type Route struct {
	Runtime Runtime
	Image   registry.Image
	// Secret reports that the kubelet has a pull secret for the image.
	Secret bool
	// Hops are the hosts in the order in which the runtime tries them.
	//
	// containerd starts with the first host again for each request, so a layer may come from another host than the
	// manifest. CRI-O and podman try the hosts until one has the manifest, and use only that host from then on.
	Hops []Hop
	// Broken is the reason why every such pull fails before the first request; empty if there is none.
	Broken string
	// File is the file that determines the route. Empty means that the runtime's defaults do.
	File string

	skipped string // Why CRI-O skips an endpoint; of several, the last one.
}

// String returns one line for each hop, or the reason why the pull fails.
func (r Route) String() string {
	if r.Broken != "" {
		return "fails: " + r.Broken
	}
	lines := make([]string, len(r.Hops))
	for i, h := range r.Hops {
		lines[i] = h.String()
	}
	return strings.Join(lines, "\n")
}

// Route returns what the runtime does for the image. The argument secret reports whether the kubelet has a pull secret
// for the image; package pullsecret determines this from the keys of a secret. The result depends on the files only; no
// requests are sent.
func (n *Node) Route(runtime Runtime, image registry.Image, secret bool) Route {
	r := Route{Runtime: runtime, Image: image, Secret: secret}
	switch runtime {
	case Containerd16, Containerd17, Containerd2:
		n.routeContainerd(&r)
	case K3s:
		n.routeK3s(&r)
	case CRIO, Podman:
		n.routeRegistriesConf(&r)
	case Docker:
		n.routeDocker(&r)
	default:
		r.Broken = fmt.Sprintf("the runtime %q is not one of package mirrors", string(runtime))
	}
	return r
}

// apiHost returns the host that serves the API of a registry.
func apiHost(host string) string {
	if host == "docker.io" {
		return "registry-1.docker.io"
	}
	return host
}
