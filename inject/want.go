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

// A want is what a target wants in every namespace that it selects, as one pass has found it.
type want struct {
	*record

	config  pullsecret.Config
	content credentials.Fingerprint
	// labels and annotations are those of the target and our own.
	labels, annotations map[string]string

	// issuedAt is when the newest credential in it was issued, and held when each was, by its key in the cache.
	issuedAt time.Time
	held     map[credentials.Key]time.Time

	// contentUnknown says that a credential is missing. The published secrets stay as they are.
	contentUnknown bool
	// invalid says that the target did not pass Validate. Because its selection is unknown, its published secrets stay in
	// all namespaces.
	invalid bool
	// renewAt is when to ask for the credentials again.
	renewAt time.Time
}

// wants are those of a pass.
type wants struct {
	mu   *sync.RWMutex // Guards the index of the work.
	work work
	made map[*record]*want
}

// in returns those that select the namespace, in the order of the targets, and those whose selection is unknown.
func (w *wants) in(ns Namespace) []*want {
	w.mu.RLock()
	defer w.mu.RUnlock()
	records := w.work.index.in(ns)
	found := make([]*want, 0, len(records))
	for _, r := range records {
		if one := w.made[r]; one != nil { // Else the pass is not about it, or it came later.
			found = append(found, one)
		}
	}
	return found
}

// want returns what the targets want in the state, what is wrong with them, and what soon will be. Credentials are asked
// for only where they are needed there.
func (s *Syncer) want(ctx context.Context, w work, state []Namespace) (chosen wants, problems, warnings []Problem) {
	chosen = wants{mu: &s.mu, work: w, made: make(map[*record]*want)}
	if w.names == nil {
		for _, name := range w.index.duplicates {
			problems = append(problems, Problem{Target: name, Err: errDuplicate})
		}
	}
	for _, ns := range state {
		s.mu.RLock()
		records := w.index.in(ns)
		s.mu.RUnlock()
		for _, r := range records {
			if chosen.made[r] == nil && w.about(r.Name) {
				chosen.made[r] = &want{record: r, contentUnknown: r.err != nil, invalid: r.err != nil}
			}
		}
	}
	if len(w.namespaces) == 0 { // An invalid target is reported also where there is no namespace.
		s.mu.RLock()
		for _, r := range w.index.patterns {
			if r.err != nil && chosen.made[r] == nil && w.about(r.Name) {
				chosen.made[r] = &want{record: r, contentUnknown: true, invalid: true}
			}
		}
		s.mu.RUnlock()
	}

	s.adopt(ctx, w, chosen.made, state)

	var mu sync.Mutex // Guards problems and warnings.
	var asking sync.WaitGroup
	places := make(chan struct{}, maxAsked)
	for _, one := range chosen.made {
		places <- struct{}{}
		asking.Go(func() {
			defer func() { <-places }()
			var found []Problem
			if one.invalid {
				found = []Problem{{Target: one.Name, Err: one.err}}
			} else {
				found = s.fill(ctx, one)
			}
			warned := s.warn(one.Target)
			if w.own && ctx.Err() == nil {
				s.noteContent(one, found, warned)
			}
			mu.Lock()
			defer mu.Unlock()
			problems, warnings = append(problems, found...), append(warnings, warned...)
		})
	}
	asking.Wait()
	return chosen, problems, warnings
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
	w.mark(s, entries)
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
func (w *want) mark(s *Syncer, entries []pullsecret.Entry) {
	if len(w.config.Keys()) > 0 {
		w.content = Fingerprint(w.config.Reveal())
	}
	w.labels = maps.Clone(w.Labels)
	if w.labels == nil {
		w.labels = make(map[string]string, 2)
	}
	w.labels[LabelManagedBy] = "regcred"
	w.labels[LabelOwner] = s.owner()

	w.annotations = maps.Clone(w.Annotations)
	if w.annotations == nil {
		w.annotations = make(map[string]string, 3)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Profile.Name
		if e.Credential.IssuedAt.After(w.issuedAt) {
			w.issuedAt = e.Credential.IssuedAt
		}
		w.renewAt = earlier(w.renewAt, s.renewAt(w, e))
	}
	slices.Sort(names)
	w.annotations[AnnotationProfiles] = strings.Join(names, ",")
	if origins := s.origins(entries); origins != "" {
		w.annotations[AnnotationOrigin] = origins
	}
	for key, at := range map[string]time.Time{AnnotationIssuedAt: w.issuedAt, AnnotationExpiresAt: w.config.ExpiresAt()} {
		if !at.IsZero() {
			w.annotations[key] = at.UTC().Format(time.RFC3339)
		}
	}
}

// whileCalling is when a pass looks again for a credential that the cache is renewing right now.
const whileCalling = 5 * time.Second

// renewAt returns when a newer credential may be had: when the cache says. Zero means never.
func (s *Syncer) renewAt(w *want, e pullsecret.Entry) time.Time {
	now := time.Now()
	if s.Lookup == nil {
		return renewalWithout(e.Credential, now)
	}
	entry := s.Lookup(e.Profile)
	if w.held == nil {
		w.held = make(map[credentials.Key]time.Time, 1)
	}
	w.held[entry.Key] = e.Credential.IssuedAt
	switch at := entry.NextCall; {
	case at.IsZero():
		return at
	case entry.Calling:
		return earlier(at, now.Add(whileCalling))
	case at.Before(now.Add(time.Second)):
		return now.Add(time.Second)
	default:
		return at
	}
}

// renewalWithout returns when to ask for a newer credential where no cache says it: when the zero Policy has one renewed
// at the latest, and after that each time that a third of what is left has passed, as a cache tries again.
func renewalWithout(c credentials.Credential, now time.Time) time.Time {
	if c.ExpiresAt.IsZero() {
		return time.Time{}
	}
	issued := c.IssuedAt
	if issued.IsZero() {
		issued = now
	}
	if at := (credentials.Policy{}).RenewAt(issued, c.ExpiresAt, 1); at.After(now) {
		return at
	}
	return now.Add(min(max(c.ExpiresAt.Sub(now)/3, time.Second), 30*time.Minute))
}

// defaultWarnBefore leaves two working weeks to renew a login by hand.
const defaultWarnBefore = 14 * 24 * time.Hour

// warnBefore returns how early to warn; zero if not at all.
func (s *Syncer) warnBefore() time.Duration { return option.OrOff(s.WarnBefore, defaultWarnBefore) }

// warn returns a warning for each login that expires soon by itself.
func (s *Syncer) warn(t Target) []Problem {
	before := s.warnBefore()
	var warnings []Problem
	for _, p := range t.Profiles {
		at := p.Login.ExpiresAt
		if left := time.Until(at); !at.IsZero() && before > 0 && left <= before {
			warnings = append(warnings, Problem{Target: t.Name, Profile: p.Name,
				Err: fmt.Errorf("%w: on %s, in %s", registry.ErrLoginExpires, at.UTC().Format(time.RFC3339), left.Round(time.Minute))})
		}
	}
	return warnings
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
