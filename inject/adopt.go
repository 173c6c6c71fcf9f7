package inject

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/panics"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// SetAdoptionKey replaces [Syncer.AdoptionKey] while the Syncer is in use, and makes a pass over all namespaces due,
// which signs the published secrets with the new key. The pass calls no issuer and changes no credential. Another
// process adopts nothing from those secrets until it has the new key, too. Call it for all Syncers that share a cache. A zero
// key ends adoption. If the key is shorter than 16 bytes, the error wraps [registry.ErrInvalid], and the previous key
// stays in use.
func (s *Syncer) SetAdoptionKey(key credentials.Secret) error {
	if err := checkAdoptionKey(key); err != nil {
		return err
	}
	s.rotated.Store(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	s.visitAll()
	return nil
}

func checkAdoptionKey(key credentials.Secret) error {
	if n := key.Len(); n > 0 && n < minAdoptionKey {
		return fmt.Errorf("%w: Syncer.AdoptionKey has %d bytes: expected at least %d random ones", registry.ErrInvalid, n, minAdoptionKey)
	}
	return nil
}

func (s *Syncer) adoptionKey() credentials.Secret {
	if key := s.rotated.Load(); key != nil {
		return *key
	}
	return s.AdoptionKey
}

// minAdoptionKey is the minimum length of a key in bytes, which rejects a word, or a key that is too short by mistake.
const minAdoptionKey = 16

// An origin is the entry of one profile in [AnnotationOrigin]: "name issued expires signature".
type origin struct {
	profile             string
	issuedAt, expiresAt time.Time
	signature           string
}

// signed returns the origin of a credential, with its signature.
func (s *Syncer) signed(p registry.Profile, c credentials.Credential) origin {
	h := credentials.NewKeyedHasher(s.adoptionKey(), "published credential")
	p.HashInputs(h)
	h.Text(c.Username)
	h.Secret(c.Password)
	h.Time(c.IssuedAt)
	h.Time(c.ExpiresAt)
	sum := h.Sum()
	return origin{p.Name, c.IssuedAt, c.ExpiresAt, hex.EncodeToString(sum[:])}
}

// origins returns the annotation for the entries of a secret. It is empty without a key, or if no entry can be
// adopted.
func (s *Syncer) origins(entries []pullsecret.Entry) string {
	if s.adoptionKey().IsZero() {
		return ""
	}
	var lines []string
	for _, e := range entries {
		if c := e.Credential; !c.Anonymous && !c.IssuedAt.IsZero() && !c.ExpiresAt.IsZero() {
			o := s.signed(e.Profile, c)
			stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
			lines = append(lines, strings.Join([]string{o.profile, stamp(o.issuedAt), stamp(o.expiresAt), o.signature}, " "))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, ";")
}

// originOf parses the annotation's entry for a profile. The annotation is untrusted, because other clients can write
// it.
func originOf(annotation, profile string) (origin, bool) {
	for line := range strings.SplitSeq(annotation, ";") {
		parts := strings.Split(line, " ")
		if len(parts) != 4 || parts[0] != profile {
			continue
		}
		o := origin{profile: profile, issuedAt: instant(parts[1]), expiresAt: instant(parts[2]), signature: parts[3]}
		return o, !o.issuedAt.IsZero() && !o.expiresAt.IsZero()
	}
	return origin{}, false
}

// A candidate is a published secret that may hold a newer credential of a profile than the cache does.
type candidate struct {
	origin
	from            registry.Profile
	namespace, name string
	content         credentials.Fingerprint
}

// maxCandidates limits how many secrets are read for one credential, if the newest ones turn out to be edited or
// signed with another key.
const maxCandidates = 3

// adopt puts published credentials that are newer than the cached ones into the cache. It reads one secret for each. It
// returns the panics of functions of the program.
func (s *Syncer) adopt(ctx context.Context, w work, made map[*record]*want, state []Namespace) (problems []Problem) {
	if s.adoptionKey().IsZero() || s.Adopt == nil || s.Lookup == nil {
		return nil
	}
	var mu sync.Mutex // Guards problems.
	best := s.candidates(w, made, state)
	var reading sync.WaitGroup
	places := make(chan struct{}, maxAsked)
	for _, found := range best {
		places <- struct{}{}
		reading.Go(func() {
			defer func() { <-places }()
			for _, c := range found {
				if ctx.Err() != nil {
					return
				}
				adopted, err := s.adoptOne(ctx, c)
				if err != nil {
					mu.Lock()
					problems = append(problems, Problem{Target: c.name, Profile: c.from.Name, Namespace: c.namespace, Name: c.name, Err: err})
					mu.Unlock()
				}
				if adopted {
					return
				}
			}
		})
	}
	reading.Wait()
	return problems
}

// candidates returns the newest published secrets that may hold a credential, for each credential that the cache lacks
// or has only an older version of.
func (s *Syncer) candidates(w work, made map[*record]*want, state []Namespace) map[credentials.Key][]candidate {
	best := make(map[credentials.Key][]candidate)
	cached := make(map[*record][]credentials.Entry)
	now := time.Now()
	for _, ns := range state {
		for _, have := range ns.Secrets {
			s.mu.RLock()
			r := w.index.byName[have.Name]
			s.mu.RUnlock()
			annotation := have.Annotations[AnnotationOrigin]
			if r == nil || made[r] == nil || made[r].contentUnknown || annotation == "" || have.Deleting || have.Type != pullsecret.SecretType {
				continue
			}
			if cached[r] == nil {
				for _, p := range r.Profiles {
					entry, err := s.lookup(p)
					entry.Calling = entry.Calling || err != nil // Nothing is adopted. The pass reports the panic later.
					cached[r] = append(cached[r], entry)
				}
			}
			for i, p := range r.Profiles {
				entry := cached[r][i]
				o, ok := originOf(annotation, p.Name)
				if !ok || !now.Before(o.expiresAt) || entry.Calling || entry.Usable && !o.issuedAt.After(entry.IssuedAt) {
					continue
				}
				c := candidate{o, p, ns.Name, have.Name, have.Content}
				best[entry.Key] = better(best[entry.Key], c)
			}
		}
	}
	return best
}

// better inserts a candidate into the list of the newest candidates, sorted from new to old. It drops a candidate
// whose content is already in the list.
func better(list []candidate, c candidate) []candidate {
	if slices.ContainsFunc(list, func(other candidate) bool { return other.content == c.content }) {
		return list
	}
	at, _ := slices.BinarySearchFunc(list, c, func(a, b candidate) int { return b.issuedAt.Compare(a.issuedAt) })
	list = slices.Insert(list, at, c)
	return list[:min(len(list), maxCandidates)]
}

// adoptOne reads a published secret, and adopts its credential if the signature is correct. A secret that cannot be
// read or does not verify is not reported as a problem: a new credential is issued instead. The error is a panic of Adopt
// or OnAdopt.
func (s *Syncer) adoptOne(ctx context.Context, c candidate) (adopted bool, panicked error) {
	data, err := s.Cluster.Read(ctx, c.namespace, c.name)
	if err != nil {
		return false, nil
	}
	config, err := pullsecret.Parse(data)
	if err != nil {
		return false, nil
	}
	endpoint, err := c.from.MainEndpoint()
	if err != nil {
		return false, nil
	}
	published, ok := config.Credential(endpoint.Key())
	if !ok {
		return false, nil
	}
	published.IssuedAt, published.ExpiresAt = c.issuedAt, c.expiresAt
	if s.signed(c.from, published).signature != c.signature {
		return false, nil
	}
	panicked = panics.Call("Syncer.Adopt", func() error {
		adopted = s.Adopt(c.from, published)
		return nil
	})
	if adopted && s.OnAdopt != nil {
		panicked = panics.Call("Syncer.OnAdopt", func() error {
			s.OnAdopt(c.from, c.namespace, c.name)
			return nil
		})
	}
	return adopted, panicked
}
