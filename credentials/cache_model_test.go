package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

// FuzzCache performs random operations on a cache, one for every two bytes, and compares each result with a simple
// model. The model knows when each token really expires, which tokens were rejected, and the login of each token.
func FuzzCache(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{opGet, 3, opForward, 3, opGet, 9, opForward, 4, opGet, 3})                                 // Fresh, stale, expired.
	f.Add([]byte{opGet, 3, opMode, modeFail, opForward, 3, opGet, 3, opForward, 1, opGet, 3, opForward, 4}) // Renewals fail.
	f.Add([]byte{opMode, modeHang, opGet, 0, opCancel, 0, opGet, 1, opForward, 2, opGet, 1})
	f.Add([]byte{opGet, 3, opInvalidate, 0, opGet, 3, opInvalidate, 0, opGet, 3, opForward, 1, opGet, 3})
	f.Add([]byte{opGet, 3, opRotate, 0, opGet, 3, opForget, 0, opGet, 3, opCrowd, 0, opGet, 3})
	f.Add([]byte{opGet, 3, opSuspend, 4, opGet, 3, opWall, 4, opGet, 3, opForward, 3, opGet, 3, opWall, 12, opGet, 3})
	f.Add([]byte{opRun, 0, opGet, 3, opForward, 5, opGet, 3, opSuspend, 5, opForward, 1, opGet, 3, opRun, 0, opForward, 5})
	f.Add([]byte{opGet, '0', opMode, 'C', opForward, 'c', opForward, 'C', opRun, '0', opSuspend, 'z', opGet, '0'}) // A suspension passes a backoff.
	f.Add([]byte{opAdopt, 0, opGet, 0, opAdopt, 3, opGet, 0, opInvalidate, 0, opAdopt, 6, opGet, 0, opForward, 3, opAdopt, 0, opGet, 0})
	f.Add([]byte{opRun, 0, opMode, modeFail, opGet, 0, opAdopt, 0, opGet, 0, opForward, 4, opAdopt, 9, opSuspend, 3, opAdopt, 0, opGet, 0})
	f.Add([]byte{opMode, modeForever, opGet, 0, opSuspend, 3, opMode, modeThrottle, opAdopt, 0, opSuspend, 5, opGet, 0}) // A newer token ends earlier.
	for mode := range byte(modes) {
		f.Add([]byte{opRun, 0, opMode, mode, opGet, 3, opForward, 3, opGet, 3, opForward, 1, opMode, modeOK, opForward, 3, opGet, 3, opForward, 4, opGet, 3})
	}
	f.Fuzz(func(t *testing.T, steps []byte) {
		runModel(t, steps[:min(len(steps), 60)]) // Longer runs are slow and find nothing new.
	})
}

// TestModel runs the model of FuzzCache with random programs of up to 60 operations. REGCRED_STEPS is the number of
// operations in total; REGCRED_SEED repeats the programs of an earlier run, though not the cache's jitter. Ten million
// operations, 327,805 programs, take 7 min 47 s of processor time, and found nothing (seed 1795980254680429219):
//
//	REGCRED_STEPS=10000000 go test -run 'TestModel$' -timeout 5h -v ./credentials
func TestModel(t *testing.T) {
	total := number(t, "REGCRED_STEPS", 5000)
	seed := number(t, "REGCRED_SEED", time.Now().UnixNano())
	t.Logf("REGCRED_SEED=%d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	programs, done := 0, int64(0)
	var steps []byte
	defer func() { // A failure in a bubble ends the test.
		if t.Failed() {
			t.Logf("after %d operations, as an input of FuzzCache: []byte(%q)", done, steps)
		}
	}()
	for ; done < total; programs++ {
		steps = make([]byte, 2*min(1+random.Int64N(60), total-done))
		for i := range steps {
			steps[i] = byte(random.Uint32())
		}
		runModel(t, steps)
		before := done / 1e6
		if done += int64(len(steps) / 2); done/1e6 > before {
			t.Logf("%d operations", done)
		}
	}
	t.Logf("%d operations in %d programs", done, programs)
}

func number(t *testing.T, variable string, otherwise int64) int64 {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(t, err, variable)
	return n
}

// runModel performs one operation for every two bytes.
func runModel(t *testing.T, steps []byte) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		for len(steps) >= 2 && !t.Failed() {
			w.step(steps[0], steps[1])
			steps = steps[2:]
			synctest.Wait()
			w.checkNextCalls()
		}
	})
}

const (
	opGet = iota
	opCancel
	opForward
	opMode
	opInvalidate
	opRotate
	opForget
	opCrowd
	opSuspend
	opWall
	opRun
	opAdopt
	ops
)

const (
	modeOK = iota
	modeSlow
	modeShort
	modeForever
	modeFail
	modeThrottle
	modeHang
	modeEmpty
	modeExpired
	modes
)

var spans = [...]time.Duration{time.Second, 45 * time.Second, 5 * time.Minute, 50 * time.Minute, 70 * time.Minute, 13 * time.Hour}

const modelKeys = 3

// A world is a cache, its issuers, and the model of their true state.
type world struct {
	t     *testing.T
	cache *credentials.Cache
	stop  context.CancelFunc // Of Run; nil if it is not running.
	bound [modelKeys]*credentials.CachedSource
	ahead time.Duration // The error of the wall clock.

	mu     sync.Mutex
	mode   [modelKeys]byte
	logins [modelKeys]int
	cancel [modelKeys]context.CancelFunc
	ctx    [modelKeys]context.Context
	tokens map[string]*modelToken
	last   [modelKeys]*modelToken    // For the current login: the newest token, once one was returned.
	keys   map[credentials.Key]*asks // The issuer's view of one key.
}

type modelToken struct {
	cred    credentials.Credential
	key     credentials.Key
	dies    time.Time     // On the monotonic clock; zero means never.
	passed  time.Duration // The additional time that passed on the wall clock.
	late    time.Duration // How late the cache may see the end, because the wall clock was behind when it adopted the token.
	skewed  bool          // The wall clock was wrong in its life, so that it may have been dropped early.
	refused time.Time
}

type asks struct {
	running  int
	failed   time.Time // When the last call failed; zero if it succeeded.
	disturbs int       // Rejections, evictions: anything that justifies a new call.
	seen     int
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, cache: &credentials.Cache{MaxEntries: 20}, tokens: map[string]*modelToken{},
		keys: map[credentials.Key]*asks{},
	}
	for k := range modelKeys {
		w.ctx[k], w.cancel[k] = context.WithCancel(t.Context())
		w.bound[k] = w.cache.Source(w.key(k), w.source(k, 0))
	}
	return w
}

func (w *world) end() {
	if w.stop != nil {
		w.stop()
	}
	for k := range modelKeys {
		w.cancel[k]()
	}
	time.Sleep(time.Hour) // All calls end; the bubble fails if a goroutine does not.
	clear(w.bound[:])     // The sources refer to the world. Until these are collected, the cache refers to the sources.
}

func (w *world) key(k int) credentials.Key {
	return credentials.Key{Issuer: "model", Tenant: fmt.Sprint(k), Login: credentials.Fingerprint{byte(w.logins[k]), byte(w.logins[k] >> 8)}}
}

func (w *world) failf(format string, args ...any) {
	w.t.Errorf(format, args...)
}

func (w *world) step(op, arg byte) {
	k := int(arg) % modelKeys
	span := spans[int(arg)%len(spans)]
	switch op % ops {
	case opGet:
		for i := range 1 + int(arg)/modelKeys%8 {
			go w.get(k, i%2 == 0, int(arg)&32 != 0)
		}
	case opCancel:
		w.cancel[k]()
		w.ctx[k], w.cancel[k] = context.WithCancel(w.t.Context())
	case opForward:
		time.Sleep(span)
	case opMode:
		w.mu.Lock()
		for i := range w.mode {
			w.mode[i] = arg % modes
		}
		w.mu.Unlock()
	case opInvalidate:
		w.invalidate(k)
	case opRotate:
		w.rotate(k)
	case opForget:
		w.disturb(k)
		w.cache.Forget(w.key(k)) // The key is held, so Forget has no effect.
	case opCrowd:
		for i := range modelKeys {
			w.disturb(i)
		}
		for i := range 25 {
			_, _ = w.cache.Credential(w.t.Context(), credentials.Key{Issuer: "crowd", Scope: fmt.Sprint(arg, i)},
				credentials.Static(credentials.Credential{Anonymous: true}))
		}
	case opSuspend:
		w.setWall(span, 0)
	case opWall:
		if arg&8 != 0 {
			span = -span
		}
		w.setWall(span, span)
	case opAdopt:
		w.adopt(k, int(arg)/modelKeys%4)
	case opRun:
		if w.stop != nil {
			w.stop()
			w.stop = nil
			return
		}
		ctx, stop := context.WithCancel(w.t.Context())
		w.stop = stop
		go func() { _ = w.cache.Run(ctx) }()
	}
}

// checkNextCalls checks that each renewal is due within the lifetime of its credential, on the clock of the machine.
func (w *world) checkNextCalls() {
	now := time.Now()
	for _, e := range w.cache.Snapshot() {
		if e.Usable && !e.Calling && e.NextCall.Sub(now) > e.ExpiresAt.Sub(e.IssuedAt) {
			w.failf("the next call for %s is due in %s, after the end of its credential", e.Key, e.NextCall.Sub(now))
		}
	}
}

// setWall moves the wall clock by d, which is off by wrong from the real time.
func (w *world) setWall(d, wrong time.Duration) {
	w.mu.Lock()
	w.ahead += wrong
	for _, token := range w.tokens {
		token.passed += d
		token.cred.IssuedAt = token.cred.IssuedAt.Add(-d) // SetWall moves the cache's times in the same way.
		if !token.cred.ExpiresAt.IsZero() {
			token.cred.ExpiresAt = token.cred.ExpiresAt.Add(-d)
		}
		token.skewed = token.skewed || wrong != 0
	}
	for _, a := range w.keys {
		if d > 0 && !a.failed.IsZero() {
			a.failed = a.failed.Add(-d) // The backoff has passed, too.
		}
	}
	w.mu.Unlock()
	w.cache.SetWall(d)
}

// dead reports whether the machine's clocks show that the token is expired. After a suspension with a slow wall clock,
// they do not.
func (m *modelToken) dead(now time.Time) bool {
	return !m.dies.IsZero() && !now.Add(max(-m.late, m.passed)).Before(m.dies)
}

func (w *world) disturb(k int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asks(w.key(k)).disturbs++
}

func (w *world) asks(key credentials.Key) *asks {
	if w.keys[key] == nil {
		w.keys[key] = &asks{}
	}
	return w.keys[key]
}

// get is one caller. It checks the result.
func (w *world) get(k int, byKey, hurry bool) {
	w.mu.Lock()
	key, src := w.key(k), w.source(k, w.logins[k])
	ctx, patience := w.ctx[k], time.Hour
	if hurry {
		patience = 10 * time.Millisecond
	}
	start := time.Now()
	good := w.mustHave(w.last[k], start)
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	var c credentials.Credential
	var err error
	if byKey {
		c, err = w.cache.Credential(ctx, key, src)
	} else {
		c, err = w.bound[k].Credential(ctx)
	}

	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if took := now.Sub(start); took > patience {
		w.failf("a caller with a patience of %s waited %s", patience, took)
	}
	if good != nil && (err != nil || now != start) {
		w.failf("a caller got (%v) after %s although %s was good", err, now.Sub(start), good.cred.Password.Reveal())
	}
	if err != nil {
		return
	}
	token := w.tokens[c.Password.Reveal()]
	switch {
	case token == nil:
		w.failf("a credential that was never issued: %+v", c)
	case token.dead(now):
		w.failf("%s was handed out after its end", c.Password.Reveal())
	case !token.refused.IsZero() && start.After(token.refused):
		w.failf("%s was handed out after it was refused", c.Password.Reveal())
	case token.key != key:
		w.failf("the credential of %+v was handed out for %+v", token.key, key)
	case w.key(k) == key:
		w.last[k] = token
	}
}

// mustHave returns the token if a caller must get one without waiting.
func (w *world) mustHave(token *modelToken, now time.Time) *modelToken {
	if token == nil || !token.refused.IsZero() || w.ahead != 0 || token.skewed || token.dead(now) {
		return nil
	}
	return token
}

func (w *world) invalidate(k int) {
	w.mu.Lock()
	token := w.last[k]
	if token == nil {
		w.mu.Unlock()
		return
	}
	token.refused = time.Now()
	w.last[k] = nil
	w.asks(token.key).disturbs++
	cred := token.cred
	w.mu.Unlock()
	w.cache.Invalidate(token.key, cred)
}

// present returns the key's entry in the snapshot. The dates of its credential have moved if a clock was set.
func (w *world) present(k int) []credentials.Entry {
	var found []credentials.Entry
	for _, e := range w.cache.Snapshot() {
		if e.Key == w.key(k) && e.Usable {
			found = append(found, e)
		}
	}
	return found
}

// adopt calls Adopt with a credential that another process received earlier, or with one that the cache returned.
func (w *world) adopt(k, kind int) {
	w.mu.Lock()
	key, src := w.key(k), w.source(k, w.logins[k])
	token := w.last[k]
	age := 1000 * time.Hour // Unknown.
	if kind < 3 {
		age = []time.Duration{0, 20 * time.Minute, 55 * time.Minute}[kind]
		token = w.newToken(key, time.Hour, age)
	}
	if token != nil {
		token.late = max(token.late, min(age, -token.passed))
	}
	w.mu.Unlock()
	if token == nil {
		return
	}
	held := w.present(k)
	taken := w.cache.Adopt(key, src, token.cred)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !taken || w.ahead != 0 || token.skewed || token.passed != 0:
	case kind == 2:
		w.failf("%s was adopted although its renewal is due", token.cred.Password.Reveal())
	case !token.refused.IsZero():
		w.failf("%s was adopted after it was refused", token.cred.Password.Reveal())
	case len(held) > 0 && held[0].IssuedAt.After(token.cred.IssuedAt):
		w.failf("%s was adopted in place of a newer one", token.cred.Password.Reveal())
	}
	if taken {
		w.asks(key).failed = time.Time{}
		w.holds(k, token)
	}
}

// holds records that the cache has replaced the key's token by a newer one, which may expire earlier.
func (w *world) holds(k int, token *modelToken) {
	if w.key(k) == token.key && w.last[k] != nil {
		w.last[k] = token
	}
}

func (w *world) rotate(k int) {
	w.mu.Lock()
	w.logins[k]++
	w.last[k] = nil
	key, src := w.key(k), w.source(k, w.logins[k])
	w.mu.Unlock()
	w.bound[k].Rebind(key, src)
	for _, e := range w.cache.Snapshot() {
		if e.Key.Tenant == key.Tenant && e.Key.Issuer == key.Issuer && e.Key != key && e.Holders > 0 {
			w.failf("the old login is still held: %s", e.Key)
		}
	}
}

// source returns the issuer from the view of one login.
func (w *world) source(k, login int) credentials.Source {
	key := credentials.Key{Issuer: "model", Tenant: fmt.Sprint(k), Login: credentials.Fingerprint{byte(login), byte(login >> 8)}}
	return credentials.Func(func(ctx context.Context) (credentials.Credential, error) {
		mode := w.begin(k, key)
		c, err := w.issue(ctx, k, key, mode)
		w.mu.Lock()
		defer w.mu.Unlock()
		a := w.asks(key)
		a.running--
		a.failed = time.Time{}
		if err != nil || mode == modeEmpty || mode == modeExpired {
			a.failed = time.Now()
		}
		return c, err
	})
}

func (w *world) begin(k int, key credentials.Key) byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.asks(key)
	a.running++
	if a.running > 1 && a.seen == a.disturbs {
		w.failf("two calls at once for %s", key)
	}
	if !a.failed.IsZero() && a.seen == a.disturbs && time.Since(a.failed) < 700*time.Millisecond {
		w.failf("a call %s after one that failed", time.Since(a.failed))
	}
	a.seen = a.disturbs
	return w.mode[k]
}

var errModel = errors.New("issuer fails")

func (w *world) issue(ctx context.Context, k int, key credentials.Key, mode byte) (credentials.Credential, error) {
	life := time.Hour
	switch mode {
	case modeSlow:
		time.Sleep(7 * time.Second)
	case modeShort:
		life = time.Minute
	case modeForever:
		life = 0
	case modeFail:
		return credentials.Credential{}, errModel
	case modeThrottle:
		return credentials.Credential{}, &throttle{10 * time.Minute}
	case modeHang:
		<-ctx.Done()
		return credentials.Credential{}, context.Cause(ctx)
	case modeEmpty:
		return credentials.Credential{}, nil
	case modeExpired:
		return credentials.Credential{Username: "u", Password: credentials.NewSecret("expired"), ExpiresAt: time.Now().Add(-24 * time.Hour)}, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	token := w.newToken(key, life, 0)
	w.holds(k, token)
	return token.cred, nil
}

// newToken returns a token that was issued earlier. If life is zero, it never expires. The mutex is held.
func (w *world) newToken(key credentials.Key, life, age time.Duration) *modelToken {
	name := fmt.Sprint("token-", len(w.tokens))
	token := &modelToken{key: key, skewed: w.ahead != 0, passed: w.ahead}
	// The issuer's clock is correct. The machine's, which both read here, may be ahead of it.
	token.cred = credentials.Credential{Username: "u", Password: credentials.NewSecret(name), IssuedAt: time.Now().Add(-w.ahead - age)}
	if life > 0 {
		token.cred.ExpiresAt = token.cred.IssuedAt.Add(life)
		token.dies = time.Now().Add(life - age)
	}
	w.tokens[name] = token
	return token
}

type throttle struct{ wait time.Duration }

func (t *throttle) Error() string             { return "throttled" }
func (t *throttle) RetryAfter() time.Duration { return t.wait }
