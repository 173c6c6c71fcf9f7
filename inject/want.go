package inject

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/internal/panics"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// A want is what a target wants in every namespace that it selects.
type want struct {
	Target
	order int // Of the target among all.

	config  pullsecret.Config
	content credentials.Fingerprint
	// labels and annotations are those of the target and our own.
	labels, annotations map[string]string

	// needed says that there is a namespace for it.
	needed bool
	// contentUnknown says that a credential is missing. The published secrets stay as they are.
	contentUnknown bool
	// invalid says that the target did not pass Validate. Because its selection is unknown, its published secrets stay in
	// all namespaces.
	invalid bool
	// renewAt is when to ask for the credentials again.
	renewAt time.Time
}

// want returns what the targets want in the state, and what is wrong with them. Credentials are asked for only where
// they are needed there.
func (s *Syncer) want(ctx context.Context, targets []Target, state []Namespace) (wants, []Problem) {
	var chosen wants
	var problems []Problem
	names := make(map[string]bool, len(targets))
	for i, t := range targets {
		switch err := t.Validate(); {
		case names[t.Name]:
			problems = append(problems, Problem{Target: t.Name, Err: fmt.Errorf("%w: two targets have that name; the first one counts", registry.ErrInvalid)})
		case err != nil:
			problems = append(problems, Problem{Target: t.Name, Err: err})
			chosen.add(&want{Target: t, order: i, contentUnknown: true, invalid: true})
		default:
			chosen.add(&want{Target: t, order: i})
		}
		names[t.Name] = true
	}

	var mu sync.Mutex // Guards problems.
	var asking sync.WaitGroup
	places := make(chan struct{}, maxAsked)
	for _, ns := range state {
		for _, w := range chosen.in(ns) {
			if w.needed || w.contentUnknown {
				continue
			}
			w.needed = true
			places <- struct{}{}
			asking.Go(func() {
				defer func() { <-places }()
				found := s.fill(ctx, w)
				mu.Lock()
				defer mu.Unlock()
				problems = append(problems, found...)
			})
		}
	}
	asking.Wait()
	return chosen, problems
}

const (
	// maxAsked is how many targets ask for their credentials at once. Nearly all find them in a cache.
	maxAsked = 64
	// credentialRetry is when a pass asks again for a credential that could not be had. How often the issuer is asked
	// is for the cache to say.
	credentialRetry = 30 * time.Second
)

// fill asks for the credentials of the target and builds the secret of them.
func (s *Syncer) fill(ctx context.Context, w *want) []Problem {
	ctx, cancel := context.WithTimeoutCause(ctx, s.credentialTimeout(), late(s.credentialTimeout()))
	defer cancel()
	var problems []Problem
	entries := make([]pullsecret.Entry, 0, len(w.Profiles))
	for _, profile := range w.Profiles {
		c, err := s.credential(ctx, profile)
		if err != nil {
			problems = append(problems, Problem{Target: w.Name, Profile: profile.Name, Err: err, RetryAt: retryAt(err)})
			continue
		}
		entries = append(entries, pullsecret.Entry{Profile: profile, Credential: c})
	}
	if problems == nil {
		config, err := pullsecret.Build(entries...)
		if err == nil {
			err = pullsecret.Secret{Name: w.Name, Config: config}.Validate()
		}
		if err != nil {
			problems = append(problems, Problem{Target: w.Name, Err: err})
		}
		w.config = config
	}
	if problems != nil {
		w.contentUnknown = true
		return problems
	}
	w.mark(s.owner(), entries)
	return nil
}

// credential calls Syncer.Credential. A panic in there is an error of that profile.
func (s *Syncer) credential(ctx context.Context, profile registry.Profile) (c credentials.Credential, err error) {
	defer func() {
		if value := recover(); value != nil {
			c, err = credentials.Credential{}, panics.Error("Syncer.Credential", value)
		}
	}()
	if c, err = s.Credential(ctx, profile); err != nil {
		return c, err
	}
	return c, c.Validate(time.Now())
}

// late is the error of a credential that does not come within that time. It is only made into words if it is needed.
type late time.Duration

func (l late) Error() string { return "no credential within " + time.Duration(l).String() }

func retryAt(err error) time.Time {
	wait := credentialRetry
	var asked interface{ RetryAfter() time.Duration }
	if errors.As(err, &asked) {
		wait = max(wait, asked.RetryAfter())
	}
	return time.Now().Add(wait)
}

// mark works out all that goes with the content.
func (w *want) mark(owner string, entries []pullsecret.Entry) {
	if len(w.config.Keys()) > 0 {
		w.content = Fingerprint(w.config.Reveal())
	}
	w.labels = maps.Clone(w.Labels)
	if w.labels == nil {
		w.labels = make(map[string]string, 2)
	}
	w.labels[LabelManagedBy] = "regcred"
	w.labels[LabelOwner] = owner

	w.annotations = maps.Clone(w.Annotations)
	if w.annotations == nil {
		w.annotations = make(map[string]string, 3)
	}
	names := make([]string, len(entries))
	var issued time.Time
	for i, e := range entries {
		names[i] = e.Profile.Name
		if e.Credential.IssuedAt.After(issued) {
			issued = e.Credential.IssuedAt
		}
		if at := askAgain(e.Credential, time.Now()); !at.IsZero() {
			w.renewAt = earlier(w.renewAt, at)
		}
	}
	slices.Sort(names)
	w.annotations[AnnotationProfiles] = strings.Join(names, ",")
	for key, at := range map[string]time.Time{AnnotationIssuedAt: issued, AnnotationExpiresAt: w.config.ExpiresAt()} {
		if !at.IsZero() {
			w.annotations[key] = at.UTC().Format(time.RFC3339)
		}
	}
}

// askAgain returns when a newer credential may be had: after four fifths of its life, when most renew, and from then on
// each time a tenth of what is left has passed. Zero means never.
func askAgain(c credentials.Credential, now time.Time) time.Time {
	if c.ExpiresAt.IsZero() {
		return time.Time{}
	}
	if !c.IssuedAt.IsZero() {
		if at := c.IssuedAt.Add(c.ExpiresAt.Sub(c.IssuedAt) / 5 * 4); at.After(now) {
			return at
		}
	}
	return now.Add(min(max(c.ExpiresAt.Sub(now)/10, 5*time.Second), 5*time.Minute))
}

// earlier returns the earlier of two instants, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (s *Syncer) credentialTimeout() time.Duration {
	return option.OrDefault(s.CredentialTimeout, defaultCredentialTimeout)
}
