package injecttest

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// A scene is the environment of one rule: a namespace of its own, with an account.
type scene struct {
	Fixture
	ns    string
	owner string
	made  []string // Namespaces.
}

const (
	accountName = "builder"
	secretName  = "regcred"
	password    = "hunter22-and-more"
)

func newScene(ctx context.Context, fx Fixture) (*scene, error) {
	sc := &scene{Fixture: fx, owner: "conformance"}
	name, err := sc.namespace(ctx, map[string]string{"team": "a"})
	if err != nil {
		return nil, err
	}
	sc.ns = name
	account := AccountObject{Name: accountName, Labels: map[string]string{"tier": "build"}, Annotations: map[string]string{"example.com/note": "mine"}, PullSecrets: []string{"theirs-1", "theirs-2"}}
	if err := fx.World.WriteAccount(ctx, name, account); err != nil {
		return nil, err
	}
	return sc, sc.eventually(ctx, "the account", func(ns inject.Namespace) bool { return findAccount(ns, accountName) != nil })
}

// namespace creates a namespace, and waits until State returns it.
func (sc *scene) namespace(ctx context.Context, labels map[string]string) (string, error) {
	name := "rule-" + strings.ToLower(rand.Text()[:12])
	if err := sc.World.CreateNamespace(ctx, name, labels); err != nil {
		return "", err
	}
	sc.made = append(sc.made, name)
	return name, sc.eventuallyIn(ctx, name, "the namespace", func(inject.Namespace) bool { return true })
}

func (sc *scene) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, name := range sc.made {
		_ = sc.World.DeleteNamespace(ctx, name) // A rule may have deleted it.
	}
}

// now returns the namespace as State returns it.
func (sc *scene) now(ctx context.Context) (inject.Namespace, error) {
	state, err := sc.Cluster.State(ctx, inject.Scope{Owner: sc.owner, Namespaces: []string{sc.ns}})
	if err != nil {
		return inject.Namespace{}, err
	}
	if len(state) != 1 || state[0].Name != sc.ns {
		return inject.Namespace{}, fmt.Errorf("State shows %d namespaces for the name of one", len(state))
	}
	return state[0], nil
}

// secret returns the secret as State returns it; it must exist.
func (sc *scene) secret(ctx context.Context) (*inject.PublishedSecret, error) {
	ns, err := sc.now(ctx)
	if err != nil {
		return nil, err
	}
	s := findSecret(ns, secretName)
	if s == nil {
		return nil, fmt.Errorf("State shows no secret %s", secretName)
	}
	return s, nil
}

// account returns the account as State returns it; it must exist.
func (sc *scene) account(ctx context.Context) (*inject.Account, error) {
	ns, err := sc.now(ctx)
	if err != nil {
		return nil, err
	}
	a := findAccount(ns, accountName)
	if a == nil {
		return nil, fmt.Errorf("State shows no account %s", accountName)
	}
	return a, nil
}

func (sc *scene) eventually(ctx context.Context, what string, ok func(inject.Namespace) bool) error {
	return sc.eventuallyIn(ctx, sc.ns, what, ok)
}

// eventuallyIn waits until State shows a change by another client.
func (sc *scene) eventuallyIn(ctx context.Context, namespace, what string, ok func(inject.Namespace) bool) error {
	return sc.poll(ctx, namespace, what, func(state []inject.Namespace) bool { return len(state) == 1 && ok(state[0]) })
}

// poll calls State for one namespace until ok accepts the result.
func (sc *scene) poll(ctx context.Context, namespace, what string, ok func(state []inject.Namespace) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, sc.patience(), fmt.Errorf("State does not show %s within %s", what, sc.patience()))
	defer cancel()
	for {
		state, err := sc.Cluster.State(ctx, inject.Scope{Owner: sc.owner, Namespaces: []string{namespace}})
		if err != nil {
			return err
		}
		if ok(state) {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// change returns a change of the secret or the account.
func (sc *scene) change(action inject.Action, version, password string) inject.Change {
	c := inject.Change{Action: action, Owner: sc.owner, Namespace: sc.ns, Name: secretName, Version: version}
	switch action {
	case inject.CreateSecret, inject.UpdateSecret, inject.ReplaceSecret:
		c.Secret = sc.build(password)
	case inject.LinkAccount:
		c.Name = accountName
	}
	return c
}

func (sc *scene) build(password string) pullsecret.Secret {
	config, err := pullsecret.Build(pullsecret.Entry{
		Profile:    registry.Profile{Name: "team", Kind: registry.Custom, Endpoint: "registry.example.com"},
		Credential: credentials.Credential{Username: "robot", Password: credentials.NewSecret(password)},
	})
	if err != nil {
		panic(err) // Only a mistake in this file can cause it.
	}
	return pullsecret.Secret{
		Name: secretName, Namespace: sc.ns, Config: config,
		Labels:      map[string]string{inject.LabelManagedBy: "regcred", inject.LabelOwner: sc.owner},
		Annotations: map[string]string{inject.AnnotationProfiles: "team"},
	}
}

// create creates the secret, and returns it as State returns it.
func (sc *scene) create(ctx context.Context, password string) (*inject.PublishedSecret, error) {
	if err := sc.Cluster.Apply(ctx, sc.change(inject.CreateSecret, "", password)); err != nil {
		return nil, err
	}
	return sc.secret(ctx)
}

// object returns the stored secret; it must exist.
func (sc *scene) object(ctx context.Context) (*SecretObject, error) {
	s, err := sc.World.Secret(ctx, sc.ns, secretName)
	if err == nil && s == nil {
		err = fmt.Errorf("there is no secret %s", secretName)
	}
	return s, err
}

// pullSecrets returns the pull secrets of the stored account.
func (sc *scene) pullSecrets(ctx context.Context) ([]string, error) {
	a, err := sc.World.Account(ctx, sc.ns, accountName)
	if err == nil && a == nil {
		err = fmt.Errorf("there is no account %s", accountName)
	}
	if err != nil {
		return nil, err
	}
	return a.PullSecrets, nil
}

// tamper changes the secret as another client, and does not wait until the change is visible.
func (sc *scene) tamper(ctx context.Context, change func(s *SecretObject)) error {
	s, err := sc.object(ctx)
	if err != nil {
		return err
	}
	for _, m := range []*map[string]string{&s.Labels, &s.Annotations} {
		if *m == nil {
			*m = make(map[string]string)
		}
	}
	change(s)
	return sc.World.WriteSecret(ctx, sc.ns, *s)
}

func findSecret(ns inject.Namespace, name string) *inject.PublishedSecret {
	i := slices.IndexFunc(ns.Secrets, func(s inject.PublishedSecret) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &ns.Secrets[i]
}

func findAccount(ns inject.Namespace, name string) *inject.Account {
	i := slices.IndexFunc(ns.Accounts, func(a inject.Account) bool { return a.Name == name })
	if i < 0 {
		return nil
	}
	return &ns.Accounts[i]
}
