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

// An account is a profile and the credential that a run uses for it.
type account struct {
	profile    registry.Profile
	endpoints  []registry.Endpoint // The main endpoint, and then one endpoint of each other host.
	key        credentials.Key
	source     credentials.Source
	credential credentials.Credential
	renewed    bool  // The credential is the second one, because the first was rejected.
	err        error // The reason why there is no credential.
}

// read reports every problem of the request, and returns its images.
func (p *Pipeline) read(r Request) ([]registry.Image, error) {
	var problems field.List
	if len(r.Profiles) == 0 && len(r.Images) == 0 { // The secret would be empty, and could replace a good one.
		problems.Add("profiles", "are missing", "at least one profile, or an image that needs no login")
	}
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

// refused returns err with the code for invalid input. The code is [registry.ErrNoProvider] only if a kind without a
// provider is the only problem: the user can fix all other problems, but only the program can add a provider.
func refused(op string, err error) error {
	if _, ok := errors.AsType[*field.Errors](err); !ok {
		return err
	}
	return &registry.Error{Op: op, Code: registry.CodeOf(err), Hint: registry.HintOf(err), Err: err}
}

// accounts gets the credentials of all profiles concurrently.
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

// account returns the account of a profile that passed validate, without its credential. The profile in it has the
// egress policy of the pipeline.
func (p *Pipeline) account(profile registry.Profile) *account {
	profile = p.restrict(profile)
	a := &account{profile: profile, key: providers.Key(p.provider(), profile), source: providers.Source(p.provider(), profile)}
	all, _ := profile.Endpoints() // Parsed before.
	for _, e := range all {
		if !a.has(e.Host) {
			a.endpoints = append(a.endpoints, e)
		}
	}
	return a
}

// credential gets the credential from the cache. Its error is a [registry.Error].
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
	e.Wait = e.RetryAfter()
	return c, e
}

// prove checks all logins and images with the credentials of the accounts. It returns the results and the content of
// the secret. It fails if the credentials do not fit into one secret.
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

// logins checks the logins of all accounts concurrently.
func (p *Pipeline) logins(ctx context.Context, accounts []*account) []validate.Result {
	results := make([]validate.Result, len(accounts))
	var group sync.WaitGroup
	for i, a := range accounts {
		if a.err != nil {
			results[i] = validate.Result{Err: a.err}
			continue
		}
		group.Go(func() {
			results[i] = p.login(ctx, a)
			results[i].Warnings = append(results[i].Warnings, a.profile.Warnings()...)
		})
	}
	group.Wait()
	return results
}

// login checks the login at each host of the profile, because the secret has an entry for each. It returns the first
// result with an error, or the result of the main endpoint with the warnings of all.
func (p *Pipeline) login(ctx context.Context, a *account) validate.Result {
	var main validate.Result
	for i, e := range a.endpoints {
		result, err := p.Checker.Login(ctx, e, a.candidate())
		if err != nil {
			return result
		}
		if i == 0 {
			main = result
			continue
		}
		for _, warning := range result.Warnings {
			if !slices.Contains(main.Warnings, warning) {
				main.Warnings = append(main.Warnings, warning)
			}
		}
	}
	return main
}

// has reports whether the host is one of the profile's.
func (a *account) has(host string) bool {
	return slices.ContainsFunc(a.endpoints, func(e registry.Endpoint) bool { return e.Host == host })
}

// candidates returns the credentials that a kubelet would try for the image, in its order. If no login matches the
// image, the kubelet tries without one. The image's profile then provides only the transport, even if its credential
// cannot be obtained.
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

// serving returns the account whose profile serves the image; nil if there is none.
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

// transport returns the transport of a profile for another part of the host, or the default if there is no such
// profile.
func (p *Pipeline) transport(accounts []*account, host string) registry.TransportConfig {
	for _, a := range accounts {
		if a.has(host) {
			return a.profile.Transport
		}
	}
	return registry.TransportConfig{Egress: p.Egress}
}

// explain adds the cause to the error of an image if the cause is not the login that was tried: either no profile
// serves the image, or the credential of its profile could not be obtained.
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
		// With the rejection's own code and hint, users would try to fix a login that was never sent.
		e.Code, e.Hint = registry.CodeOf(a.err), registry.HintOf(a.err)
		e.Err = fmt.Errorf("%w, without the login of its profile: %w", errors.Unwrap(err), a.err)
		if inner, ok := errors.AsType[*registry.Error](a.err); ok {
			e.Wait = inner.RetryAfter()
		}
	default:
		return err
	}
	return e
}

// candidate returns the account as a candidate. Its source is a pointer, so that the checker recognizes the same source
// for all images.
func (a *account) candidate() validate.Candidate {
	return validate.Candidate{Name: a.profile.Name, Source: a, Transport: a.profile.Transport}
}

// Credential implements [credentials.Source].
func (a *account) Credential(context.Context) (credentials.Credential, error) {
	return a.credential, nil
}

// renew gets new credentials in place of the rejected ones, and reports whether any of them has changed.
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
			continue // The registry's response to the rejected credential is the better evidence.
		}
		a.credential, a.renewed, renewed = next, true, true
	}
	return renewed
}

// err joins the errors of all logins and images that failed.
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
