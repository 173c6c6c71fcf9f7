package login

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/regcred/regcred/systemregistry/store"
)

// Sessions stores the open sessions of browsers, so that each of them can be ended: the token in a browser's cookie is
// valid only as long as its session is in the store. It is safe for concurrent use.
type Sessions struct {
	// Store stores the sessions. It must be set.
	Store store.Store
}

// A Session is one session of a person.
type Session struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	// Client is the address from which the person logged in. Agent is the User-Agent header of the browser.
	Client string `json:"client"`
	Agent  string `json:"agent,omitempty"`
}

const (
	sessionPrefix = "session/"
	// maxSessions limits the open sessions of one account. A further login ends the oldest one.
	maxSessions = 20
	maxAgent    = 200
)

// No part of an account's name has a slash.
func sessionsOf(account string) string { return sessionPrefix + account + "/" }

// Open stores a new session of the account, and returns it.
func (s Sessions) Open(ctx context.Context, account, client, agent string, expires time.Time) (Session, error) {
	open, err := s.List(ctx, account)
	if err != nil {
		return Session{}, err
	}
	for i, old := range open { // The newest first.
		if i >= maxSessions-1 {
			if err := s.End(ctx, account, old.ID); err != nil {
				return Session{}, err
			}
		}
	}
	made := Session{rand.Text(), time.Now().UTC(), expires.UTC(), client, agent[:min(len(agent), maxAgent)]}
	value, err := json.Marshal(made)
	if err == nil {
		_, err = s.Store.Put(ctx, sessionsOf(account)+made.ID, value, 0)
	}
	if err != nil {
		return Session{}, fmt.Errorf("open session: %w", err)
	}
	return made, nil
}

// Active reports whether the session is open.
func (s Sessions) Active(ctx context.Context, account, id string) (bool, error) {
	if id == "" {
		return false, nil
	}
	_, err := s.Store.Get(ctx, sessionsOf(account)+id)
	if errors.Is(err, store.ErrNoKey) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read session: %w", err)
	}
	return true, nil
}

// List returns the open sessions of the account, newest first.
func (s Sessions) List(ctx context.Context, account string) ([]Session, error) {
	var open []Session
	for e, err := range s.Store.List(ctx, sessionsOf(account)) {
		if err != nil {
			return nil, fmt.Errorf("list sessions: %w", err)
		}
		var one Session
		if json.Unmarshal(e.Value, &one) == nil && time.Now().Before(one.ExpiresAt) {
			open = append(open, one)
		}
	}
	slices.SortFunc(open, func(a, b Session) int { return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID)) })
	return open, nil
}

// End ends one session of the account, or all of them if the ID is empty. Ending a session that is not open is no
// error.
func (s Sessions) End(ctx context.Context, account, id string) error {
	if id != "" {
		return s.end(ctx, sessionsOf(account)+id)
	}
	for e, err := range s.Store.List(ctx, sessionsOf(account)) {
		if err == nil {
			err = s.end(ctx, e.Key)
		}
		if err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
	}
	return nil
}

func (s Sessions) end(ctx context.Context, key string) error {
	if err := s.Store.Delete(ctx, key, 0); err != nil && !errors.Is(err, store.ErrNoKey) {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// Purge removes sessions that have expired. Call it periodically.
func (s Sessions) Purge(ctx context.Context) error {
	for e, err := range s.Store.List(ctx, sessionPrefix) {
		var one Session
		if err == nil && (json.Unmarshal(e.Value, &one) != nil || !time.Now().Before(one.ExpiresAt)) {
			err = s.end(ctx, e.Key)
		}
		if err != nil {
			return fmt.Errorf("purge sessions: %w", err)
		}
	}
	return nil
}
