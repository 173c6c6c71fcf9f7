package injecttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// A Cluster is a Kubernetes cluster in memory that behaves like a real one towards an [inject.Syncer]: each write
// gives an object a new version, a change that was planned on another version is a conflict, nothing can be created in
// a terminating namespace, and the type of a secret cannot be changed. It implements [World] too. The zero Cluster is
// empty and ready to use. A Cluster is safe for concurrent use.
type Cluster struct {
	// Before is called before each change of Apply. If it returns an error, Apply returns that error and does not make
	// the change. It may change the cluster, in order to cause conflicts. If nil, it is not called. Set it before the
	// first use.
	Before func(ctx context.Context, change inject.Change) error

	mu         sync.Mutex
	namespaces map[string]*space
	version    int
	writes     int
	reads      int
}

type space struct {
	uid         string
	labels      map[string]string
	terminating bool
	secrets     map[string]*secret
	accounts    map[string]*account
}

type secret struct {
	SecretObject
	version string
	// content is the fingerprint of the content at a version. It is cached because tests of many passes would spend
	// most of their time on it.
	content   credentials.Fingerprint
	contentOf string
}

type account struct {
	AccountObject
	version string
}

var (
	_ inject.Cluster = (*Cluster)(nil)
	_ World          = (*Cluster)(nil)
)

// Writes returns the number of changes that Apply has made.
func (c *Cluster) Writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// State returns the current objects.
func (c *Cluster) State(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	names := scope.Namespaces
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(c.namespaces))
	}
	var state []inject.Namespace
	for _, name := range names {
		if ns := c.namespaces[name]; ns != nil {
			state = append(state, ns.state(name, scope.Owner))
		}
	}
	return state, nil
}

// Read returns the content of a secret.
func (c *Cluster) Read(ctx context.Context, namespace, name string) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	if ns := c.namespaces[namespace]; ns != nil && ns.secrets[name] != nil {
		return slices.Clone(ns.secrets[name].Data[pullsecret.SecretKey]), nil
	}
	return nil, fmt.Errorf("read secret %s/%s: %w", namespace, name, registry.ErrConflict)
}

// Reads returns the number of calls of Read.
func (c *Cluster) Reads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads
}

func (ns *space) state(name, owner string) inject.Namespace {
	state := inject.Namespace{Name: name, UID: ns.uid, Labels: maps.Clone(ns.labels), Terminating: ns.terminating}
	for _, name := range slices.Sorted(maps.Keys(ns.secrets)) {
		s := ns.secrets[name]
		if s.Labels[inject.LabelOwner] != owner {
			continue
		}
		state.Secrets = append(state.Secrets, inject.PublishedSecret{
			Name: name, Version: s.version, Type: s.Type,
			Labels: maps.Clone(s.Labels), Annotations: maps.Clone(s.Annotations),
			Content: s.fingerprint(), Immutable: s.Immutable,
		})
	}
	for _, name := range slices.Sorted(maps.Keys(ns.accounts)) {
		a := ns.accounts[name]
		state.Accounts = append(state.Accounts, inject.Account{
			Name: name, Version: a.version, Labels: maps.Clone(a.Labels),
			PullSecrets: slices.Clone(a.PullSecrets), Linked: linked(a.Annotations, owner),
		})
	}
	return state
}

func (s *secret) fingerprint() credentials.Fingerprint {
	if s.contentOf != s.version {
		s.content, s.contentOf = inject.Fingerprint(s.Data[pullsecret.SecretKey]), s.version
	}
	return s.content
}

func linked(annotations map[string]string, owner string) []string {
	list := annotations[inject.LinkedAnnotation(owner)]
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// Apply makes one change.
func (c *Cluster) Apply(ctx context.Context, change inject.Change) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.Before != nil {
		if err := c.Before(ctx, change); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ns := c.namespaces[change.Namespace]
	if ns == nil {
		return fmt.Errorf("namespace %s: %w", change.Namespace, registry.ErrNamespaceGone)
	}
	if err := c.apply(ns, change); err != nil {
		return fmt.Errorf("%s %s/%s: %w", change.Action, change.Namespace, change.Name, err)
	}
	c.writes++
	return nil
}

func (c *Cluster) apply(ns *space, change inject.Change) error {
	have := ns.secrets[change.Name]
	stale := have == nil || have.version != change.Version
	switch change.Action {
	case inject.CreateSecret:
		switch {
		case ns.terminating:
			return registry.ErrNamespaceGone
		case have != nil && have.Labels[inject.LabelOwner] != change.Owner:
			return registry.ErrNameTaken
		case have != nil:
			return registry.ErrConflict
		}
		c.create(ns, change.Secret)
	case inject.UpdateSecret:
		if stale {
			return registry.ErrConflict
		}
		content := change.Secret.Config.Reveal()
		if have.Immutable && !bytes.Equal(have.Data[pullsecret.SecretKey], content) {
			return registry.ErrSecretImmutable
		}
		have.Labels = merged(have.Labels, change.Secret.Labels)
		have.Annotations = merged(have.Annotations, change.Secret.Annotations)
		have.Data = merged(have.Data, map[string][]byte{pullsecret.SecretKey: content})
		have.version = c.next()
	case inject.ReplaceSecret:
		switch {
		case ns.terminating:
			return registry.ErrNamespaceGone
		case stale:
			return registry.ErrConflict
		}
		c.create(ns, change.Secret)
	case inject.DeleteSecret:
		if have != nil && stale {
			return registry.ErrConflict
		}
		delete(ns.secrets, change.Name)
	case inject.LinkAccount:
		a := ns.accounts[change.Name]
		if a == nil || a.version != change.Version {
			return registry.ErrConflict
		}
		a.link(change)
		a.version = c.next()
	default:
		return errors.New("no such action")
	}
	return nil
}

func (c *Cluster) create(ns *space, s pullsecret.Secret) {
	ns.secrets[s.Name] = &secret{SecretObject: SecretObject{
		Name: s.Name, UID: "uid-" + c.next(), Type: pullsecret.SecretType,
		Labels: maps.Clone(s.Labels), Annotations: maps.Clone(s.Annotations),
		Data: map[string][]byte{pullsecret.SecretKey: s.Config.Reveal()},
	}, version: c.next()}
}

func (a *account) link(change inject.Change) {
	owned := linked(a.Annotations, change.Owner)
	for _, name := range change.Link {
		if !slices.Contains(a.PullSecrets, name) {
			a.PullSecrets = append(a.PullSecrets, name)
		}
		if !slices.Contains(owned, name) {
			owned = append(owned, name)
		}
	}
	gone := func(name string) bool { return slices.Contains(change.Unlink, name) }
	a.PullSecrets = slices.DeleteFunc(a.PullSecrets, gone)
	owned = slices.DeleteFunc(owned, gone)
	key := inject.LinkedAnnotation(change.Owner)
	if len(owned) == 0 {
		delete(a.Annotations, key)
		return
	}
	a.Annotations = merged(a.Annotations, map[string]string{key: strings.Join(owned, ",")})
}

func (c *Cluster) next() string {
	c.version++
	return strconv.Itoa(c.version)
}

func merged[V any](m, changes map[string]V) map[string]V {
	if m == nil {
		return maps.Clone(changes)
	}
	maps.Copy(m, changes)
	return m
}
