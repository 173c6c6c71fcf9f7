// Package pgstore is a [store.Store] in a PostgreSQL database, which several replicas of a System registry share.
//
// It is a module of its own, so that only programs that use it depend on a database driver.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/regcred/regcred/systemregistry/store"
)

// A Store is a [store.Store] in two objects of a database: the table regcred_entries and the sequence regcred_versions,
// in the first schema of the search path. Make it with [Open]; it is safe for concurrent use by any number of
// processes.
//
// Put and Delete return after the database has committed the change, with synchronous_commit on. A database that loses
// commits, such as an asynchronous standby that was promoted, loses changes after they have returned: revoked tokens
// may become valid again.
type Store struct{ pool *pgxpool.Pool }

// schema is created once. A lock serializes replicas that start at the same time, because CREATE ... IF NOT EXISTS
// fails if two of them create the same object.
const schema = `
CREATE TABLE IF NOT EXISTS regcred_entries (key bytea PRIMARY KEY, value bytea NOT NULL, version bigint NOT NULL);
CREATE SEQUENCE IF NOT EXISTS regcred_versions`

// lockID is the lock of the schema: "regcred" in ASCII.
const lockID = 0x72656763726564

// Open connects to the database, and creates the table and the sequence if they are missing. For that, the role needs
// the right to create objects. Otherwise, it needs SELECT, INSERT, UPDATE and DELETE on the table, and USAGE on the
// sequence. The connection string is a URL or a list of settings, as libpq reads it, and may name a password file. Its
// parameters pool_max_conns and others of [pgxpool.ParseConfig] configure the pool. Close the Store after use.
func Open(ctx context.Context, connection string) (*Store, error) {
	config, err := pgxpool.ParseConfig(connection)
	if err != nil {
		return nil, errors.New("open store: the connection string is not valid") // pgx's own error quotes it.
	}
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{pool}
	if err := s.create(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("open store: %w", cause(ctx, err))
	}
	return s, nil
}

func (s *Store) create(ctx context.Context) error {
	var there bool
	err := s.pool.QueryRow(ctx, "SELECT to_regclass('regcred_entries') IS NOT NULL AND to_regclass('regcred_versions') IS NOT NULL").Scan(&there)
	if err != nil || there {
		return err
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lockID)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, schema)
		return err
	})
}

// Close closes the connections. It blocks until calls in flight have returned.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// cause returns err, or an error that wraps the cause of ctx if this is why the call ended.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string) (store.Entry, error) {
	e := store.Entry{Key: key}
	var version int64
	err := s.pool.QueryRow(ctx, "SELECT value, version FROM regcred_entries WHERE key = $1", []byte(key)).Scan(&e.Value, &version)
	if errors.Is(err, pgx.ErrNoRows) {
		return store.Entry{}, store.ErrNoKey
	}
	if err != nil {
		return store.Entry{}, fmt.Errorf("get from store: %w", cause(ctx, err))
	}
	e.Version = uint64(version)
	return e, nil
}

// Put implements [store.Store].
func (s *Store) Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	if value == nil {
		value = []byte{} // Nil is NULL.
	}
	// nextval is called before the row is locked. The versions of a key still grow: if two concurrent puts expect the
	// same version, only one succeeds.
	query := `UPDATE regcred_entries SET value = $2, version = nextval('regcred_versions') WHERE key = $1 AND version = $3 RETURNING version`
	args := []any{[]byte(key), value, int64(version)}
	if version == 0 {
		query = `INSERT INTO regcred_entries (key, value, version) VALUES ($1, $2, nextval('regcred_versions')) ON CONFLICT DO NOTHING RETURNING version`
		args = args[:2]
	}
	var next int64
	err := s.pool.QueryRow(ctx, query, args...).Scan(&next)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, store.ErrKeyChanged
	}
	if err != nil {
		return 0, fmt.Errorf("put into store: %w", cause(ctx, err))
	}
	return uint64(next), nil
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string, version uint64) error {
	tag, err := s.pool.Exec(ctx, "DELETE FROM regcred_entries WHERE key = $1 AND ($2::bigint = 0 OR version = $2)", []byte(key), int64(version))
	if err != nil {
		return fmt.Errorf("delete from store: %w", cause(ctx, err))
	}
	if tag.RowsAffected() > 0 {
		return nil
	}
	if version != 0 {
		if _, err := s.Get(ctx, key); err == nil {
			return store.ErrKeyChanged
		}
	}
	return store.ErrNoKey
}

// batch is the number of entries per query. No connection is held between two queries.
const batch = 256

// List implements [store.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		next := []byte(prefix)
		for {
			entries, err := s.batch(ctx, next, after([]byte(prefix)))
			if err != nil {
				yield(store.Entry{}, fmt.Errorf("list store: %w", cause(ctx, err)))
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			if len(entries) < batch {
				return
			}
			next = append([]byte(entries[len(entries)-1].Key), 0) // The next possible key.
		}
	}
}

// batch returns entries from a key on, before the key end. If end is nil, there is no upper limit.
func (s *Store) batch(ctx context.Context, from, end []byte) ([]store.Entry, error) {
	rows, err := s.pool.Query(ctx, `SELECT key, value, version FROM regcred_entries
		WHERE key >= $1 AND ($2::bytea IS NULL OR key < $2) ORDER BY key LIMIT $3`, from, end, batch)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Entry, error) {
		var key, value []byte
		var version int64
		err := row.Scan(&key, &value, &version)
		return store.Entry{Key: string(key), Value: value, Version: uint64(version)}, err
	})
}

// after returns the first key after all keys that start with the prefix, or nil if there is none.
func after(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}
