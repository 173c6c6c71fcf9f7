package injecttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// CreateNamespace implements [World]. The namespace has a service account "default", which the controllers of a real
// cluster create soon afterwards.
func (c *Cluster) CreateNamespace(_ context.Context, name string, labels map[string]string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.namespaces[name] != nil {
		return fmt.Errorf("namespace %s is there already", name)
	}
	if c.namespaces == nil {
		c.namespaces = make(map[string]*space)
	}
	ns := &space{
		uid: "uid-" + c.next(), labels: maps.Clone(labels),
		secrets: make(map[string]*secret), accounts: make(map[string]*account),
	}
	ns.accounts["default"] = &account{AccountObject{Name: "default"}, c.next()}
	c.namespaces[name] = ns
	return nil
}

// NamespaceUID implements [World].
func (c *Cluster) NamespaceUID(_ context.Context, name string) (uid string, err error) {
	err = c.in(name, func(ns *space) error { uid = ns.uid; return nil })
	return uid, err
}

// DeleteNamespace implements [World]. The namespace stays terminating until [Cluster.RemoveNamespace].
func (c *Cluster) DeleteNamespace(_ context.Context, name string) error {
	return c.in(name, func(ns *space) error { ns.terminating = true; return nil })
}

// RemoveNamespace removes a namespace with everything in it.
func (c *Cluster) RemoveNamespace(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.namespaces, name)
}

// WriteSecret implements [World].
func (c *Cluster) WriteSecret(_ context.Context, namespace string, s SecretObject) error {
	return c.in(namespace, func(ns *space) error {
		have := ns.secrets[s.Name]
		switch {
		case have == nil && ns.terminating:
			return errors.New("namespace is terminating")
		case have == nil:
			s.UID = "uid-" + c.next()
		case have.Type != s.Type:
			return errors.New("type: field is immutable")
		default:
			s.UID = have.UID
		}
		ns.secrets[s.Name] = &secret{SecretObject: s.clone(), version: c.next()}
		return nil
	})
}

// Secret implements [World].
func (c *Cluster) Secret(_ context.Context, namespace, name string) (*SecretObject, error) {
	var found *SecretObject
	err := c.in(namespace, func(ns *space) error {
		if s := ns.secrets[name]; s != nil {
			object := s.clone()
			found = &object
		}
		return nil
	})
	return found, err
}

// DeleteSecret implements [World].
func (c *Cluster) DeleteSecret(_ context.Context, namespace, name string) error {
	return c.in(namespace, func(ns *space) error {
		if ns.secrets[name] == nil {
			return fmt.Errorf("secret %s/%s is not there", namespace, name)
		}
		delete(ns.secrets, name)
		return nil
	})
}

// WriteAccount implements [World].
func (c *Cluster) WriteAccount(_ context.Context, namespace string, a AccountObject) error {
	return c.in(namespace, func(ns *space) error {
		if ns.accounts[a.Name] == nil && ns.terminating {
			return errors.New("namespace is terminating")
		}
		ns.accounts[a.Name] = &account{a.clone(), c.next()}
		return nil
	})
}

// Account implements [World].
func (c *Cluster) Account(_ context.Context, namespace, name string) (*AccountObject, error) {
	var found *AccountObject
	err := c.in(namespace, func(ns *space) error {
		if a := ns.accounts[name]; a != nil {
			object := a.clone()
			found = &object
		}
		return nil
	})
	return found, err
}

// DeleteAccount implements [World].
func (c *Cluster) DeleteAccount(_ context.Context, namespace, name string) error {
	return c.in(namespace, func(ns *space) error {
		if ns.accounts[name] == nil {
			return fmt.Errorf("service account %s/%s is not there", namespace, name)
		}
		delete(ns.accounts, name)
		return nil
	})
}

// in calls f with an existing namespace.
func (c *Cluster) in(name string, f func(ns *space) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ns := c.namespaces[name]
	if ns == nil {
		return fmt.Errorf("namespace %s is not there", name)
	}
	return f(ns)
}

func (s SecretObject) clone() SecretObject {
	s.Labels, s.Annotations = maps.Clone(s.Labels), maps.Clone(s.Annotations)
	s.Data = maps.Clone(s.Data)
	for key, value := range s.Data {
		s.Data[key] = slices.Clone(value)
	}
	return s
}

func (a AccountObject) clone() AccountObject {
	a.Labels, a.Annotations, a.PullSecrets = maps.Clone(a.Labels), maps.Clone(a.Annotations), slices.Clone(a.PullSecrets)
	return a
}
