package validate

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A basicKey identifies a login at a protection space of the registry (RFC 7617, section 2).
type basicKey struct {
	identity credentials.Fingerprint
	realm    string
	target   string // The host of the target of a redirect; empty for the registry itself.
}

// A basicLogin is the outcome of the first request with a Basic login.
type basicLogin struct {
	rejected   *response // Nil if the login was not rejected.
	validUntil time.Time
}

func (b *basicLogin) fresh() bool { return b != nil && time.Now().Before(b.validUntil) }

// do sends a request with the authorization that answers the challenge. A Basic login that the registry rejected is not
// sent again, for any image, step or runtime, because registries lock accounts after some rejected logins. So the first
// request with a login is sent alone, and the other requests wait for its response.
//
// This is limited to registries whose challenge at GET /v2/ is Basic only, with the same realm. Gitea sends a Bearer
// challenge there, and rejects a request with a valid login that lacks the right to the repository with 401 and a Basic
// challenge. The response to a request for a list does not show whether the login is valid either, so GET /v2/ is sent
// with the login before such a request.
func (a *authorizer) do(
	ctx context.Context, t *trace, ping *pingResult, c challenge, q apiRequest,
) (*response, *registry.Error) {
	q.elsewhere = a.loginElsewhere(ping)
	root, _ := find(ping.answer.challenges, schemeBasic)
	if q.auth.scheme != "Basic" || a.credential.Anonymous || !ping.answer.asksBasic() || root.params["realm"] != c.params["realm"] {
		return a.o.do(ctx, t, q)
	}
	list := q.step == StepRepositories || q.step == StepTags
	first := q
	if list {
		first = apiRequest{step: StepLogin, method: http.MethodGet, path: "/v2/", auth: q.auth}
	}
	var (
		sent bool
		ans  *response
		err  *registry.Error
	)
	b, left := a.o.basicLogin(basicKey{identity: a.identity, realm: c.params["realm"]}).get(ctx, func() *basicLogin {
		sent = true
		b := &basicLogin{validUntil: time.Now().Add(pingLife)}
		switch ans, err = a.o.do(ctx, t, first); {
		case err != nil && err.Code == registry.ErrCanceled:
			b.validUntil = time.Time{}
		case err != nil || ans.busy():
			b.validUntil = time.Now().Add(failureLife)
		case ans.asksBasic():
			b.rejected, b.validUntil = ans, time.Now().Add(minTokenLife)
		}
		return b
	})
	switch {
	case left != nil:
		return nil, canceled(ctx)
	case sent && (!list || err != nil):
		t.share(b, nil, nil) // Its exchange is in the trace.
		return ans, err
	case b.rejected == nil:
		return a.o.do(ctx, t, q)
	case sent:
		t.share(b, nil, nil)
	default:
		t.share(b, []Exchange{b.rejected.ex}, nil)
	}
	same := *b.rejected
	same.step = q.step
	return &same, nil
}

// A redirectLogin decides to which targets of redirects the login is sent. The zero redirectLogin sends it to none.
type redirectLogin struct {
	*authorizer
	// pinged is the host that answered GET /v2/ with a Basic challenge after a redirect, and pingPath the path there. Both
	// are empty unless the rule is redirectPinged.
	pinged, pingPath string
}

// loginElsewhere returns the login for targets of redirects.
func (a *authorizer) loginElsewhere(ping *pingResult) redirectLogin {
	switch pinged := ping.answer.asksBasic() && ping.answer.host != a.o.base.Hostname(); {
	case a.credential.Anonymous || a.rules.redirects == redirectNever:
		return redirectLogin{}
	case a.rules.redirects == redirectAsked:
		return redirectLogin{authorizer: a}
	case !pinged:
		return redirectLogin{}
	}
	return redirectLogin{a, ping.answer.host, ping.answer.path}
}

// mayLogInAt reports whether the runtime may send the login to the target of a redirect, and the check too.
func (l redirectLogin) mayLogInAt(u *url.URL) bool {
	if l.authorizer == nil || u.Scheme != "https" || strings.EqualFold(u.Host, l.o.base.Host) || !l.o.s.c.allowsRealm(u.Hostname()) {
		return false
	}
	return l.pinged == "" || l.pinged == u.Hostname() && strings.HasPrefix(u.Path, l.pingPath)
}

// logsInAtOnce reports whether the runtime knows that the target requires the login: the ping or an earlier request has
// shown it.
func (l redirectLogin) logsInAtOnce(t *trace, u *url.URL) bool {
	return l.mayLogInAt(u) && (l.pinged != "" || t.logsInAt(u.Host))
}

// logsInAfter reports whether the runtime sends the login to the target after that response.
func (l redirectLogin) logsInAfter(u *url.URL, res *http.Response) bool {
	return l.mayLogInAt(u) && res.StatusCode == http.StatusUnauthorized && choose(parseChallenges(res.Header)).scheme == schemeBasic
}

// sendTo sends a request with the login to the target of a redirect. A login that the target rejected is not sent there
// again.
func (a *authorizer) sendTo(ctx context.Context, q apiRequest, u *url.URL) (res *http.Response, err error) {
	sent := false
	b, left := a.o.basicLogin(basicKey{identity: a.identity, target: u.Host}).get(ctx, func() *basicLogin {
		sent = true
		b := &basicLogin{validUntil: time.Now().Add(pingLife)}
		switch res, err = a.o.send(ctx, q, u); {
		case err != nil && ctx.Err() != nil:
			b.validUntil = time.Time{}
		case err != nil || res.StatusCode >= 500:
			b.validUntil = time.Now().Add(failureLife)
		case res.StatusCode == http.StatusUnauthorized:
			drain(res.Body)
			b.rejected, b.validUntil = &response{status: res.StatusCode}, time.Now().Add(minTokenLife)
		}
		return b
	})
	switch {
	case left != nil:
		return nil, left
	case b.rejected != nil:
		where := cleanLine(u.Scheme+"://"+u.Host, 64)
		return nil, errorf(registry.ErrUnauthorized, "the registry redirects to %s, which rejects the login (%d)", where, b.rejected.status)
	case sent:
		return res, err
	}
	return a.o.send(ctx, q, u)
}

// asksBasic reports whether the response is a 401 with a Basic challenge and no usable Bearer one. If the request had a
// Basic login, that login was rejected.
func (r *response) asksBasic() bool {
	return r.status == http.StatusUnauthorized && choose(r.challenges).scheme == schemeBasic
}

func (o *origin) basicLogin(key basicKey) *singleFlight[*basicLogin] {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.basicLogins == nil || len(o.basicLogins) >= maxKnown {
		o.basicLogins = make(map[basicKey]*singleFlight[*basicLogin])
	}
	b := o.basicLogins[key]
	if b == nil {
		flight := newSingleFlight[*basicLogin]()
		b = &flight
		o.basicLogins[key] = b
	}
	return b
}

// warnLockout adds a warning about the registry's reaction to rejected logins, if the runtime repeats a rejected login.
func (a *authorizer) warnLockout(t *trace, v vendor) {
	runtimes := a.o.s.c.Runtimes
	resends := len(runtimes) == 0 || slices.Contains(runtimes, Containerd) || slices.Contains(runtimes, DockerContainerd)
	if policy := lockouts[v]; policy != "" && resends {
		t.warn("containerd sends a rejected login again, 4 to 5 times per request if the registry requires Basic, and " +
			"twice to a token server; " + policy + ": correct this login, or remove it, before nodes use it")
	}
}
