package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/systemregistry/store"
	"github.com/regcred/regcred/systemregistry/store/pgstore"
	"github.com/regcred/regcred/systemregistry/store/storetest"
)

var schemas atomic.Int64

// schema creates an empty schema and returns a connection string for it. It is faster than creating a database.
func schema(t *testing.T, server string) string {
	t.Helper()
	name := fmt.Sprintf("test%d", schemas.Add(1))
	connection, err := pgx.Connect(t.Context(), server)
	require.NoError(t, err)
	defer connection.Close(context.WithoutCancel(t.Context()))
	_, err = connection.Exec(t.Context(), "CREATE SCHEMA "+name)
	require.NoError(t, err)
	return server + "&search_path=" + name
}

func open(t *testing.T, connection string) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Open(t.Context(), connection)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestPostgreSQL(t *testing.T) {
	server := testtool.PostgreSQL(t)
	t.Run("store", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store { return open(t, schema(t, server.URL)) })
	})
	t.Run("replicas", func(t *testing.T) { testReplicas(t, schema(t, server.URL)) })
	t.Run("roles", func(t *testing.T) { testRoles(t, schema(t, server.URL)) })
	t.Run("crash", func(t *testing.T) { testCrash(t, server) })
}

// Replicas that start together create one table, and see each other's entries at once.
func testReplicas(t *testing.T, connection string) {
	stores := make([]*pgstore.Store, 8)
	var wg sync.WaitGroup
	errs := make([]error, len(stores))
	for i := range stores {
		wg.Go(func() { stores[i], errs[i] = pgstore.Open(t.Context(), connection) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	t.Cleanup(func() {
		for _, s := range stores {
			require.NoError(t, s.Close())
		}
	})
	// All goroutines add to the same number, and no addition is lost.
	const each = 20
	for i, s := range stores {
		wg.Go(func() {
			for added := 0; added < each && errs[i] == nil; {
				var n int
				e, err := s.Get(t.Context(), "n")
				if err == nil {
					_, err = fmt.Sscan(string(e.Value), &n)
				}
				if err != nil && !errors.Is(err, store.ErrNoKey) {
					errs[i] = err
					return
				}
				switch _, err = s.Put(t.Context(), "n", []byte(fmt.Sprint(n+1)), e.Version); {
				case err == nil:
					added++
				case !errors.Is(err, store.ErrKeyChanged):
					errs[i] = err
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	e, err := stores[0].Get(t.Context(), "n")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(each*len(stores)), string(e.Value))
}

// Reported changes survive a crash of the database, versions continue, and connections are made again.
func testCrash(t *testing.T, server *testtool.Database) {
	s := open(t, schema(t, server.URL))
	first, err := s.Put(t.Context(), "a", []byte("1"), 0)
	require.NoError(t, err)
	require.NoError(t, s.Delete(t.Context(), "a", 0))
	last, err := s.Put(t.Context(), "b", []byte("2"), 0)
	require.NoError(t, err)
	server.Crash()
	_, err = s.Get(t.Context(), "b")
	require.Error(t, err)
	require.NotErrorIs(t, err, store.ErrNoKey, "a database that is down is not one without accounts")
	server.Start()
	e, err := s.Get(t.Context(), "b")
	require.NoError(t, err)
	require.Equal(t, store.Entry{Key: "b", Value: []byte("2"), Version: last}, e)
	next, err := s.Put(t.Context(), "a", nil, 0)
	require.NoError(t, err)
	require.Greater(t, next, last)
	require.Greater(t, last, first)
}

// A role without the right to create objects can use an existing table. No error contains the password.
func testRoles(t *testing.T, connection string) {
	_, err := pgstore.Open(t.Context(), "postgres://user:hunter2@[::1/db")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")

	admin, err := pgx.Connect(t.Context(), connection)
	require.NoError(t, err)
	defer admin.Close(context.WithoutCancel(t.Context()))
	_, err = admin.Exec(t.Context(), "CREATE ROLE registry LOGIN")
	require.NoError(t, err)
	u, err := url.Parse(connection)
	require.NoError(t, err)
	u.User = url.User("registry")
	_, err = pgstore.Open(t.Context(), u.String())
	require.Error(t, err)
	open(t, connection)
	_, err = admin.Exec(t.Context(), `DO $$ BEGIN EXECUTE 'GRANT USAGE ON SCHEMA ' || current_schema || ' TO registry'; END $$;
		GRANT SELECT, INSERT, UPDATE, DELETE ON regcred_entries TO registry; GRANT USAGE ON regcred_versions TO registry`)
	require.NoError(t, err)
	s := open(t, u.String())
	v, err := s.Put(t.Context(), "a", nil, 0)
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "a", nil, v)
	require.NoError(t, err)
	require.NoError(t, s.Delete(t.Context(), "a", 0))
}
