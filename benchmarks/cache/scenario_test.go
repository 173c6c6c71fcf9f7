package cache_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regcred/regcred/credentials"
)

// takes is how long the issuer takes in all scenarios.
const takes = 50 * time.Millisecond

// An issuer counts its calls.
type issuer struct {
	life  time.Duration
	err   error
	calls atomic.Int32
}

func (i *issuer) issue(context.Context) (credentials.Credential, error) {
	i.calls.Add(1)
	time.Sleep(takes)
	return credential(i.life), i.err
}

// scenario runs f for each peer, with a new cache each time, and reports the calls and the milliseconds, on average.
func scenario(b *testing.B, life time.Duration, fails error, f func(get func(context.Context, credentials.Key, issue) error, i *issuer) time.Duration) {
	for _, p := range peers {
		if p.name == "limit" {
			continue // It is plain: the calls that have to be made, and the time that one takes.
		}
		b.Run(p.name, func(b *testing.B) {
			var calls, ms float64
			n := 0
			for b.Loop() {
				i := &issuer{life: life, err: fails}
				took := f(p.keyed(), i)
				calls += float64(i.calls.Load())
				ms += float64(took) / 1e6
				n++
			}
			b.ReportMetric(calls/float64(n), "calls")
			b.ReportMetric(ms/float64(n), "ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func crowd(n int, f func(i int)) time.Duration {
	start := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
	return time.Since(start)
}

// A: 1,000 callers want one cold key.
func BenchmarkScenarioA(b *testing.B) {
	key := someKeys(1)[0]
	scenario(b, 12*time.Hour, nil, func(get func(context.Context, credentials.Key, issue) error, i *issuer) time.Duration {
		return crowd(1000, func(int) { _ = get(context.Background(), key, i.issue) })
	})
}

// B: 100 cold keys, and 10 callers for each.
func BenchmarkScenarioB(b *testing.B) {
	keys := someKeys(100)
	scenario(b, 12*time.Hour, nil, func(get func(context.Context, credentials.Key, issue) error, i *issuer) time.Duration {
		return crowd(1000, func(n int) { _ = get(context.Background(), keys[n%100], i.issue) })
	})
}

// C: the worst hit of a warm key while another one is fetched.
func BenchmarkScenarioC(b *testing.B) {
	keys := someKeys(2)
	scenario(b, 12*time.Hour, nil, func(get func(context.Context, credentials.Key, issue) error, i *issuer) time.Duration {
		_ = get(context.Background(), keys[0], i.issue)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = get(context.Background(), keys[1], i.issue)
		}()
		var worst time.Duration
		for {
			select {
			case <-done:
				return worst
			case <-time.After(time.Millisecond):
				start := time.Now()
				_ = get(context.Background(), keys[0], i.issue)
				worst = max(worst, time.Since(start))
			}
		}
	})
}

// D: 100 callers, and the call fails.
func BenchmarkScenarioD(b *testing.B) {
	key := someKeys(1)[0]
	scenario(b, 12*time.Hour, errors.New("issuer is down"), func(get func(context.Context, credentials.Key, issue) error, i *issuer) time.Duration {
		return crowd(100, func(int) { _ = get(context.Background(), key, i.issue) })
	})
}

// E: the worst wait of 8 callers who go on asking while a renewal falls due.
func BenchmarkScenarioE(b *testing.B) {
	key := someKeys(1)[0]
	scenario(b, shortLife, nil, func(get func(context.Context, credentials.Key, issue) error, i *issuer) time.Duration {
		_ = get(context.Background(), key, i.issue)
		var mu sync.Mutex
		var worst time.Duration
		end := time.Now().Add(shortLife - early + 500*time.Millisecond)
		crowd(8, func(int) {
			for time.Now().Before(end) {
				start := time.Now()
				_ = get(context.Background(), key, i.issue)
				took := time.Since(start)
				mu.Lock()
				worst = max(worst, took)
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
		return worst
	})
}
