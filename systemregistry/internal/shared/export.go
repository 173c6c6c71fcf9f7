package shared

import (
	"context"
	"encoding/json"
	"iter"
	"strings"

	"github.com/regcred/regcred/systemregistry/store"
)

// Export yields the entries of a store for a backup. It yields references before their targets, so that the backup
// lacks nothing that is pushed meanwhile. It leaves out tags whose image is deleted meanwhile, and entries that only
// running replicas need.
func Export(ctx context.Context, s store.Store) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		var tags []store.Entry
		for e, err := range s.List(ctx, Tags) {
			if err != nil {
				yield(e, err)
				return
			}
			tags = append(tags, e)
		}
		manifests := make(map[string]bool)
		for _, prefix := range []string{Manifests, Layers, Blobs, ""} {
			for e, err := range s.List(ctx, prefix) {
				switch {
				case err != nil:
				case prefix == Manifests:
					manifests[e.Key] = true
				case strings.HasPrefix(e.Key, "lease/"), strings.HasPrefix(e.Key, orphans), strings.HasPrefix(e.Key, ledgers), strings.HasPrefix(e.Key, uploads), e.Key == roundKey:
					continue
				case prefix != "":
				case strings.HasPrefix(e.Key, Tags), strings.HasPrefix(e.Key, Manifests), strings.HasPrefix(e.Key, Layers), strings.HasPrefix(e.Key, Blobs):
					continue // Yielded already.
				}
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
		for _, e := range tags {
			r, err := decode(e)
			if err == nil {
				name, _ := r.Split()
				if r.Value == "" || !manifests[manifestKey(name, r.Value)] {
					continue
				}
				r.Next = ""
				e.Value, err = json.Marshal(r)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Restored returns the value of an entry for a restored storage, which has the data in distribution's layout.
func Restored(key string, value []byte) ([]byte, error) {
	if !strings.HasPrefix(key, Blobs) {
		return value, nil
	}
	var r Record
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	r.Value = "data"
	return json.Marshal(r)
}
