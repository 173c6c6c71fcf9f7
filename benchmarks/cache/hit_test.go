package cache_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/regcred/regcred/credentials"
)

// BenchmarkBoundHit is a credential asked for through what knows its one source.
func BenchmarkBoundHit(b *testing.B) {
	for _, p := range peers {
		if p.bind == nil {
			continue
		}
		b.Run(p.name, func(b *testing.B) {
			get := p.bind(func(context.Context) (credentials.Credential, error) { return credential(12 * time.Hour), nil })
			measure(b, func(int) error { return get(context.Background()) })
		})
	}
}

// BenchmarkKeyHit is one asked for by its key, among so many.
func BenchmarkKeyHit(b *testing.B) {
	for _, n := range []int{1, 1_000, 100_000} {
		for _, p := range peers {
			b.Run(fmt.Sprintf("%d/%s", n, p.name), func(b *testing.B) {
				keys := someKeys(n)
				get := p.keyed()
				fill(get, keys)
				measure(b, func(i int) error { return get(context.Background(), keys[i%n], nil) })
			})
		}
	}
}

// measure runs hits one after the other, and on all cores.
func measure(b *testing.B, hit func(int) error) {
	if err := hit(0); err != nil {
		b.Fatal(err)
	}
	// Another key each time, in an order that no cache of a processor foresees.
	next := func(i int) int { return (i*1103515245 + 12345) & 0x7fffffff }
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			i = next(i)
			_ = hit(i)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.SetParallelism(512)
		b.RunParallel(func(pb *testing.PB) {
			i := 0
			for pb.Next() {
				i = next(i)
				_ = hit(i)
			}
		})
	})
}

func someKeys(n int) []credentials.Key {
	keys := make([]credentials.Key, n)
	for i := range keys {
		keys[i] = credentials.Key{
			Issuer: "ecr", Scope: fmt.Sprintf("registry-%d.example.com", i), Login: credentials.Fingerprint{byte(i), byte(i >> 8), byte(i >> 16)},
		}
	}
	return keys
}

func fill(get func(context.Context, credentials.Key, issue) error, keys []credentials.Key) {
	for _, key := range keys {
		err := get(context.Background(), key, func(context.Context) (credentials.Credential, error) { return credential(12 * time.Hour), nil })
		if err != nil {
			panic(err)
		}
	}
}

// BenchmarkMemory is what 100,000 entries take, without the texts of keys and credentials.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for _, p := range peers {
		b.Run(p.name, func(b *testing.B) { memory(b, p.keyed, someKeys(n)) })
	}
	b.Run("regcred, nothing to renew", func(b *testing.B) {
		src := credentials.Static(credentials.Credential{Username: "u", Password: secret})
		memory(b, func() func(context.Context, credentials.Key, issue) error {
			cache := newCache()
			return func(ctx context.Context, key credentials.Key, _ issue) error {
				_, err := cache.Credential(ctx, key, src)
				return err
			}
		}, someKeys(n))
	})
	b.Run("regcred, a tenant each", func(b *testing.B) {
		keys := someKeys(n)
		for i := range keys {
			keys[i].Tenant = fmt.Sprint("tenant-", i)
		}
		memory(b, openRegcred, keys)
	})
}

func memory(b *testing.B, open func() func(context.Context, credentials.Key, issue) error, keys []credentials.Key) {
	var bytes int64
	n := 0
	for b.Loop() {
		before := heap()
		get := open()
		fill(get, keys)
		bytes += heap() - before
		runtime.KeepAlive(get)
		n++
	}
	runtime.KeepAlive(keys)
	b.ReportMetric(float64(bytes)/float64(n)/float64(len(keys)), "B/entry")
	b.ReportMetric(0, "ns/op")
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // What the first one freed late.
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
