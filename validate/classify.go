package validate

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/regcred/regcred/registry"
)

// classify turns an error response into a verdict with a hint. If the response alone is not enough, it sends one more
// request; see followUp.
func (a *authorizer) classify(ctx context.Context, t *trace, ans *response, repository string) *registry.Error {
	v := a.o.knownVendor()
	r := matchRule(v, ans, a.sender())
	e := &registry.Error{Code: r.code, Hint: r.hint, Err: &exchangeError{ans.ex, nil}}
	if v == ecr && e.Code == registry.ErrDenied {
		if hint := missingPermission(ans.without(ans.text)); hint != "" {
			e.Hint = hint
		}
	}
	if ping, err := a.o.pingOnce(ctx, t); err == nil && v == anyVendor && ping.answer.ok() && ans.step != StepPing &&
		ans.status == http.StatusUnauthorized && len(ans.challenges) == 0 {
		e.Hint = hintOpenRegistry
	}
	switch {
	case r.followUp == probeLogin && !a.credential.Anonymous:
		if l, err := a.o.authorizer(a.credential, ownRules).login(ctx, t); err != nil && err.Code == registry.ErrCanceled {
			return err
		} else if err == nil && l.refused != nil {
			// Only a rejection of the login itself changes the verdict.
			if bad := a.classify(ctx, t, l.refused, ""); bad.Code.Is(registry.ErrUnauthorized) || bad.Code == registry.ErrDenied {
				return bad
			}
		}
	case r.followUp == probeTagList && repository != "":
		if err := a.probeTags(ctx, t, repository, e); err != nil {
			return err
		}
	case e.Code == registry.ErrRateLimited:
		e.Wait = retryAfter(ans.header, time.Now())
		a.noteRateLimit(e)
	}
	if e.Hint == "" {
		e.Hint = hintFor(v, e.Code, a.credential)
	}
	if e.Code == registry.ErrUnauthorized && !a.credential.Anonymous {
		a.warnLockout(t, v)
	}
	if d := ans.skew(time.Now()); d != 0 && (e.Code.Is(registry.ErrUnauthorized) || e.Code == registry.ErrClockSkew) {
		t.warn(fmt.Sprintf("the clocks of this machine and of %s differ by %s: tokens may seem expired, or not valid yet",
			cleanLine(ans.host, 64), d.Abs()))
	}
	return e
}

// probeTags distinguishes a missing image from a missing repository, if the list of tags does. It fails only if the
// caller was canceled.
func (a *authorizer) probeTags(ctx context.Context, t *trace, repository string, e *registry.Error) *registry.Error {
	path := "/v2/" + repository + "/tags/list?n=1"
	q := apiRequest{step: StepProbe, method: http.MethodGet, path: path, limit: maxProbe, truncate: true}
	ans, err := a.open(ctx, t, pullScope(repository), q)
	switch {
	case err != nil && err.Code == registry.ErrCanceled:
		return err
	case err != nil || ans.step != StepProbe:
	case ans.ok() && (strings.Contains(ans.mediaType(), "json") || bytes.Contains(ans.body, []byte(`"tags"`))):
		e.Code = registry.ErrImageNotFound
	case ans.status == http.StatusNotFound && ans.says("NAME_UNKNOWN", "NOT_FOUND"):
		e.Code = registry.ErrRepositoryNotFound
	}
	return nil
}

// maxProbe is the number of bytes that are read of a list when only its existence matters.
const maxProbe = 4 << 10

func (a *authorizer) sender() sender {
	if a.credential.Anonymous {
		return withoutLogin
	}
	return loggedIn
}

// noteRateLimit keeps a rate limit that lasts longer than MaxWait, so that the rest of a batch sends no request.
func (a *authorizer) noteRateLimit(e *registry.Error) {
	if e.Wait <= a.o.s.c.maxWait() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	said := *e // A copy, because the caller still changes the original.
	a.rateLimit, a.rateLimitEnd = &said, time.Now().Add(e.Wait)
}
