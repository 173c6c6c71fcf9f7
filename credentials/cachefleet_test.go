package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

// TestFleet runs the replicas of a platform for a week: many profiles of fewer principals, whose tokens are good for
// twelve hours. Their issuer has the limits of AWS ECR, and is down for an hour each day; once, all replicas start anew
// at the same time.
func TestFleet(t *testing.T) {
	f := fleet{profiles: 100_000, principals: 5_000, replicas: 2, days: 7}
	if testing.Short() || raceDetector {
		f.profiles, f.principals, f.days = 4_000, 1_000, 4
	}
	synctest.Test(t, func(t *testing.T) {
		issuer := &limited{rate: 20, burst: 200, start: time.Now(), last: time.Now(), tokens: 200}
		start := time.Now()
		half := time.Duration(f.days) * 12 * time.Hour
		f.live(t, issuer, start.Add(half))
		f.live(t, issuer, start.Add(2*half))

		lifetimes := 2 * ((half + tokenLife - 1) / tokenLife)
		least := f.principals * f.replicas * int(lifetimes)
		answered := issuer.calls - issuer.down
		t.Logf("%d calls that the issuer answered, %.3f times the least that lifetimes allow; %d in outages (%.3f); %d beyond the limit",
			answered, float64(answered)/float64(least), issuer.down, float64(issuer.down)/float64(least), issuer.beyond)
		require.Zero(t, issuer.beyond, "calls beyond the limit and its burst")
		require.LessOrEqual(t, float64(answered), 1.3*float64(least))
		require.LessOrEqual(t, issuer.down, f.principals*f.replicas*f.days, "on average, no key is tried in vain more than once a day")
	})
}

type fleet struct{ profiles, principals, replicas, days int }

const tokenLife = 12 * time.Hour

// live starts all replicas, uses each profile once an hour, and ends them.
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
		// At the start, all are wanted at once.
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
		time.Sleep(time.Hour)
	}
	stop()
	running.Wait()
}

// limited issues tokens, so many a second.
type limited struct {
	rate, burst float64
	start       time.Time

	mu     sync.Mutex
	tokens float64
	last   time.Time
	calls  int
	beyond int
	down   int
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
	day, hour := int(now.Sub(l.start).Hours())/24, int(now.Sub(l.start).Hours())%24
	if hour == (20+7*day)%24 { // At another time each day.
		l.down++
		return credentials.Credential{}, errors.New("outage")
	}
	return credentials.Credential{
		Username: "AWS", Password: credentials.NewSecret(fmt.Sprint("token-", l.calls)), IssuedAt: now, ExpiresAt: now.Add(tokenLife),
	}, nil
}
