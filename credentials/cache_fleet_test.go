package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

// TestFleet simulates the replicas of a platform for a week: many profiles of fewer principals, whose tokens are valid
// for twelve hours. Their issuer has the limits of AWS ECR, and is down for an hour each day; once, all replicas
// restart at the same time.
func TestFleet(t *testing.T) {
	f := fleet{profiles: 100_000, principals: 5_000, replicas: 2, days: 7}
	if testing.Short() || raceDetector {
		f.profiles, f.principals, f.days = 4_000, 1_000, 4
	}
	f.restart = time.Duration(f.days) * 11 * time.Hour
	for day := range f.days {
		f.outages = append(f.outages, time.Duration(24*day+(20+7*day)%24)*time.Hour)
	}
	issuer, least := f.run(t)
	t.Logf("%d calls for at least %d that lifetimes require; %d of them in outages", issuer.calls, least, issuer.vain)
	require.Zero(t, issuer.beyond, "calls beyond the limit and its burst")
}

// The number of a fleet's calls depends on the times of its restart and of the outages relative to its renewals, which
// stay synchronized for days after a start. So these times are random here.
func TestFleetCalls(t *testing.T) {
	weeks := 60
	if testing.Short() || raceDetector {
		weeks = 20
	}
	random := rand.New(rand.NewPCG(1, 2))
	hours := func(from, to float64) time.Duration {
		return time.Duration((from + (to-from)*random.Float64()) * float64(time.Hour))
	}
	var all, vain []float64
	for range weeks {
		f := fleet{profiles: 100, principals: 100, replicas: 1, days: 7, restart: hours(24, 144)}
		for day := range 7 {
			// No replica can start during an outage.
			if at := time.Duration(24*day)*time.Hour + hours(1, 23); at > f.restart || at+time.Hour < f.restart {
				f.outages = append(f.outages, at)
			}
		}
		issuer, least := f.run(t)
		all = append(all, float64(issuer.calls)/float64(least))
		vain = append(vain, float64(issuer.vain)/float64(least))
	}
	slices.Sort(all)
	mean := func(list []float64) (sum float64) {
		for _, x := range list {
			sum += x / float64(len(list))
		}
		return sum
	}
	t.Logf("times the least that lifetimes require: %.3f, of which %.3f in outages; %.3f to %.3f, nine of ten weeks under %.3f",
		mean(all), mean(vain), all[0], all[len(all)-1], all[len(all)*9/10])
	require.LessOrEqual(t, mean(all), 1.3)
}

type fleet struct {
	profiles, principals, replicas, days int
	restart                              time.Duration
	outages                              []time.Duration // When they begin; each lasts an hour.
}

// run returns the issuer after all days, and the minimum number of calls.
func (f fleet) run(t *testing.T) (issuer *limited, least int) {
	synctest.Test(t, func(t *testing.T) {
		issuer = &limited{rate: 20, burst: 200, start: time.Now(), last: time.Now(), tokens: 200, outages: f.outages}
		end := time.Duration(f.days) * 24 * time.Hour
		f.live(t, issuer, issuer.start.Add(f.restart))
		f.live(t, issuer, issuer.start.Add(end))
		tokens := func(life time.Duration) int { return int((life + tokenLife - 1) / tokenLife) }
		least = f.principals * f.replicas * (tokens(f.restart) + tokens(end-f.restart))
	})
	return issuer, least
}

const tokenLife = 12 * time.Hour

// live starts all replicas, uses each profile once an hour, and stops the replicas.
func (f fleet) live(t *testing.T, issuer *limited, until time.Time) {
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	replicas := make([][]*credentials.CachedSource, f.replicas)
	for r := range replicas {
		cache := &credentials.Cache{Rate: issuer.rate / float64(f.replicas), Burst: int(issuer.burst) / f.replicas}
		running.Go(func() { _ = cache.Run(ctx) })
		for p := range f.profiles {
			principal := p % f.principals
			key := credentials.Key{Issuer: "ecr", Scope: "aws/eu-central-1", Login: credentials.Fingerprint{byte(principal), byte(principal >> 8)}}
			replicas[r] = append(replicas[r], cache.Source(key, issuer))
		}
		// At the start, all profiles are used at once.
		for _, src := range replicas[r][:f.principals] {
			running.Go(func() {
				if _, err := src.Credential(ctx); err != nil {
					t.Errorf("at the start: %v", err)
				}
			})
		}
	}
	time.Sleep(time.Hour / 2)
	for time.Now().Before(until) {
		for _, sources := range replicas {
			for _, src := range sources {
				begin := time.Now()
				c, err := src.Credential(ctx)
				if err != nil || time.Since(begin) > 0 || c.Expired(begin) {
					t.Fatalf("%s after the start, a caller who waited %s got %+v, %v", begin.Sub(issuer.start), time.Since(begin), c, err)
				}
			}
		}
		time.Sleep(min(time.Hour, time.Until(until)))
	}
	stop()
	running.Wait()
	time.Sleep(time.Second) // Calls in flight continue to their end, and a bubble's time ends with its test.
}

// limited is a source that issues a limited number of tokens per second.
type limited struct {
	rate, burst float64
	start       time.Time
	outages     []time.Duration // After the start.

	mu     sync.Mutex
	tokens float64
	last   time.Time
	calls  int
	beyond int
	vain   int // In outages.
}

func (l *limited) Credential(context.Context) (credentials.Credential, error) {
	time.Sleep(100 * time.Millisecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.calls++
	l.tokens = min(l.burst, l.tokens+l.rate*now.Sub(l.last).Seconds())
	l.last = now
	if l.tokens < 1 {
		l.beyond++
		return credentials.Credential{}, errors.New("throttled")
	}
	l.tokens--
	for _, at := range l.outages {
		if since := now.Sub(l.start); at <= since && since < at+time.Hour {
			l.vain++
			return credentials.Credential{}, errors.New("outage")
		}
	}
	return credentials.Credential{
		Username: "AWS", Password: credentials.NewSecret(fmt.Sprint("token-", l.calls)), IssuedAt: now, ExpiresAt: now.Add(tokenLife),
	}, nil
}
