package systemregistry

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/systemregistry/accounts"
)

// An Event is something worth a line in an audit log. It holds no secret.
type Event struct {
	Time time.Time
	Kind EventKind
	// Account is who did it. For a login that was refused, it is the name that was given, if it can be the name of an
	// account at all, and "(not a name)" otherwise. Empty means nobody that is known.
	Account string
	// Client is the address of who did it. Empty means the registry itself.
	Client string
	// Subject is what it was done to: an account, "repository:tag" or "repository@digest". Empty for a login.
	Subject string
	// Err is why it was refused, or failed. Nil means that it was done.
	Err error
}

// An EventKind says what was done.
type EventKind string

// The kinds of events.
const (
	EventLogin         EventKind = "login"
	EventPush          EventKind = "push"
	EventDelete        EventKind = "delete"
	EventCollect       EventKind = "collect"
	EventAccountCreate EventKind = "account create"
	EventAccountChange EventKind = "account change"
	EventAccountDelete EventKind = "account delete"
)

// A Request is a request that was answered.
type Request struct {
	// Time is when it began, and Duration how long it took until the last byte was handed over.
	Time     time.Time
	Duration time.Duration
	Method   string
	// Path has no query, because a query can hold what is not meant for logs. It is escaped as in a URL.
	Path   string
	Status int
	// Sent is how many bytes of body were sent.
	Sent int64
	// Account is who sent it. Empty means anybody, or nobody that is known.
	Account string
	Client  string
}

func (r *Registry) event(e Event) {
	if r.config.OnEvent == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	r.config.OnEvent(e)
}

// loggedIn is told of each login.
func (r *Registry) loggedIn(req *http.Request, account string, err error) {
	r.metrics.login(err)
	if err != nil && !accounts.ValidName(account) {
		account = invalidName
	}
	r.event(Event{Kind: EventLogin, Account: account, Client: r.client(req), Err: err})
}

// invalidName is logged in place of what can be no name, such as a password in the wrong field, or a line that looks like
// another event.
const invalidName = "(not a name)"

// client returns the address of who sent the request: that of the connection, or what the last proxy that is trusted
// saw.
func (r *Registry) client(req *http.Request) string {
	addr := req.RemoteAddr
	header := req.Header["X-Forwarded-For"]
	if len(r.config.TrustedProxies) == 0 {
		if len(header) > 0 || len(req.Header["Forwarded"]) > 0 {
			r.warnProxy.Do(func() { r.config.failed(errUntrustedProxy) })
		}
		return addr
	}
	forwarded := strings.Split(strings.Join(header, ","), ",")
	for i := len(forwarded) - 1; i >= 0 && r.trusted(addr); i-- {
		before := strings.TrimSpace(forwarded[i])
		if _, err := netip.ParseAddr(before); err != nil {
			if _, err := netip.ParseAddrPort(before); err != nil {
				break // A client can write anything there.
			}
		}
		addr = before
	}
	return addr
}

var errUntrustedProxy = errors.New("a request says that a proxy forwarded it, and Server.TrustedProxies is empty: " +
	"if there is a proxy, set it, because all clients behind it share one allowance of wrong passwords otherwise")

func (r *Registry) trusted(addr string) bool {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		addr = ap.Addr().String()
	}
	ip, err := netip.ParseAddr(addr)
	return err == nil && slices.ContainsFunc(r.config.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) })
}

// baseURL returns how the client reaches this server.
func (r *Registry) baseURL(req *http.Request) string {
	switch {
	case r.config.URL != "":
		return strings.TrimSuffix(r.config.URL, "/")
	case req.TLS != nil:
		return "https://" + req.Host
	default:
		return "http://" + req.Host
	}
}

// loginResult is the label of a login in the metrics.
func loginResult(err error) string {
	switch {
	case err == nil:
		return "accepted"
	case errors.Is(err, accounts.ErrWrongLogin):
		return "refused"
	default:
		return "not checked"
	}
}
