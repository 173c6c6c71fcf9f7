package login

import (
	"net/netip"
	"sync"
	"time"
)

// throttle limits the rate of password guesses. Only failed logins count. A client has an allowance for each name that
// it tries, and one for all names together, so that an attack on a name does not lock out its owner, who uses another
// address.
//
// The zero throttle is ready to use.
type throttle struct {
	mu   sync.Mutex
	left map[string]allowance
}

type allowance struct {
	tokens float64
	at     time.Time
}

const (
	// A person who forgot a password tries a few. 10 a minute are 5 million a year, against passwords of at least 8
	// bytes.
	perName       = 10
	perNameEvery  = 6 * time.Second
	perClient     = 100
	perClientEach = time.Second
	// maxAllowances limits the memory, to about 10 MB. At the limit, allowances that are full again are forgotten
	// first, and then any others.
	maxAllowances = 1 << 16
)

// take takes one attempt from both allowances, or returns the time to wait for one. The caller gives the attempt back
// if the login was correct. If others is true, the client has attempts left for this name, but none for all names
// together.
func (t *throttle) take(client, name string, now time.Time) (wait time.Duration, others bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	both, one := t.get(client+"\x00"+name, perName, perNameEvery, now), t.get(client, perClient, perClientEach, now)
	if both.tokens < 1 {
		wait = time.Duration((1 - both.tokens) * float64(perNameEvery))
	}
	if one.tokens < 1 {
		others = wait == 0
		wait = max(wait, time.Duration((1-one.tokens)*float64(perClientEach)))
	}
	if wait > 0 {
		return wait, others
	}
	both.tokens--
	one.tokens--
	t.set(client+"\x00"+name, both)
	t.set(client, one)
	return 0, false
}

// first records a late check of the name, and returns true. It returns false if it has recorded one for the client
// within laterAgain. It takes no attempt: only existing accounts have late checks, and a client can see how many
// attempts are left.
func (t *throttle) first(client, name string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := lateKey(client, name)
	if a, ok := t.left[key]; ok && now.Sub(a.at) < laterAgain {
		return false
	}
	t.set(key, allowance{at: now})
	return true
}

// forget undoes first.
func (t *throttle) forget(client, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.left, lateKey(client, name))
}

// lateKey returns the key under which left records a late check. Valid names contain no zero byte.
func lateKey(client, name string) string { return client + "\x00" + name + "\x00late" }

// giveBack undoes a take.
func (t *throttle) giveBack(client, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, most := range map[string]float64{client + "\x00" + name: perName, client: perClient} {
		if a, ok := t.left[key]; ok {
			if a.tokens++; a.tokens >= most {
				delete(t.left, key)
				continue
			}
			t.left[key] = a
		}
	}
}

func (t *throttle) get(key string, most float64, every time.Duration, now time.Time) allowance {
	a, ok := t.left[key]
	if !ok {
		return allowance{most, now}
	}
	return allowance{min(most, a.tokens+float64(now.Sub(a.at))/float64(every)), now}
}

func (t *throttle) set(key string, a allowance) {
	if t.left == nil {
		t.left = make(map[string]allowance)
	}
	if _, ok := t.left[key]; !ok && len(t.left) >= maxAllowances {
		t.evict(a.at)
	}
	t.left[key] = a
}

func (t *throttle) evict(now time.Time) {
	for key, a := range t.left {
		if now.Sub(a.at) > perName*perNameEvery { // Both kinds are full again after that, or nearly so.
			delete(t.left, key)
		}
	}
	for key := range t.left { // An attacker who fills the table from that many addresses gains only a few attempts.
		if len(t.left) < maxAllowances/2 {
			return
		}
		delete(t.left, key)
	}
}

// ClientKey returns the part of an address, with or without a port, that identifies a client: for IPv6, the /64 network
// of a site or machine.
func ClientKey(address string) string {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		address = ap.Addr().String()
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if prefix, err := ip.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return ip.String()
}
