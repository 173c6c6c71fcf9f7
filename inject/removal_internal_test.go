package inject

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A frozen cluster shows one secret and permits no change.
type frozen struct{}

func (frozen) State(context.Context, Scope) ([]Namespace, error) {
	return []Namespace{{Name: "ci", UID: "uid", Secrets: []PublishedSecret{{Name: "stuck"}}}}, nil
}

func (frozen) Apply(context.Context, Change) error { return errors.New("denied") }

func (frozen) Read(context.Context, string, string) ([]byte, error) { return nil, nil }

func noCredential(context.Context, registry.Profile) (credentials.Credential, error) {
	return credentials.Credential{}, registry.ErrUnauthorized
}

// The names that RemoveTarget was called with do not accumulate, but the name of a secret that is still published stays.
func TestDeclaredNamesAreDropped(t *testing.T) {
	s := &Syncer{Cluster: frozen{}, Credential: noCredential}
	s.RemoveTarget("stuck")
	s.RemoveTarget("gone")
	_, err := s.Sync(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"stuck": 0}, s.declared)
	for i := range 5000 {
		name := fmt.Sprint("job-", i)
		s.SetTarget(Target{Name: name, Namespaces: Selection{Names: []string{"ci"}}})
		s.RemoveTarget(name)
		_, err := s.SyncDue(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, len(s.declared), declaredMax+1)
	}
	require.Contains(t, s.declared, "stuck")
}

// A name that is declared after a pass began stays, because the pass may have read an older state.
func TestNameThatIsDeclaredDuringAPassStays(t *testing.T) {
	s := &Syncer{Cluster: frozen{}, Credential: noCredential}
	s.setTargets(s.newIndex(nil))
	all := s.newWork(nil, nil)
	s.RemoveTarget("gone")
	_, err := s.run(t.Context(), all)
	require.NoError(t, err)
	require.Contains(t, s.declared, "gone")
}
