package injecttest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// broken is a correct cluster, except for the functions that are set.
type broken struct {
	*injecttest.Cluster
	state func(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error)
	apply func(ctx context.Context, c inject.Change) error
	read  func(ctx context.Context, namespace, name string) ([]byte, error)
}

func (b broken) Read(ctx context.Context, namespace, name string) ([]byte, error) {
	if b.read != nil {
		return b.read(ctx, namespace, name)
	}
	return b.Cluster.Read(ctx, namespace, name)
}

func (b broken) State(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
	if b.state != nil {
		return b.state(ctx, scope)
	}
	return b.Cluster.State(ctx, scope)
}

func (b broken) Apply(ctx context.Context, c inject.Change) error {
	if b.apply != nil {
		return b.apply(ctx, c)
	}
	return b.Cluster.Apply(ctx, c)
}

type memory = injecttest.Cluster

// showing returns a cluster whose State spoils each namespace.
func showing(c *memory, spoil func(ns *inject.Namespace)) broken {
	return broken{Cluster: c, state: func(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
		state, err := c.State(ctx, scope)
		for i := range state {
			spoil(&state[i])
		}
		return state, err
	}}
}

// on is a cluster that does something of its own for an action.
func on(c *memory, action inject.Action, apply func(ctx context.Context, change inject.Change) error) broken {
	return broken{Cluster: c, apply: func(ctx context.Context, change inject.Change) error {
		if change.Action == action {
			return apply(ctx, change)
		}
		return c.Apply(ctx, change)
	}}
}

// blind returns a cluster that makes the action regardless of the version.
func blind(c *memory, action inject.Action) broken {
	return on(c, action, func(ctx context.Context, change inject.Change) error {
		change.Version = current(ctx, c, change)
		return c.Apply(ctx, change)
	})
}

func current(ctx context.Context, c *memory, change inject.Change) string {
	state, _ := c.State(ctx, inject.Scope{Owner: change.Owner, Namespaces: []string{change.Namespace}})
	for _, ns := range state {
		for _, s := range ns.Secrets {
			if s.Name == change.Name && change.Action != inject.LinkAccount {
				return s.Version
			}
		}
		for _, a := range ns.Accounts {
			if a.Name == change.Name && change.Action == inject.LinkAccount {
				return a.Version
			}
		}
	}
	return change.Version
}

// write overwrites the secret of the change unconditionally.
func write(ctx context.Context, c *memory, change inject.Change, spoil func(o *injecttest.SecretObject)) error {
	o := injecttest.SecretObject{
		Name: change.Name, Type: pullsecret.SecretType, Labels: change.Secret.Labels, Annotations: change.Secret.Annotations,
		Data: map[string][]byte{pullsecret.SecretKey: change.Secret.Config.Reveal()},
	}
	if spoil != nil {
		spoil(&o)
	}
	return c.WriteSecret(ctx, change.Namespace, o)
}

// lagging returns a cluster that, for a while, returns the first state of a namespace again.
func lagging(c *memory) broken {
	var mu sync.Mutex
	seen := make(map[string][]inject.Namespace)
	return broken{Cluster: c, state: func(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
		mu.Lock()
		defer mu.Unlock()
		state, err := c.State(ctx, scope)
		if old := seen[fmt.Sprint(scope)]; len(old) == 1 && len(state) == 1 && len(old[0].Accounts) == len(state[0].Accounts) {
			return old, nil
		}
		seen[fmt.Sprint(scope)] = state
		return state, err
	}}
}

// breaks has, for each rule, a cluster that breaks it.
var breaks = map[string]func(c *memory) broken{
	"State: namespaces have their labels": func(c *memory) broken {
		return showing(c, func(ns *inject.Namespace) { ns.Labels = nil })
	},
	"State: namespaces have their UIDs": func(c *memory) broken {
		return showing(c, func(ns *inject.Namespace) { ns.UID = ns.Name })
	},
	"State: only namespaces in the scope are shown": func(c *memory) broken {
		return broken{Cluster: c, state: func(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
			state, err := c.State(ctx, scope)
			if slices.Contains(scope.Namespaces, "no-such-namespace") {
				state = append(state, inject.Namespace{Name: "no-such-namespace"})
			}
			return state, err
		}}
	},
	"State: only secrets of the owner are shown": func(c *memory) broken {
		return broken{Cluster: c, state: func(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
			state, err := c.State(ctx, scope)
			scope.Owner = "somebody"
			others, _ := c.State(ctx, scope)
			for i := range state {
				state[i].Secrets = append(state[i].Secrets, others[i].Secrets...)
			}
			return state, err
		}}
	},
	"State: what was just written is shown at once": lagging,
	"State: what others change is shown": func(c *memory) broken {
		return showing(c, func(ns *inject.Namespace) {
			for i := range ns.Secrets {
				ns.Secrets[i].Content = inject.Fingerprint([]byte("what we wrote"))
			}
		})
	},
	"State: accounts are shown with their pull secrets in order": func(c *memory) broken {
		return showing(c, func(ns *inject.Namespace) {
			for i := range ns.Accounts {
				slices.Reverse(ns.Accounts[i].PullSecrets)
			}
		})
	},
	"CreateSecret: the whole secret is written": func(c *memory) broken {
		return on(c, inject.CreateSecret, func(ctx context.Context, change inject.Change) error {
			change.Secret.Annotations = nil
			return c.Apply(ctx, change)
		})
	},
	"CreateSecret: what is foreign stays as it is": func(c *memory) broken {
		return on(c, inject.CreateSecret, func(ctx context.Context, change inject.Change) error {
			err := c.Apply(ctx, change)
			if errors.Is(err, registry.ErrNameTaken) {
				return write(ctx, c, change, func(o *injecttest.SecretObject) { o.Type = "Opaque" })
			}
			return err
		})
	},
	"CreateSecret: one that is there is a conflict": func(c *memory) broken {
		return on(c, inject.CreateSecret, func(ctx context.Context, change inject.Change) error {
			if err := c.Apply(ctx, change); !errors.Is(err, registry.ErrConflict) {
				return err
			}
			return write(ctx, c, change, nil)
		})
	},
	"UpdateSecret: it happens in place, and what others have put there stays": func(c *memory) broken {
		return on(c, inject.UpdateSecret, func(ctx context.Context, change inject.Change) error { return write(ctx, c, change, nil) })
	},
	"UpdateSecret: what has changed since is a conflict": func(c *memory) broken { return blind(c, inject.UpdateSecret) },
	"UpdateSecret: the content of an immutable secret stays": func(c *memory) broken {
		return showing(c, func(ns *inject.Namespace) {
			for i := range ns.Secrets {
				ns.Secrets[i].Immutable = false
			}
		})
	},
	"Read: it returns the content, and a conflict if the secret is gone": func(c *memory) broken {
		return broken{Cluster: c, read: func(ctx context.Context, namespace, name string) ([]byte, error) {
			data, _ := c.Read(ctx, namespace, name)
			return data, nil
		}}
	},
	"ReplaceSecret: the secret gets the right type": func(c *memory) broken {
		return on(c, inject.ReplaceSecret, func(ctx context.Context, change inject.Change) error {
			change.Action = inject.UpdateSecret
			return c.Apply(ctx, change)
		})
	},
	"ReplaceSecret: what has changed since is a conflict": func(c *memory) broken { return blind(c, inject.ReplaceSecret) },
	"DeleteSecret: the secret goes, and going twice is fine": func(c *memory) broken {
		return on(c, inject.DeleteSecret, func(ctx context.Context, change inject.Change) error {
			return c.DeleteSecret(ctx, change.Namespace, change.Name)
		})
	},
	"DeleteSecret: what has changed since is a conflict": func(c *memory) broken { return blind(c, inject.DeleteSecret) },
	"LinkAccount: names are appended once, in order": func(c *memory) broken {
		return on(c, inject.LinkAccount, func(ctx context.Context, change inject.Change) error {
			change.Link = slices.Sorted(slices.Values(change.Link))
			return c.Apply(ctx, change)
		})
	},
	"LinkAccount: only what is named is taken out": func(c *memory) broken {
		return on(c, inject.LinkAccount, func(ctx context.Context, change inject.Change) error {
			if change.Unlink != nil {
				change.Unlink = append(change.Unlink, "theirs-1")
			}
			return c.Apply(ctx, change)
		})
	},
	"LinkAccount: labels and annotations of others stay": func(c *memory) broken {
		return on(c, inject.LinkAccount, func(ctx context.Context, change inject.Change) error {
			if err := c.Apply(ctx, change); err != nil {
				return err
			}
			a, _ := c.Account(ctx, change.Namespace, change.Name)
			delete(a.Annotations, "example.com/note")
			return c.WriteAccount(ctx, change.Namespace, *a)
		})
	},
	"LinkAccount: owners are told apart": func(c *memory) broken {
		return on(c, inject.LinkAccount, func(ctx context.Context, change inject.Change) error {
			change.Owner = "one-for-all"
			return c.Apply(ctx, change)
		})
	},
	"LinkAccount: what has changed since is a conflict": func(c *memory) broken { return blind(c, inject.LinkAccount) },
	"LinkAccount: of many at once, none is lost": func(c *memory) broken {
		return on(c, inject.LinkAccount, func(ctx context.Context, change inject.Change) error {
			a, err := c.Account(ctx, change.Namespace, change.Name)
			if err != nil {
				return err
			}
			time.Sleep(time.Millisecond) // The latency of a network.
			a.PullSecrets = append(a.PullSecrets, change.Link...)
			return c.WriteAccount(ctx, change.Namespace, *a)
		})
	},
	"nothing is created in a namespace that is gone or going": func(c *memory) broken {
		return on(c, inject.CreateSecret, func(ctx context.Context, change inject.Change) error {
			err := c.Apply(ctx, change)
			if errors.Is(err, registry.ErrNamespaceGone) {
				return errors.New("404")
			}
			return err
		})
	},
	"a context that has ended is obeyed, with its cause": func(c *memory) broken {
		return broken{Cluster: c, apply: func(ctx context.Context, change inject.Change) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return c.Apply(ctx, change)
		}}
	},
	"errors hold no secret": func(c *memory) broken {
		return broken{Cluster: c, apply: func(ctx context.Context, change inject.Change) error {
			if err := c.Apply(ctx, change); err != nil {
				return fmt.Errorf("%w: %s", err, change.Secret.Config.Reveal())
			}
			return nil
		}}
	},
}

func TestEachRuleIsBrokenBySomething(t *testing.T) {
	require.ElementsMatch(t, injecttest.Rules(), slices.Collect(maps.Keys(breaks)))
	for name, breakIt := range breaks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c injecttest.Cluster
			err := injecttest.Broken(t.Context(), injecttest.Fixture{Cluster: breakIt(&c), World: &c, Patience: 50 * time.Millisecond}, name)
			require.Error(t, err)
			t.Log(err)
		})
	}
}

func TestTheTypeOfASecretIsImmutable(t *testing.T) {
	var c injecttest.Cluster
	require.NoError(t, c.CreateNamespace(t.Context(), "a", nil))
	require.NoError(t, c.WriteSecret(t.Context(), "a", injecttest.SecretObject{Name: "s", Type: "Opaque"}))
	require.Error(t, c.WriteSecret(t.Context(), "a", injecttest.SecretObject{Name: "s", Type: pullsecret.SecretType}))
}
