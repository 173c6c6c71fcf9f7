package validate

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A basicKey identifies a login at a protection space of the registry (RFC 7617, section 2).
type basicKey struct {
	identity credentials.Fingerprint
	realm    string
}

// A basicLogin is what the registry answered to the first request with a Basic login.
type basicLogin struct {
	rejected   *response // Nil if it was not.
	validUntil time.Time
}

func (b *basicLogin) fresh() bool { return b != nil && time.Now().Before(b.validUntil) }

// do sends a request with the authorization that answers the challenge. A Basic login that the registry rejected is not
// sent again, for any image, step or runtime: registries lock accounts after some of them. So the first request with it
// goes alone, and the others wait for its response.
//
// That holds where GET /v2/ asks for a Basic login of the same realm, and for nothing else. Gitea, which asks for a
// token there, answers 401 with a Basic challenge to a good login without the right to the repository. A list says
// nothing about the login either.
func (a *authorizer) do(
	ctx context.Context, t *trace, ping *pingResult, c challenge, q apiRequest,
) (*response, *registry.Error) {
	root, _ := find(ping.answer.challenges, schemeBasic)
	if q.auth.scheme != "Basic" || a.credential.Anonymous || q.step == StepRepositories || q.step == StepTags ||
		!ping.answer.asksBasic() || root.params["realm"] != c.params["realm"] {
		return a.o.do(ctx, t, q)
	}
	var (
		sent bool
		ans  *response
		err  *registry.Error
	)
	b, left := a.o.basicLogin(basicKey{a.identity, c.params["realm"]}).get(ctx, func() *basicLogin {
		sent = true
		b := &basicLogin{validUntil: time.Now().Add(pingLife)}
		switch ans, err = a.o.do(ctx, t, q); {
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
	case sent:
		t.share(b, nil, nil) // Its exchange is in the trace.
		return ans, err
	case b.rejected == nil:
		return a.o.do(ctx, t, q)
	}
	t.share(b, []Exchange{b.rejected.ex}, nil)
	same := *b.rejected
	same.step = q.step
	return &same, nil
}

// asksBasic reports whether the response asks for a Basic login and for nothing else. After a request with one, it is
// rejected.
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

// warnLockout warns of what the registry does after rejected logins, where nodes send one again and again.
func (a *authorizer) warnLockout(t *trace, v vendor) {
	runtimes := a.o.s.c.Runtimes
	if policy := lockouts[v]; policy != "" && (len(runtimes) == 0 || slices.Contains(runtimes, Containerd)) {
		t.warn("containerd sends a rejected login again, 4 to 5 times per request where the registry asks for Basic, and " +
			"twice to a token server; " + policy + ": correct this login, or remove it, before nodes use it")
	}
}
