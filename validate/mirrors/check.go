package mirrors

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// A Checker checks the hosts of a route as the runtime would use them: with their paths, their certificates, and the
// login that each of them would receive. The zero Checker is ready to use, and sends logins only to hosts of the
// registry's own site. Set the fields before the first use; after that it is safe for concurrent use.
//
// Requests are sent from this program and not from the node, which may have other routes and names.
type Checker struct {
	// Trusted are hosts of mirrors that may receive the pull secret, although they belong to another site; see
	// [LintOptions]. A mirror that the runtime would send the pull secret to, and that is not trusted, is not checked.
	// They are also the Realms of the [validate.Checker], and may receive the header Authorization of hosts.toml as token
	// servers.
	Trusted []string
	// NodeLogins permits to send the logins in the node's files, and the headers of hosts.toml, to their hosts. If false,
	// a host with such a login or header is not checked.
	NodeLogins bool
	// SkipVerify permits not to verify the certificate of a host that the runtime does not verify either. If false, the
	// certificates of all hosts are verified.
	SkipVerify bool
	// PlainHTTP permits to send logins over plain HTTP where the runtime would, so that anyone on the network path can
	// read them. If false, such a host is not checked, and a host that the runtime would try with TLS first is requested
	// with TLS only. Hosts that receive no login, and loopback addresses, need no permission.
	PlainHTTP bool

	// Transport configures the connections to the hosts, such as a proxy and the egress policy. The authorities and client
	// certificates of the node's files are used in addition. The zero Transport is the default one.
	Transport registry.TransportConfig
	// Platforms, Deep and Timeout have the meaning of the fields of [validate.Checker].
	Platforms []validate.Platform
	Deep      bool
	Timeout   time.Duration

	// RoundTripper sends all requests in place of connections, for tests; see [validate.Checker]. The certificates in
	// the node's files are then not used. Nil means none.
	RoundTripper http.RoundTripper
}

// A RouteResult is the result of the check of a route.
type RouteResult struct {
	Route Route
	// Pulls reports whether the runtime gets the image from one of the hosts. It is Unknown if that depends on a host
	// that was not checked, that failed temporarily, or that only this program does not trust: by its egress policy,
	// because a login would not be safe there, or by a certificate that the runtime does not verify.
	Pulls validate.Answer
	// Host is the host that the image comes from, if Pulls is Yes.
	Host string
	// Err is the reason if Pulls is not Yes: the error of the last host that was checked.
	Err error
	// Hops are the results of the hosts, in the order of Route.Hops.
	Hops []HopResult
}

// A HopResult is the result of the check of one host.
type HopResult struct {
	Hop Hop
	// Checked reports whether requests were sent. If not, Err has the reason.
	Checked bool
	// Err is nil only if the host has the image, and accepts the login that it would receive. Otherwise it is a
	// [registry.Error].
	Err error
	// Result is the evidence. For containerd, it covers all release lines, and Err only the one of the route.
	Result validate.Result
}

// Check checks each host of a route of the node. The candidates are the entries of the pull secret that a kubelet would
// try, as for [validate.Checker.Image]; they are used for hops with SecretLogin. Their transports are ignored.
//
// The error is the result's Err.
func (c *Checker) Check(ctx context.Context, n *Node, r Route, candidates ...validate.Candidate) (RouteResult, error) {
	result := RouteResult{Route: r}
	if r.Broken != "" {
		if !strings.Contains(r.Broken, beyondLimits) {
			result.Pulls = validate.No
		}
		result.Err = c.fail(r, registry.ErrInvalid, errors.New(r.Broken), "correct the files of the node: docs/mirrors.md")
		return result, result.Err
	}
	if !slices.ContainsFunc(r.Hops, func(h Hop) bool { return h.Resolves }) {
		result.Err = c.fail(r, registry.ErrInvalid, errors.New("the route has no host that is requested for the image"), "pass a route as Node.Route returned it")
		return result, result.Err
	}
	transports := &registry.Transports{}
	defer transports.CloseIdleConnections()
	d := decision{result: &result}
	for _, h := range r.Hops {
		d.add(c, r, c.hop(ctx, n, transports, r, h, candidates))
	}
	d.end()
	return result, result.Err
}

func (c *Checker) fail(r Route, code registry.Code, err error, hint string) *registry.Error {
	return &registry.Error{Op: "check mirrors", Ref: r.Image.String(), Code: code, Err: err, Hint: hint}
}

// hop checks one host.
func (c *Checker) hop(ctx context.Context, n *Node, transports *registry.Transports, r Route, h Hop, candidates []validate.Candidate) HopResult {
	result := HopResult{Hop: h}
	image := registry.Image{Host: h.Host, Repository: h.Repository, Tag: r.Image.Tag, Digest: r.Image.Digest}
	if !h.Mirror {
		image.Host = r.Image.Host
	}
	if api := apiHost(strings.ToLower(image.Host)); !strings.EqualFold(api, h.Host) {
		result.Err = c.fail(r, registry.ErrInvalid, fmt.Errorf("the runtime would send requests for the API to %s, which is not its host", h.Host),
			"nothing was sent; name "+api+" in the files of the node")
		return result
	}
	own, err := c.logins(r, h, candidates)
	if err != nil {
		result.Err = err
		return result
	}
	config, problem := n.transport(c.Transport, h)
	if problem != nil {
		result.Err = c.fail(r, registry.ErrInvalid, problem, "correct the files of the node: docs/mirrors.md")
		return result
	}
	secret := h.Login != NoLogin || len(h.header) > 0
	t := &hopTransport{
		hop: h, inner: c.RoundTripper, policy: config.Egress, trusted: c.Trusted,
		plainHTTP: c.PlainHTTP || !secret, direct: config.Proxy == "" || config.Proxy == registry.Direct,
		headerToTokenServer: r.Runtime == Containerd2 || r.Runtime == K3s,
	}
	if h.Scheme == "http" && !t.mayBeRead(h.Host) {
		result.Err = c.fail(r, registry.ErrInsecure, errPlainHTTP(h.Host), plainHTTPHint)
		return result
	}
	if t.inner == nil {
		connections, err := c.connections(transports, config, h)
		if err != nil {
			result.Err = c.fail(r, registry.ErrInvalid, err, "correct the files of the node: docs/mirrors.md")
			return result
		}
		t.inner = connections
		defer connections.CloseIdleConnections()
	}
	config.PlainHTTP = h.Scheme == "http" || h.HTTPFallback && t.mayBeRead(h.Host) && t.speaksPlainHTTP(ctx, option.OrDefault(c.Timeout, defaultTimeout))
	checker := validate.Checker{
		Platforms: c.Platforms, Deep: c.Deep, Timeout: c.Timeout, Realms: c.Trusted, Egress: config.Egress,
		Runtimes: []validate.Runtime{validate.Containerd}, RoundTripper: t,
	}
	switch r.Runtime {
	case CRIO, Podman:
		checker.Runtimes = []validate.Runtime{validate.CRIO}
	case Docker:
		checker.Runtimes = []validate.Runtime{validate.Docker}
	}
	for i := range own {
		own[i].Transport = registry.TransportConfig{PlainHTTP: config.PlainHTTP, Egress: config.Egress}
	}
	result.Result, _ = checker.Image(ctx, image, own...)
	result.Err = c.verdict(r, result.Result)
	result.Checked = !t.refusedPlainHTTP() // In that case, there was no more than a TLS handshake.
	t.showPaths(&result.Result)
	return result
}

// logins returns the candidates with the login that the host would receive, or why it must not be sent.
func (c *Checker) logins(r Route, h Hop, candidates []validate.Candidate) ([]validate.Candidate, error) {
	switch {
	case h.Login == SecretLogin && h.Mirror && !trusted(c.Trusted, h.Host) && !validate.SameSite(hostname(apiHost(r.Image.Host)), hostname(h.Host)):
		return nil, c.fail(r, registry.ErrInsecure, fmt.Errorf("the runtime would send the pull secret to %s, at another site", h.Host),
			"nothing was sent; if "+h.Host+" may have the password, add it to Checker.Trusted")
	case h.Login == NodeLogin && !c.NodeLogins:
		return nil, c.fail(r, registry.ErrInvalid, fmt.Errorf("the node has a login of its own for %s", h.Host),
			"nothing was sent; set Checker.NodeLogins to use the logins in the node's files")
	case h.Header && len(h.header) == 0:
		return nil, c.fail(r, registry.ErrInvalid, fmt.Errorf("the headers for %s are missing", h.Host), "pass a route as Node.Route returned it")
	case len(h.header) > 0 && !c.NodeLogins:
		return nil, c.fail(r, registry.ErrInvalid, fmt.Errorf("hosts.toml has headers for %s, which may be logins", h.Host),
			"nothing was sent; set Checker.NodeLogins to use the headers in the node's files")
	case h.Login == SecretLogin:
		if len(candidates) == 0 {
			return nil, c.fail(r, registry.ErrInvalid, errors.New("the route is for a pull secret, and there are no candidates"),
				"pass the entries of the pull secret that match the image")
		}
		own := slices.Clone(candidates)
		for i := range own {
			if h.Mirror {
				own[i].OnRejected = nil // The login is the registry's, and still valid there.
			}
		}
		return own, nil
	case h.Login == NodeLogin:
		credential, err := h.auth.credential()
		if err != nil {
			return nil, c.fail(r, registry.ErrInvalid, err, "correct the login in the files of the node")
		}
		return []validate.Candidate{{Name: "node", Source: credentials.Static(credential)}}, nil
	}
	return make([]validate.Candidate, 1), nil // Anonymous.
}

// transport returns the configuration t for a host, with the certificates of the node's files added.
func (n *Node) transport(t registry.TransportConfig, h Hop) (registry.TransportConfig, error) {
	for _, name := range h.CAs {
		content, err := n.mustRead(name)
		if err != nil {
			return t, err
		}
		t.CABundle = strings.TrimSuffix(t.CABundle, "\n") + "\n" + string(content)
	}
	if len(h.Clients) > 0 {
		pair := h.Clients[0]
		if pair[1] == "" {
			pair[1] = pair[0]
		}
		cert, err := n.mustRead(pair[0])
		if err != nil {
			return t, err
		}
		key, err := n.mustRead(pair[1])
		if err != nil {
			return t, err
		}
		t.ClientCertificate, t.ClientKey = string(cert), credentials.NewSecret(string(key))
	}
	t.CABundle = strings.TrimPrefix(t.CABundle, "\n")
	return t, nil
}

// mustRead returns the content of a file that the runtime uses.
func (n *Node) mustRead(name string) ([]byte, error) {
	content, ok, err := n.read(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the file %s: %w", name, err)
	case !ok:
		return nil, fmt.Errorf("read the file %s: %w, and may not have been copied from the node", name, fs.ErrNotExist)
	}
	return content, nil
}

// connections returns the transport to the host. The caller closes its idle connections.
func (c *Checker) connections(transports *registry.Transports, config registry.TransportConfig, h Hop) (*http.Transport, error) {
	t, err := transports.For(config)
	if err != nil || !c.SkipVerify || !h.SkipVerify {
		return t, err
	}
	t = t.Clone()
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.TLSClientConfig.InsecureSkipVerify = true
	return t, nil
}
