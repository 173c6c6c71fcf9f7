package accounts

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/regcred/regcred/systemregistry/store"
)

// prefix is the prefix of all keys of accounts in the store.
const prefix = "account/"

// A record is the stored form of an account.
type record struct {
	Account
	Hash []byte `json:"hash"`
	// OldHash is the hash of a robot's previous secret, until OldSecretEndsAt.
	OldHash []byte `json:"oldHash,omitempty"`
}

func decode(e store.Entry) (record, error) {
	var r record
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return record{}, fmt.Errorf("read account %s: %w", strings.TrimPrefix(e.Key, prefix), err)
	}
	r.version = e.Version
	return r, nil
}

// decoded caches decoded entries, because each client request needs its account, and decoding would be most of the
// work. It never returns an outdated record: the store is read each time, and a changed entry has another version. The
// zero decoded is ready to use.
type decoded struct {
	mu      sync.Mutex
	records map[uint64]record // By version, which is unique in a store.
}

// maxDecoded limits the memory, to a few MB.
const maxDecoded = 4096

func (d *decoded) decode(e store.Entry) (record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.records[e.Version]
	if !ok {
		var err error
		if r, err = decode(e); err != nil {
			return record{}, err
		}
		if d.records == nil || len(d.records) >= maxDecoded {
			d.records = make(map[uint64]record) // Entries in use are decoded again at once.
		}
		d.records[e.Version] = r
	}
	// Clone, because the caller may change the record.
	r.Rules, r.Keys = slices.Clone(r.Rules), slices.Clone(r.Keys)
	for i := range r.Rules {
		r.Rules[i].Actions = slices.Clone(r.Rules[i].Actions)
	}
	return r, nil
}
