package validate

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/registry"
)

// A Checker checks with registries whether logins work and images can be pulled. The zero Checker is ready to use. Set
// the fields before the first use; after that it is safe for concurrent use, and must not be copied. If a function of
// the program panics, such as Progress or a Source, the check fails with [registry.ErrProvider].
//
// Data from a registry is not trusted: responses, headers, redirects and time are limited. A login is sent only to its
// own registry and to the token server that the registry names, if that registry may name it; see [Checker.Realms].
type Checker struct {
	// Platforms are the platforms of the nodes. An image that lacks one of them fails with [registry.ErrPlatformNotFound].
	// If nil, an image of any platform passes. A check for platforms reads the manifest, which Docker Hub counts as a
	// pull.
	Platforms []Platform

	// Runtimes are the container runtimes of the nodes. An image must pull on each of them. If nil, it must pull on
	// [Containerd], and a warning names the other runtimes that would behave differently, as far as the responses show.
	Runtimes []Runtime

	// Deep checks that the config and every layer of the image can be read too, with one HEAD request for each, because in
	// some registries the right to read a manifest does not include its layers. Of an index, the images for Platforms are
	// checked; if Platforms is nil, all images are checked.
	Deep bool

	// Concurrency is the maximum number of concurrent requests of one call. Zero means 32.
	Concurrency int
	// PerRegistry is the maximum number of concurrent requests, and of connections, to one registry in all calls together.
	// Further requests wait. Zero means 16.
	PerRegistry int

	// Timeout limits one request, from the connection to the last byte of the response. Zero means 30 seconds. The number
	// of requests for one image is limited as well; the caller's context limits the whole call.
	Timeout time.Duration
	// MaxWait is the longest time that a check waits when a registry sends Retry-After. If the registry requests a longer
	// wait, the check fails with [registry.ErrRateLimited] at once. Zero means 10 seconds. A negative value means that a
	// check never waits.
	MaxWait time.Duration

	// CacheFor is the time for which later calls use the results of earlier ones: the registry's authentication
	// challenge, its tokens, and the verdict on an image by its digest. Tags are always requested again. Zero means that
	// calls share nothing.
	CacheFor time.Duration

	// Realms are hosts of token servers that may receive a registry's login although nothing else connects them with the
	// registry: neither the same host, nor the same site, nor a known pair such as registry.redhat.io and sso.redhat.com.
	// If the registry redirects a request to one of these hosts, and the host sends a Basic challenge, the login is sent
	// to it as the runtime would do. Other hosts that the registry redirects to do not receive the login.
	//
	// A token server or a storage host that is in Realms may have a private address, even if the registry has none. A name
	// may start with "*." for all hosts below it. Nil means none.
	Realms []string

	// Egress decides which servers may be connected to, for candidates whose transport has no policy of its own. Set it
	// where profiles or images come from untrusted users. If nil, they are trusted.
	Egress *egress.Policy

	// Progress is called after each image of [Checker.Images], never concurrently. If nil, it is not called.
	Progress func(Progress)

	// UserAgent is the User-Agent header that registries receive. Empty means "regcred".
	UserAgent string

	// Transports keeps the connections, and has a limit of its own for their number. If nil, the Checker keeps at most
	// PerRegistry connections to a registry.
	Transports *registry.Transports
	// RoundTripper sends all requests in place of Transports, for tests and for instrumentation. Of [Candidate.Transport],
	// only PlainHTTP and Egress then apply. Egress then checks the URL alone, because the RoundTripper makes the
	// connections. Nil means none.
	RoundTripper http.RoundTripper

	hostSlots hostSlots
	mu        sync.Mutex
	own       *registry.Transports         // Used if Transports is nil.
	guarded   map[guardKey]*http.Transport // Copies that reject addresses which a registry may not name.
	current   *session                     // Kept for CacheFor.
}

// A Candidate is a credential that may pull from a registry, and the transport to that registry.
type Candidate struct {
	// Name identifies the candidate in the evidence, such as the name of a profile or the key of a pull secret.
	Name string

	// Source returns the credential. It is called once for all images that share it. Sources that Go cannot compare, such
	// as functions, are shared only by requests with the same slice of candidates. Nil means anonymous.
	Source credentials.Source

	// OnRejected, if not nil, is called with each credential that the registry rejects, so that a cache can drop it. Source
	// is then called once more, and a credential that differs is tried too. If nil, a rejection is final.
	OnRejected func(credentials.Credential)

	// Transport configures the connections to the registry. The zero Transport is the default one.
	Transport registry.TransportConfig
}

// A Request is an image to check, and the candidates in the order in which they are tried; see [Checker.Image].
type Request struct {
	Image registry.Image
	// Candidates may be shared by many requests, and must not change while they are checked. None means anonymous.
	Candidates []Candidate
}

// A Progress reports how many images [Checker.Images] has checked.
type Progress struct {
	// Done of Total images have been checked.
	Done, Total int
	// Result is the result of the latest image.
	Result Result
}

const (
	defaultConcurrency = 32
	defaultPerRegistry = 16
	defaultTimeout     = 30 * time.Second
	defaultMaxWait     = 10 * time.Second
)

func (c *Checker) concurrency() int {
	return option.OrDefault(c.Concurrency, defaultConcurrency)
}

func (c *Checker) perRegistry() int {
	return min(option.OrDefault(c.PerRegistry, defaultPerRegistry), c.concurrency())
}

func (c *Checker) runtimes() ([]*runtimeRules, *registry.Error) {
	if len(c.Runtimes) == 0 {
		return []*runtimeRules{Containerd.rules()}, nil
	}
	var all []*runtimeRules
	for _, r := range c.Runtimes {
		rules := r.rules()
		if rules == nil {
			return nil, errorf(registry.ErrInvalid, "the runtime %q is not one of containerd, CRI-O and Docker", string(r))
		}
		if !slices.Contains(all, rules) {
			all = append(all, rules)
		}
	}
	return all, nil
}

func (c *Checker) timeout() time.Duration {
	return option.OrDefault(c.Timeout, defaultTimeout)
}

func (c *Checker) maxWait() time.Duration {
	return option.OrOff(c.MaxWait, defaultMaxWait)
}

func (c *Checker) userAgent() string {
	if c.UserAgent != "" {
		return c.UserAgent
	}
	return "regcred"
}

// Login checks that the registry at the endpoint accepts the candidate. The error is nil if it does, or if it accepts
// every request; [Result.Warnings] then reports that. Only [Checker.Image] can check which images the login may pull.
//
// The error is a [registry.Error]. For a login that was rejected, its code is [registry.ErrUnauthorized] or
// [registry.ErrExpired].
func (c *Checker) Login(ctx context.Context, endpoint registry.Endpoint, candidate Candidate) (Result, error) {
	r := c.call().login(ctx, endpoint, &candidate)
	return r, r.Err
}

// Image checks that the image can be pulled with one of the candidates. Like a kubelet, it tries them one after the
// other until one succeeds. Without candidates it tries anonymously.
//
// The error is nil only if the image can be pulled. Otherwise it is a [registry.Error] for the candidate whose response
// shows the most about the image; [Result.Attempts] has the outcome of each candidate. If ctx ends, the code is
// [registry.ErrCanceled] and the error wraps [context.Cause].
func (c *Checker) Image(ctx context.Context, image registry.Image, candidates ...Candidate) (Result, error) {
	r := c.call().image(ctx, image, candidates)
	return r, r.Err
}

// Images checks many images concurrently, with as few requests as the registries allow: one to learn a registry's
// authentication challenge, one token for all repositories, one request for each image. If several requests have the
// same image and candidates, it is checked once.
//
// The results are in the order of the requests. The error is nil only if all images can be pulled. Otherwise it joins
// the errors of the images that cannot, one for each.
func (c *Checker) Images(ctx context.Context, requests []Request) ([]Result, error) {
	return c.call().images(ctx, requests)
}

// CloseIdleConnections closes the idle connections of the Checker. It does not close the connections of Transports,
// which belong to their owner.
func (c *Checker) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
	for _, g := range c.guarded {
		g.CloseIdleConnections()
	}
}
