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
	// Account is who did it, by the name that was given: for a login that was refused, whatever was typed there. Empty
	// means nobody that is known.
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
	// Path has no query, for a query can hold what is not meant for logs.
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
	if len(account) > maxLoggedName {
		account = account[:maxLoggedName]
	}
	r.event(Event{Kind: EventLogin, Account: account, Client: r.client(req), Err: err})
}

// maxLoggedName keeps those who guess from filling logs. It is longer than any account's name.
const maxLoggedName = 100

// client returns the address of who sent the request: that of the connection, or what the last proxy that is trusted
// saw.
func (r *Registry) client(req *http.Request) string {
	addr := req.RemoteAddr
	if len(r.config.TrustedProxies) == 0 {
		return addr
	}
	forwarded := strings.Split(strings.Join(req.Header["X-Forwarded-For"], ","), ",")
	for i := len(forwarded) - 1; i >= 0 && r.trusted(addr) && strings.TrimSpace(forwarded[i]) != ""; i-- {
		addr = strings.TrimSpace(forwarded[i])
	}
	return addr
}

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
