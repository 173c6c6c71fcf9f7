package regcred

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// An account is a profile and the credential that a run has for it.
type account struct {
	profile    registry.Profile
	endpoint   registry.Endpoint
	key        credentials.Key
	source     credentials.Source
	credential credentials.Credential
	renewed    bool  // It is the second one, because the first was refused.
	err        error // Why there is no credential.
}

// read reports every problem of the request, and returns its images.
func (p *Pipeline) read(r Request) ([]registry.Image, error) {
	var problems field.List
	names := make(map[string]bool)
	for i, profile := range r.Profiles {
		field := fmt.Sprintf("profiles[%d]", i)
		problems.Under(field, p.validate(profile))
		if profile.Name != "" && names[profile.Name] {
			problems.Add(field+".name", fmt.Sprintf("is %q as in a profile before it", profile.Name), "a name of its own")
		}
		names[profile.Name] = true
	}
	images := make([]registry.Image, len(r.Images))
	for i, name := range r.Images {
		var err error
		images[i], err = registry.ParseImage(name)
		problems.Under(fmt.Sprintf("images[%d]", i), err)
	}
	problems.Under("", r.secret(pullsecret.Config{}).Validate())
	return images, refused("read request", problems.Err(""))
}

// refused gives an input that cannot be right its code. That of a kind without provider it has only if there is nothing
// else to fix, for that is the program's part.
func refused(op string, err error) error {
	if _, ok := errors.AsType[*field.Errors](err); !ok {
		return err
	}
	return &registry.Error{Op: op, Code: registry.CodeOf(err), Hint: registry.HintOf(err), Err: err}
}

// accounts gets the credentials of all profiles, side by side.
func (p *Pipeline) accounts(ctx context.Context, profiles []registry.Profile) []*account {
	accounts := make([]*account, len(profiles))
	var group sync.WaitGroup
	for i, profile := range profiles {
		a := p.account(profile)
		accounts[i] = a
		group.Go(func() { a.credential, a.err = p.credential(ctx, a) })
	}
	group.Wait()
	return accounts
}

// account returns that of a profile which passed validate, without its credential. It is under the policy of the
// pipeline.
func (p *Pipeline) account(profile registry.Profile) *account {
	profile = p.restrict(profile)
	endpoint, _ := profile.MainEndpoint() // Was read before.
	return &account{
		profile:  profile,
		endpoint: endpoint,
		key:      providers.Key(p.provider(), profile),
		source:   providers.Source(p.provider(), profile),
	}
}

// credential asks the cache. Its error is a [registry.Error].
func (p *Pipeline) credential(ctx context.Context, a *account) (credentials.Credential, error) {
	c, err := p.Cache.Credential(ctx, a.key, a.source)
	if err == nil {
		return c, nil
	}
	if _, ok := errors.AsType[*registry.Error](err); ok {
		return c, err
	}
	e := &registry.Error{
		Op: "get credential", Ref: fmt.Sprintf("for profile %q", a.profile.Name), Code: registry.CodeOf(err), Hint: registry.HintOf(err), Err: err,
	}
	switch {
	case e.Code != registry.ErrUnknown:
	case ctx.Err() != nil:
		e.Code = registry.ErrCanceled
	case errors.Is(err, context.DeadlineExceeded): // The cache's Timeout.
		e.Code = registry.ErrTimeout
	default: // The source's goroutine ended by runtime.Goexit.
		e.Code = registry.ErrProvider
	}
	if wait, ok := errors.AsType[*credentials.BackoffError](err); ok {
		e.Wait = wait.RetryAfter()
	}
	return c, e
}

// prove checks everything with the credentials that the accounts have, and returns the content of the secret beside the
// evidence. Its error is that there cannot be one secret for all of them.
func (p *Pipeline) prove(ctx context.Context, accounts []*account, images []registry.Image) (Outcome, pullsecret.Config, error) {
	held := slices.DeleteFunc(slices.Clone(accounts), func(a *account) bool { return a.err != nil })
	entries := make([]pullsecret.Entry, len(held))
	for i, a := range held {
		entries[i] = pullsecret.Entry{Profile: a.profile, Credential: a.credential}
	}
	config, err := pullsecret.Build(entries...)
	if err != nil {
		return Outcome{}, config, err
	}
	outcome := Outcome{Logins: p.logins(ctx, accounts)}
	requests := make([]validate.Request, len(images))
	for i, image := range images {
		requests[i] = validate.Request{Image: image, Candidates: p.candidates(config, held, accounts, image)}
	}
	outcome.Images, _ = p.Checker.Images(ctx, requests) // The errors are in the results.
	for i, image := range images {
		outcome.Images[i].Err = explain(outcome.Images[i].Err, accounts, image)
	}
	for _, a := range held {
		outcome.RenewAt = earliest(outcome.RenewAt, p.renewAt(a.key))
		outcome.ExpiresAt = earliest(outcome.ExpiresAt, a.credential.ExpiresAt)
	}
	return outcome, config, nil
}

// logins checks the logins of all accounts, side by side.
func (p *Pipeline) logins(ctx context.Context, accounts []*account) []validate.Result {
	results := make([]validate.Result, len(accounts))
	var group sync.WaitGroup
	for i, a := range accounts {
		if a.err != nil {
			results[i] = validate.Result{Err: a.err}
			continue
		}
		group.Go(func() {
			results[i], _ = p.Checker.Login(ctx, a.endpoint, a.candidate())
			results[i].Warnings = append(results[i].Warnings, a.profile.Warnings()...)
		})
	}
	group.Wait()
	return results
}

// candidates are what a kubelet would try for the image, in its order. Where it has no login for the image it tries
// without one, and then the profile says just how the registry is reached, also one whose credential cannot be had.
func (p *Pipeline) candidates(config pullsecret.Config, held, accounts []*account, image registry.Image) []validate.Candidate {
	matches := config.Match(image)
	if len(matches) == 0 {
		if serving := serving(accounts, image); serving != nil {
			return []validate.Candidate{{Name: serving.profile.Name, Transport: serving.profile.Transport}}
		}
		return []validate.Candidate{{Transport: p.transport(accounts, image.Host)}}
	}
	found := make([]validate.Candidate, len(matches))
	for i, m := range matches {
		found[i] = held[m.Entry].candidate()
	}
	return found
}

// serving returns the account that is there for the image; nil if there is none.
func serving(accounts []*account, image registry.Image) *account {
	profiles := make([]registry.Profile, len(accounts))
	for i, a := range accounts {
		profiles[i] = a.profile
	}
	best := registry.Serving(profiles, image)
	if len(best) == 0 {
		return nil
	}
	return accounts[slices.IndexFunc(profiles, func(p registry.Profile) bool { return p.Name == best[0].Name })]
}

// transport returns how the host is reached, as far as a profile of another part of it tells.
func (p *Pipeline) transport(accounts []*account, host string) registry.TransportConfig {
	for _, a := range accounts {
		if a.endpoint.Host == host {
			return a.profile.Transport
		}
	}
	return registry.TransportConfig{Egress: p.Egress}
}

// explain says why the image was refused, where it is not for the login that was tried: there is no profile for it, or
// the credential of its profile could not be had.
func explain(err error, accounts []*account, image registry.Image) error {
	switch registry.CodeOf(err) {
	case registry.ErrUnauthorized, registry.ErrDenied, registry.ErrHidden:
	default:
		return err
	}
	e := &registry.Error{Op: "check image", Ref: image.String()}
	switch a := serving(accounts, image); {
	case a == nil:
		e.Code, e.Err = registry.ErrNoProfile, err
		e.Hint = "add a profile for " + image.Host + " that serves " + image.Repository
	case a.err != nil:
		// The refusal's own code and hint would have people fix a login that nobody tried.
		e.Code, e.Hint = registry.CodeOf(a.err), registry.HintOf(a.err)
		e.Err = fmt.Errorf("%w, without the login of its profile: %w", errors.Unwrap(err), a.err)
		if inner, ok := errors.AsType[*registry.Error](a.err); ok {
			e.Wait = inner.Wait
		}
	default:
		return err
	}
	return e
}

// candidate is the account as one that may open the registry. That it is a pointer tells the checker that it is one and
// the same for all images.
func (a *account) candidate() validate.Candidate {
	return validate.Candidate{Name: a.profile.Name, Source: a, Transport: a.profile.Transport}
}

// Credential returns that of this run.
func (a *account) Credential(context.Context) (credentials.Credential, error) {
	return a.credential, nil
}

// renew gets those credentials again that were refused, and reports whether any of them is another one now.
func (p *Pipeline) renew(ctx context.Context, accounts []*account, outcome Outcome) bool {
	refused := make(map[string]bool)
	for _, results := range [][]validate.Result{outcome.Logins, outcome.Images} {
		for _, result := range results {
			for _, attempt := range result.Attempts {
				if errors.Is(attempt.Err, registry.ErrUnauthorized) {
					refused[attempt.Candidate] = true
				}
			}
		}
	}
	renewed := false
	for _, a := range accounts {
		if a.err != nil || !refused[a.profile.Name] {
			continue
		}
		p.Cache.Invalidate(a.key, a.credential)
		next, err := p.credential(ctx, a)
		if err != nil || next.Equal(a.credential) {
			continue // What the registry said to the one that was refused is the better evidence.
		}
		a.credential, a.renewed, renewed = next, true, true
	}
	return renewed
}

// err joins what failed.
func (o Outcome) err() error {
	var errs []error
	for _, results := range [][]validate.Result{o.Logins, o.Images} {
		for _, result := range results {
			if result.Err != nil {
				errs = append(errs, result.Err)
			}
		}
	}
	return errors.Join(errs...)
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
