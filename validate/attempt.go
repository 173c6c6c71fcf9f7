package validate

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/panics"
	"github.com/regcred/regcred/registry"
)

// An operation is the part of a check that needs a credential: a login, an image, a page of a list.
type operation func(ctx context.Context, a *authorizer, t *trace) *registry.Error

// try runs the operation with the candidate's credential, and again with a new credential if the registry rejects the
// first. Each run is an Attempt in the result.
func (c *call) try(
	ctx context.Context, r *Result, sent *sentLogins, candidate *Candidate, rules *runtimeRules, host, op, ref string, do operation,
) *registry.Error {
	fail := func(err *registry.Error) *registry.Error {
		named := *err // The error may be shared, because one ping serves many images.
		named.Op, named.Ref = op, ref
		r.Attempts = append(r.Attempts, Attempt{Candidate: candidate.Name, Anonymous: candidate.Source == nil, Err: &named})
		return &named
	}
	h := c.keyOf(candidate)
	o, err := c.origin(originKey{host, h.transport}, c.session.c.transportOf(candidate))
	if err != nil {
		return fail(netError(ctx, err))
	}
	credential, err := h.get(ctx, candidate)
	if err != nil {
		return fail(sourceError(ctx, err))
	}
	for renewed := false; ; renewed = true {
		a := h.authorizer(o, credential, rules)
		c.applyPlan(a, h, host)
		t := &trace{exchanges: make([]Exchange, 0, 3)} // Usually the ping, a token, the image.
		err := do(ctx, a, t)
		r.take(t)
		sent.add(a.basicAuth())
		sent.add(t.sent...)
		if err == nil {
			r.Candidate, r.Anonymous = candidate.Name, credential.Anonymous
			r.Attempts = append(r.Attempts, Attempt{
				candidate.Name, credential.Username, credential.Anonymous, renewed, nil, t.exchanges,
			})
			return nil
		}
		named := fail(err)
		at := &r.Attempts[len(r.Attempts)-1]
		at.Username, at.Anonymous, at.Renewed, at.Exchanges = credential.Username, credential.Anonymous, renewed, t.exchanges
		if renewed || credential.Anonymous || !err.Code.Is(registry.ErrUnauthorized) {
			return named
		}
		next, failed := h.replace(ctx, candidate, credential)
		switch {
		case errors.Is(failed, panics.ErrPanicked):
			return fail(sourceError(ctx, failed))
		case failed != nil:
			return named
		}
		credential = next
	}
}

func (r *Result) take(t *trace) {
	for _, w := range t.warnings {
		if !slices.Contains(r.Warnings, w) {
			r.Warnings = append(r.Warnings, w)
		}
	}
	if t.limit.Limit > 0 {
		r.RateLimit = t.limit
	}
}

func (c *call) login(ctx context.Context, endpoint registry.Endpoint, candidate *Candidate) Result {
	start := time.Now()
	var r Result
	sent := &sentLogins{}
	login := func(ctx context.Context, a *authorizer, t *trace) *registry.Error {
		l, err := a.login(ctx, t)
		switch {
		case err != nil:
			return err
		case l.refused != nil:
			return a.classify(ctx, t, l.refused, "")
		case l.unverified && !a.credential.Anonymous:
			t.warn("the registry requires no login, so this login could not be checked")
		case l.unverified:
			t.warn("nothing was sent: check an image to find out whether it can be pulled without a login")
		}
		return nil
	}
	if err := c.try(ctx, &r, sent, candidate, ownRules, endpoint.Host, "check login", endpoint.Host, login); err != nil {
		r.Err = err
	}
	sent.leaveOut(&r, endpoint.String)
	r.Duration = time.Since(start)
	return r
}

// image checks the image for each of the runtimes.
func (c *call) image(ctx context.Context, image registry.Image, candidates []Candidate) Result {
	start := time.Now()
	r := Result{Image: image}
	if len(candidates) == 0 {
		candidates = make([]Candidate, 1) // Anonymous.
	}
	runtimes, err := c.c.runtimes()
	if err != nil {
		err.Op, err.Ref = "check image", image.String()
		r.Err = err
	}
	sent := &sentLogins{make([]authorization, 0, 3)} // Usually a login and a token.
	for i, rules := range runtimes {
		one := c.imageOn(ctx, rules, image, candidates, sent)
		if i == 0 {
			r = one
			continue
		}
		r.add(one)
	}
	r.decide(c.c)
	sent.leaveOut(&r, image.String)
	r.Duration = time.Since(start)
	return r
}

// imageOn tries the candidates one after the other, as a kubelet does with this runtime:
// https://kubernetes.io/docs/concepts/containers/images/#using-imagepullsecrets.
func (c *call) imageOn(
	ctx context.Context, rules *runtimeRules, image registry.Image, candidates []Candidate, sent *sentLogins,
) Result {
	r := Result{Image: image}
	var verdict *registry.Error
	var lines []lineState
	var seen *observation
	for i := range candidates {
		var f imageInfo
		look := func(ctx context.Context, a *authorizer, t *trace) (err *registry.Error) {
			seen = &t.seen
			f, err = newCheck(a, t, image).run(ctx)
			return err
		}
		err := c.try(ctx, &r, sent, &candidates[i], rules, image.Host, "check image", image.String(), look)
		// If the pull succeeds, a kubelet does not try the next login, even if no container can start from the image.
		pulled := err == nil || len(f.lines) > 0 && !slices.ContainsFunc(f.lines, doesNotPull)
		if pulled || verdict == nil || rank(err.Code) > rank(verdict.Code) {
			r.Digest, r.MediaType, r.Platforms, r.Size, r.Basis = f.digest, f.mediaType, f.platforms, f.size, f.basis
			verdict, lines = err, f.lines
		}
		if pulled || ctx.Err() != nil {
			verdict = err
			break
		}
	}
	if verdict != nil {
		if host := image.Host; host != "docker.io" && registry.KindOf(host) == registry.DockerHub && ctx.Err() == nil {
			verdict.Hint = "write docker.io/" + image.Repository + ": to container runtimes, " + host + " is not Docker Hub"
		}
		r.Err = verdict
		if verdict.Code.Is(registry.ErrUnauthorized) && ctx.Err() == nil {
			c.probePublic(ctx, &r, rules, &candidates[len(candidates)-1])
		}
	}
	r.Runtimes = rules.results(lines, verdict)
	if len(c.c.Runtimes) == 0 && verdict == nil && seen != nil {
		r.warnOthers(rules, seen, c.c.Platforms)
	}
	return r
}

func doesNotPull(l lineState) bool { return l.pulls != Yes }

// results returns the verdicts of the lines. If the lines have no verdicts of their own, each gets the verdict on all.
func (r *runtimeRules) results(lines []lineState, verdict *registry.Error) []RuntimeResult {
	all := make([]RuntimeResult, len(r.lines))
	for i, l := range r.lines {
		one := RuntimeResult{Runtime: r.runtime, Version: l.version}
		switch {
		case i < len(lines):
			one.Pulls, one.Runs = lines[i].pulls, lines[i].runs
			if err := lines[i].err; err != nil {
				one.Err = err
			}
		case verdict != nil && verdict.Code.Temporary():
			one.Err = verdict // It is no verdict on the image.
		case verdict != nil:
			one.Pulls, one.Runs, one.Err = No, No, verdict
		}
		all[i] = one
	}
	return all
}

// add adds the result for another runtime.
func (r *Result) add(other Result) {
	if r.Err == nil {
		r.Err = other.Err
	}
	r.Attempts = append(r.Attempts, other.Attempts...)
	r.Runtimes = append(r.Runtimes, other.Runtimes...)
	for _, w := range other.Warnings {
		if !slices.Contains(r.Warnings, w) {
			r.Warnings = append(r.Warnings, w)
		}
	}
	if other.RateLimit.Limit > 0 {
		r.RateLimit = other.RateLimit
	}
}

// decide fills in the results for all runtimes together, and warns where they differ.
func (r *Result) decide(c *Checker) {
	all := func(answer func(RuntimeResult) Answer) Answer {
		sum := Yes
		for _, one := range r.Runtimes {
			switch a := answer(one); {
			case a == No && registry.Temporary(one.Err):
				// The failure disappeared when the request was repeated.
			case a == No:
				return No
			case a == Unknown:
				sum = Unknown
			}
		}
		return sum
	}
	if len(r.Runtimes) == 0 {
		return
	}
	r.Pulls = all(func(one RuntimeResult) Answer { return one.Pulls })
	r.Runs = all(func(one RuntimeResult) Answer { return one.Runs })
	if r.Err != nil && registry.Temporary(r.Err) { // The failure persisted during the check; a later request may succeed.
		r.Pulls, r.Runs = unknownUnlessNo(r.Pulls), unknownUnlessNo(r.Runs)
	}
	for _, one := range r.Runtimes {
		if one.Err == nil {
			continue
		}
		// If no runtime pulls the image, Err has the reason. A temporary failure is no verdict about a runtime.
		if one.Pulls != Yes && !slices.ContainsFunc(r.Runtimes, pulls) && (r.Pulls == No || registry.Temporary(r.Err)) {
			continue
		}
		name := strings.TrimSuffix(string(one.Runtime)+" "+one.Version, " ")
		cause := one.Err.Error()
		if e, ok := errors.AsType[*registry.Error](one.Err); ok && e.Err != nil {
			cause = e.Err.Error()
		}
		text := name + " does not pull this image: " + cause
		if one.Pulls == Yes {
			text = name + " reports a successful pull of this image, and no container can start from it: " + cause
		}
		if !slices.Contains(r.Warnings, text) {
			r.Warnings = append(r.Warnings, text)
		}
	}
}

func pulls(r RuntimeResult) bool { return r.Pulls == Yes }

// unknownUnlessNo returns the answer for a check that ended with a temporary failure.
func unknownUnlessNo(a Answer) Answer {
	if a == Yes {
		return Unknown
	}
	return a
}

// probePublic sends a request without a login if all logins were rejected. It changes no verdict, because a kubelet
// that has a credential for an image does not pull without one. If the request succeeds, it adds a warning that no
// login is needed.
func (c *call) probePublic(ctx context.Context, r *Result, rules *runtimeRules, candidate *Candidate) {
	last := &r.Attempts[len(r.Attempts)-1]
	if last.Anonymous || len(last.Exchanges) == 0 { // The source had no credential.
		return
	}
	h := c.keyOf(candidate)
	o, err := c.origin(originKey{r.Image.Host, h.transport}, c.session.c.transportOf(candidate))
	if err != nil || o.knownVendor() == ecr { // No repository in ECR is public.
		return
	}
	a, t := o.authorizer(credentials.Credential{Anonymous: true}, rules), &trace{}
	c.applyPlan(a, h, r.Image.Host)
	k := newCheck(a, t, r.Image)
	ans, failed := k.open(ctx, k.manifest(StepProbe, http.MethodHead, r.Image.Reference()))
	last.Exchanges = append(last.Exchanges, t.exchanges...)
	if failed == nil && ans.ok() && ans.step == StepProbe && isManifest(ans.mediaType()) {
		t.warn("the image is public: it can be pulled without a login, but not with a rejected one")
	}
	r.take(t)
}

// rank orders the verdicts of several candidates: the more a response shows about the image, the higher its rank.
func rank(code registry.Code) int {
	order := []registry.Code{
		registry.ErrUnknown, registry.ErrUnreachable, registry.ErrUnavailable, registry.ErrTLS, registry.ErrInsecure,
		registry.ErrNotRegistry, registry.ErrRateLimited, registry.ErrUnauthorized, registry.ErrExpired,
		registry.ErrHidden, registry.ErrDenied, registry.ErrBlocked, registry.ErrNotFound,
		registry.ErrRepositoryNotFound, registry.ErrImageNotFound, registry.ErrIncompatible, registry.ErrObsolete, registry.ErrPlatformNotFound,
		registry.ErrContentNotFound,
	}
	for ; code != ""; code = code.Parent() {
		if i := slices.Index(order, code); i >= 0 {
			return i
		}
	}
	return 0
}
