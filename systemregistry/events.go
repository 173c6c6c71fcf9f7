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

// An Event is an entry for an audit log. It holds no secret.
type Event struct {
	Time time.Time
	Kind EventKind
	// Account is the account that acted. For a rejected login, it is the given name if an account can have that name,
	// and "(not a name)" otherwise. It is empty if the client has no known account.
	Account string
	// Client is the address of the client. It is empty if the registry itself acted.
	Client string
	// Subject is the object of the action: an account, "repository:tag" or "repository@digest". It is empty for a
	// login.
	Subject string
	// Err is the reason why the action was rejected or failed. It is nil if the action succeeded.
	Err error
}

// An EventKind is the kind of an [Event].
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

// A Request describes an HTTP request that the registry has answered.
type Request struct {
	// Time is the start of the request. Duration is the time from then until the last byte of the response was written.
	Time     time.Time
	Duration time.Duration
	Method   string
	// Path is the escaped path of the URL, without the query, because a query can hold data that does not belong in
	// logs.
	Path   string
	Status int
	// Sent is the number of body bytes in the response.
	Sent int64
	// Account is the account that sent the request. It is empty if the client is anonymous or unknown.
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

// loggedIn reports a login to the metrics and hooks.
func (r *Registry) loggedIn(req *http.Request, account string, err error) {
	r.metrics.login(err)
	if err != nil && !accounts.ValidName(account) {
		account = invalidName
	}
	r.event(Event{Kind: EventLogin, Account: account, Client: r.client(req), Err: err})
}

// invalidName replaces, in logs, a name that no account can have: a password that was typed into the wrong field, or a
// line that imitates another event.
const invalidName = "(not a name)"

// client returns the client's address: the remote address of the connection, or the address that the last trusted proxy
// reported.
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
				break // A client can forge the entries before this one.
			}
		}
		addr = before
	}
	return addr
}

var errUntrustedProxy = errors.New("a request was forwarded by a proxy, and Server.TrustedProxies is empty: " +
	"if you have a proxy, set it; otherwise all clients behind the proxy share one allowance of wrong passwords")

func (r *Registry) trusted(addr string) bool {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		addr = ap.Addr().String()
	}
	ip, err := netip.ParseAddr(addr)
	return err == nil && slices.ContainsFunc(r.config.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) })
}

// baseURL returns the URL at which the client reaches this server.
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

// loginResult returns the label of a login in the metrics.
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
