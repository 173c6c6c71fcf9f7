package validate

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// An operation is the part of a check that needs a credential: a login, an image, a page of a list.
type operation func(ctx context.Context, a *authorizer, t *trace) *registry.Error

// try runs the operation with the candidate's credential, and again with a new credential if the registry rejects the
// first. Each run is an Attempt in the result.
func (c *call) try(
	ctx context.Context, r *Result, candidate *Candidate, host, op, ref string, do operation,
) *registry.Error {
	fail := func(err *registry.Error) *registry.Error {
		named := *err // It may be shared: one ping answers for many images.
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
		a := h.authorizer(o, credential)
		c.applyPlan(a, h, host)
		t := &trace{exchanges: make([]Exchange, 0, 3)} // As a rule: the ping, a token, the image.
		err := do(ctx, a, t)
		r.take(t)
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
		next, ok := h.replace(ctx, candidate, credential)
		if !ok {
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
	login := func(ctx context.Context, a *authorizer, t *trace) *registry.Error {
		l, err := a.login(ctx, t)
		switch {
		case err != nil:
			return err
		case l.refused != nil:
			return a.classify(ctx, t, l.refused, "")
		case l.unverified && !a.credential.Anonymous:
			t.warn("the registry asks nobody for a login, so that it did not say whether this one is good")
		case l.unverified:
			t.warn("nothing was sent: whether something can be pulled without a login, only the check of an image tells")
		}
		return nil
	}
	if err := c.try(ctx, &r, candidate, endpoint.Host, "check login", endpoint.Host, login); err != nil {
		r.Err = err
	}
	r.Duration = time.Since(start)
	return r
}

// image tries the candidates one after the other, as a kubelet does:
// https://kubernetes.io/docs/concepts/containers/images/#using-imagepullsecrets.
func (c *call) image(ctx context.Context, image registry.Image, candidates []Candidate) Result {
	start := time.Now()
	r := Result{Image: image}
	if len(candidates) == 0 {
		candidates = make([]Candidate, 1) // Anonymous.
	}
	var verdict *registry.Error
	for i := range candidates {
		var f imageInfo
		look := func(ctx context.Context, a *authorizer, t *trace) (err *registry.Error) {
			f, err = (&check{a, t, image}).run(ctx)
			return err
		}
		err := c.try(ctx, &r, &candidates[i], image.Host, "check image", image.String(), look)
		if err == nil || verdict == nil || rank(err.Code) > rank(verdict.Code) {
			r.Digest, r.MediaType, r.Platforms, r.Size = f.digest, f.mediaType, f.platforms, f.size
			verdict = err
		}
		if err == nil || ctx.Err() != nil {
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
			c.probePublic(ctx, &r, &candidates[len(candidates)-1])
		}
	}
	r.Duration = time.Since(start)
	return r
}

// probePublic asks without a login where all logins were refused as such. It changes no verdict, for a kubelet that has
// a credential for an image does not pull without one; but a login that nobody needs may be left out.
func (c *call) probePublic(ctx context.Context, r *Result, candidate *Candidate) {
	last := &r.Attempts[len(r.Attempts)-1]
	if last.Anonymous || len(last.Exchanges) == 0 { // It is the source that has no credential.
		return
	}
	h := c.keyOf(candidate)
	o, err := c.origin(originKey{r.Image.Host, h.transport}, c.session.c.transportOf(candidate))
	if err != nil || o.knownVendor() == ecr { // There, nothing is public.
		return
	}
	a, t := o.authorizer(credentials.Credential{Anonymous: true}), &trace{}
	c.applyPlan(a, h, r.Image.Host)
	k := &check{a, t, r.Image}
	ans, failed := k.open(ctx, k.manifest(StepProbe, http.MethodHead, r.Image.Reference()))
	last.Exchanges = append(last.Exchanges, t.exchanges...)
	if failed == nil && ans.ok() && ans.step == StepProbe && isManifest(ans.mediaType()) {
		t.warn("the image is public: it can be pulled without a login, and not with one that is refused")
	}
	r.take(t)
}

// rank orders the verdicts of several candidates: the more a response says about the image, the higher.
func rank(code registry.Code) int {
	order := []registry.Code{
		registry.ErrUnknown, registry.ErrUnreachable, registry.ErrUnavailable, registry.ErrTLS, registry.ErrInsecure,
		registry.ErrNotRegistry, registry.ErrRateLimited, registry.ErrUnauthorized, registry.ErrExpired,
		registry.ErrHidden, registry.ErrDenied, registry.ErrBlocked, registry.ErrNotFound,
		registry.ErrRepositoryNotFound, registry.ErrImageNotFound, registry.ErrObsolete, registry.ErrPlatformNotFound,
		registry.ErrContentNotFound,
	}
	for ; code != ""; code = code.Parent() {
		if i := slices.Index(order, code); i >= 0 {
			return i
		}
	}
	return 0
}
