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

// A Checker asks registries whether logins are good and images can be pulled. The zero Checker is ready to use. Set the
// fields before the first use; after that it is safe for concurrent use, and must not be copied.
//
// What comes from a registry is not trusted: answers, headers, redirects and time are limited, and a login is sent to
// nobody but the registry it is for, and the token server that the registry names, if that is one it can rightly name;
// see [Checker.Realms].
type Checker struct {
	// Platforms are those of the nodes: an image that lacks one of them fails with [registry.ErrPlatformNotFound]. Nil
	// means that an image of any platform will do. To know the platforms, the manifest is read, which Docker Hub counts
	// as a pull.
	Platforms []Platform

	// Runtimes are the container runtimes of the nodes: an image has to pull on each of them. If nil, it has to pull on
	// [Containerd], and a warning names the other runtimes that would behave differently, as far as the responses show.
	Runtimes []Runtime

	// Deep checks that the config and every layer of the image can be read too, by a HEAD request each: with some
	// registries the right to a manifest is not the right to its layers. Of an index, all of the wanted platforms are
	// checked; without Platforms, all there are.
	Deep bool

	// Concurrency is how many requests one call has under way at once. Zero means 32.
	Concurrency int
	// PerRegistry is how many requests all calls have under way to one registry, and over how many connections; the
	// others wait for their turn. Zero means 16.
	PerRegistry int

	// Timeout limits one request, from the connection to the last byte of the answer. Zero means 30 seconds. The number
	// of requests for one image is limited as well; the caller's context limits it all.
	Timeout time.Duration
	// MaxWait is how long a registry may make a check wait when it asks to be left alone for a while (Retry-After). If
	// it wants more, the verdict is [registry.ErrRateLimited] at once. Zero means 10 seconds, less than zero means
	// never to wait.
	MaxWait time.Duration

	// CacheFor is how long what was learned in one call is used in later ones: how a registry wants to be logged in at,
	// its tokens, and what it said of an image by its digest. A tag is always asked for. Zero means that every call
	// starts again.
	CacheFor time.Duration

	// Realms are the hosts of token servers that may be sent a registry's login though nothing else says that they
	// belong to the registry: neither the same host, nor the same site, nor a pair that is known, such as
	// registry.redhat.io and sso.redhat.com. It also allows a token server or a storage host at a private address,
	// where the registry itself is not at one. A name may start with "*." for all hosts below it. Nil means none.
	Realms []string

	// Egress decides which servers may be connected to, for candidates whose transport has no policy of its own. Set it
	// where profiles or images come from untrusted users. Nil means that they are trusted.
	Egress *egress.Policy

	// Progress is called after each image of [Checker.Images], never twice at once. Nil means that nobody wants to
	// know.
	Progress func(Progress)

	// UserAgent is how this program names itself to registries. Empty means "regcred".
	UserAgent string

	// Transports keeps the connections, and has a bound of its own for their number. Nil means that the Checker keeps
	// them itself, no more of them to a registry than PerRegistry.
	Transports *registry.Transports
	// RoundTripper carries all requests in place of Transports, for tests and for instrumentation. Of
	// [Candidate.Transport], just PlainHTTP and Egress count then; of Egress, what a URL alone tells, because the
	// RoundTripper makes the connections. Nil means none.
	RoundTripper http.RoundTripper

	hostSlots hostSlots
	mu        sync.Mutex
	own       *registry.Transports         // In place of Transports.
	guarded   map[guardKey]*http.Transport // The same ways, which refuse addresses that a registry may not name.
	current   *session                     // For CacheFor.
}

// A Candidate is a credential that may open a registry, and the way there.
type Candidate struct {
	// Name tells candidates apart in the evidence: the name of a profile, the key of a pull secret.
	Name string

	// Source hands out the credential. It is asked once for all images that have it; of sources that Go cannot compare,
	// such as functions, this is so for those that share a slice of candidates. Nil means anonymous.
	Source credentials.Source

	// Refused is told which credential the registry refused as such, so that a cache drops just that one. Then Source
	// is asked again, once, and what it hands out is tried if it is another credential. Nil means that a refusal is
	// final.
	Refused func(credentials.Credential)

	// Transport is how the registry is reached. The zero Transport is the usual way.
	Transport registry.TransportConfig
}

// A Request is an image to check, and the candidates in the order in which they are tried; see [Checker.Image].
type Request struct {
	Image registry.Image
	// Candidates may be shared by many requests, and must not change while they are checked. None means anonymous.
	Candidates []Candidate
}

// Progress is how far [Checker.Images] has come.
type Progress struct {
	// Done of Total images have been checked.
	Done, Total int
	// Result is that of the last one.
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

// runtimes returns the rules of the runtimes.
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

// Login checks that the registry at the endpoint lets the candidate in. The error is nil if it does, or if it lets
// everybody in, which [Result.Warnings] says then. What the login may pull, only [Checker.Image] can tell.
//
// The error is a [registry.Error]; [registry.ErrUnauthorized] and [registry.ErrExpired] are those of a login that was
// refused.
func (c *Checker) Login(ctx context.Context, endpoint registry.Endpoint, candidate Candidate) (Result, error) {
	r := c.call().login(ctx, endpoint, &candidate)
	return r, r.Err
}

// Image checks that the image can be pulled with one of the candidates. As a kubelet does, it tries them one after the
// other until one of them can; without candidates it tries anonymously.
//
// The error is nil only if the image can be pulled, else a [registry.Error]: what was said to the candidate that came
// farthest. [Result.Attempts] says what was said to each. If ctx ends, the code is [registry.ErrCanceled] and the error
// wraps [context.Cause].
func (c *Checker) Image(ctx context.Context, image registry.Image, candidates ...Candidate) (Result, error) {
	r := c.call().image(ctx, image, candidates)
	return r, r.Err
}

// Images checks many images side by side, with as few requests as the registries allow: one to learn how a registry
// wants to be logged in at, one token for all repositories, one request for each image. An image that is asked for
// twice with the same candidates is checked once.
//
// The results are in the order of the requests. The error is nil only if all images can be pulled; it joins the errors
// of those that cannot, one for each image.
func (c *Checker) Images(ctx context.Context, requests []Request) ([]Result, error) {
	return c.call().images(ctx, requests)
}

// CloseIdleConnections closes the connections of the Checker that are not in use. Those of Transports are for its owner
// to close.
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
