package inject

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/internal/panics"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// A want is the secret that a target needs in every namespace that it selects, as found by one pass.
type want struct {
	*record

	config  pullsecret.Config
	content credentials.Fingerprint
	// annotations are the annotations of the target, and those that the Syncer adds.
	annotations map[string]string

	// issuedAt is the issue time of the newest credential in the secret. held has all credentials.
	issuedAt time.Time
	held     []held

	// contentUnknown is true if a credential is missing. Then the published secrets stay unchanged.
	contentUnknown bool
	// invalid is true if the target does not pass Validate. Because its selection is unknown, its published secrets
	// stay in all namespaces.
	invalid bool
	// renewAt is the instant of the next call for the credentials.
	renewAt time.Time
	// changed is true if the pass is the first one with this content. It is written under the mutex of the Syncer.
	changed bool
}

// wants holds the desired secrets of a pass.
type wants struct {
	mu   *sync.RWMutex // Guards the index of the work.
	work work
	made map[*record]*want
}

// in returns the wants that select the namespace, or whose selection is unknown, in the order of the targets.
func (w *wants) in(ns Namespace) []*want {
	w.mu.RLock()
	defer w.mu.RUnlock()
	records := w.work.index.in(ns)
	found := make([]*want, 0, len(records))
	for _, r := range records {
		if one := w.made[r]; one != nil { // Otherwise the pass does not cover it, or it was added later.
			found = append(found, one)
		}
	}
	return found
}

// want returns the desired secrets of the targets in the state, their problems, and their warnings. It fetches only
// credentials that some namespace in the state needs.
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
	if len(w.namespaces) == 0 { // An invalid target is reported even if no namespace exists.
		s.mu.RLock()
		for _, r := range w.index.patterns {
			if r.err != nil && chosen.made[r] == nil && w.about(r.Name) {
				chosen.made[r] = &want{record: r, contentUnknown: true, invalid: true}
			}
		}
		s.mu.RUnlock()
	}

	problems = append(problems, s.adopt(ctx, w, chosen.made, state)...)

	list := slices.AppendSeq(make([]*want, 0, len(chosen.made)), maps.Values(chosen.made))
	var mu sync.Mutex // Guards problems and warnings.
	var next atomic.Int64
	ask := func() {
		var entries []pullsecret.Entry
		for i := next.Add(1) - 1; i < int64(len(list)); i = next.Add(1) - 1 {
			one := list[i]
			var found []Problem
			if one.invalid {
				found = []Problem{{Target: one.Name, Err: one.err}}
			} else {
				entries, found = s.fill(ctx, one, entries[:0])
			}
			warned := s.warn(&one.Target)
			if w.own && ctx.Err() == nil {
				s.noteContent(one, found, warned)
			}
			if len(found)+len(warned) > 0 {
				mu.Lock()
				problems, warnings = append(problems, found...), append(warnings, warned...)
				mu.Unlock()
			}
		}
	}
	var asking sync.WaitGroup
	for range min(len(list), maxAsked) - 1 {
		asking.Go(ask)
	}
	ask()
	asking.Wait()
	return chosen, problems, warnings
}

const (
	// maxAsked is the number of targets whose credentials are fetched at once. Nearly all are in a cache.
	maxAsked = 64
	// credentialRetry is the wait before a pass calls Credential again after a failure. The cache decides how often
	// the issuer is called.
	credentialRetry = 30 * time.Second
)

// fill fetches the credentials of the target and builds its secret. It returns entries, which is a buffer.
func (s *Syncer) fill(ctx context.Context, w *want, entries []pullsecret.Entry) ([]pullsecret.Entry, []Problem) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.credentialTimeout(), late(s.credentialTimeout()))
	defer cancel()
	var problems []Problem
	profiles := w.Profiles
	if len(s.Mirrored) > 0 {
		profiles = slices.DeleteFunc(slices.Clone(profiles), func(p registry.Profile) bool { return s.mirrored(p) != "" })
	}
	for _, profile := range profiles {
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
			problems = append(problems, Problem{Target: w.Name, Err: err, RetryAt: time.Now().Add(unsolvedRetry)})
		}
		w.config = config
	}
	if problems != nil {
		w.contentUnknown = true
		return entries, problems
	}
	return entries, w.mark(s, entries)
}

// credential calls Syncer.Credential.
func (s *Syncer) credential(ctx context.Context, profile registry.Profile) (c credentials.Credential, err error) {
	err = panics.Call("Syncer.Credential", func() error {
		if c, err = s.Credential(ctx, profile); err != nil {
			return err
		}
		return c.Validate(time.Now())
	})
	return c, err
}

// A late is the error for a credential that did not arrive within a time. The text is formatted only when needed.
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

// mark sets the fields that are derived from the content. It returns the panics of Lookup.
func (w *want) mark(s *Syncer, entries []pullsecret.Entry) (problems []Problem) {
	if len(w.config.Keys()) > 0 {
		w.content = Fingerprint(w.config.Reveal())
	}
	w.annotations = maps.Clone(w.Annotations)
	if w.annotations == nil {
		w.annotations = make(map[string]string, 3)
	}
	for i := range entries {
		e := &entries[i]
		if e.Credential.IssuedAt.After(w.issuedAt) {
			w.issuedAt = e.Credential.IssuedAt
		}
		at, err := s.renewAt(w, e)
		if err != nil {
			problems = append(problems, Problem{Target: w.Name, Profile: e.Profile.Name, Err: err, RetryAt: time.Now().Add(unsolvedRetry)})
		}
		w.renewAt = earlier(w.renewAt, at)
	}
	w.annotations[AnnotationProfiles] = w.profiles
	if len(entries) < len(w.Profiles) {
		published := make([]registry.Profile, len(entries))
		for i, e := range entries {
			published[i] = e.Profile
		}
		w.annotations[AnnotationProfiles] = profileNames(published)
	}
	if origins := s.origins(entries); origins != "" {
		w.annotations[AnnotationOrigin] = origins
	}
	stamp := func(key string, at time.Time) {
		if !at.IsZero() {
			w.annotations[key] = at.UTC().Format(time.RFC3339)
		}
	}
	stamp(AnnotationIssuedAt, w.issuedAt)
	stamp(AnnotationExpiresAt, w.config.ExpiresAt())
	return problems
}

// lookup calls Lookup.
func (s *Syncer) lookup(p registry.Profile) (entry credentials.Entry, err error) {
	err = panics.Call("Syncer.Lookup", func() error {
		entry = s.Lookup(p)
		return nil
	})
	return entry, err
}

const (
	// whileCalling is the wait before a pass looks again for a credential whose renewal by the cache is in progress.
	whileCalling = 5 * time.Second
	// soonest is the wait before a pass looks again for a credential that is renewed already, or is due.
	soonest = time.Second
)

// renewAt returns the instant at which a newer credential may be available, according to the cache. Zero means never.
// If Lookup panics, it also returns an error.
func (s *Syncer) renewAt(w *want, e *pullsecret.Entry) (time.Time, error) {
	now := time.Now()
	if s.Lookup == nil {
		return renewalWithout(e.Credential, now), nil
	}
	entry, err := s.lookup(e.Profile)
	if err != nil {
		return renewalWithout(e.Credential, now), err
	}
	return s.nextCall(w, e, entry, now), nil
}

func (s *Syncer) nextCall(w *want, e *pullsecret.Entry, entry credentials.Entry, now time.Time) time.Time {
	w.held = append(w.held, held{entry.Key, e.Credential.IssuedAt})
	issued := e.Credential.IssuedAt
	switch at := entry.NextCall; {
	case entry.Usable && !issued.IsZero() && entry.IssuedAt.After(issued):
		return now.Add(soonest) // The cache has renewed it since Credential returned it.
	case at.IsZero() && !entry.Usable: // The cache has dropped it since, and nothing has requested a new one.
		return renewalWithout(e.Credential, now)
	case at.IsZero():
		return at
	case entry.Calling:
		return earlier(at, now.Add(whileCalling))
	case at.Before(now.Add(soonest)):
		return now.Add(soonest)
	default:
		return at
	}
}

// renewalWithout returns the instant of the next call for a newer credential if there is no Lookup. It is the latest
// renewal of the zero Policy and, after that, a third of the remaining lifetime later each time, as a cache retries.
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

// defaultWarnBefore leaves two working weeks to renew a login manually.
const defaultWarnBefore = 14 * 24 * time.Hour

// warnBefore returns the time before the expiry at which to warn; zero disables warnings.
func (s *Syncer) warnBefore() time.Duration { return option.OrOff(s.WarnBefore, defaultWarnBefore) }

// warn returns a warning for each login that will soon expire by itself, and for each profile that is left out.
func (s *Syncer) warn(t *Target) []Problem {
	before := s.warnBefore()
	warnings := s.warnMirrored(t)
	for _, p := range t.Profiles {
		at := p.Login.ExpiresAt
		if left := time.Until(at); !at.IsZero() && before > 0 && left <= before {
			warnings = append(warnings, Problem{Target: t.Name, Profile: p.Name,
				Err: fmt.Errorf("%w: on %s, in %s", registry.ErrLoginExpires, at.UTC().Format(time.RFC3339), left.Round(time.Minute))})
		}
	}
	return warnings
}

// earlier returns the earlier of two instants, where zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (s *Syncer) credentialTimeout() time.Duration {
	return option.OrDefault(s.CredentialTimeout, defaultCredentialTimeout)
}
