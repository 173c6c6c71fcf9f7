package ecrtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/providers/ecr"
)

// A token is the password of a registry.
type token struct {
	principal principal
	region    string
	public    bool
	expiresAt time.Time // On this machine's clock, like the registries'.
}

const (
	defaultTokenTTL = 12 * time.Hour
	defaultRate     = 20
	defaultBurst    = 200
)

func (a *AWS) getAuthorizationToken(p principal, e endpoint) (*reply, *failure) {
	if !a.take(p.account() + "/" + e.region) {
		return nil, &failure{http.StatusBadRequest, "ThrottlingException", "Rate exceeded"}
	}
	actions := []string{e.service + ":GetAuthorizationToken"}
	public := e.service == "ecr-public"
	if public {
		actions = append(actions, "sts:GetServiceBearerToken")
	}
	for _, action := range actions {
		if !p.allows(action) {
			return nil, &failure{http.StatusBadRequest, "AccessDeniedException",
				"User: " + p.arn + " is not authorized to perform: " + action + " on resource: * because no identity-based policy allows the " + action + " action"}
		}
	}
	ttl := a.TokenTTL
	if ttl == 0 {
		ttl = defaultTokenTTL
	}
	expires := a.now().Add(ttl)
	password := newPassword(expires)
	a.locked(func() { a.tokens[password] = token{p, e.region, public, time.Now().Add(ttl)} })

	pair := base64.StdEncoding.EncodeToString([]byte(ecr.Username + ":" + password))
	at := fmt.Sprintf("%.3f", float64(expires.UnixMilli())/1000)
	data := `{"authorizationToken":"` + pair + `","expiresAt":` + at
	if public {
		return &reply{"application/x-amz-json-1.1", `{"authorizationData":` + data + `}}`}, nil
	}
	proxy := "https://" + p.account() + ".dkr.ecr." + e.region + ".amazonaws.com"
	return &reply{"application/x-amz-json-1.1", `{"authorizationData":[` + data + `,"proxyEndpoint":"` + proxy + `"}]}`}, nil
}

// newPassword returns a password in AWS's present format, which clients should not depend on.
func newPassword(expires time.Time) string {
	inner, _ := json.Marshal(map[string]any{ // Strings and a number are always JSON.
		"payload": longText(), "datakey": longText()[:200], "version": "2", "type": "DATA_KEY", "expiration": expires.Unix(),
	})
	return base64.StdEncoding.EncodeToString(inner)
}

// ExpireTokens expires all issued tokens of registries.
func (a *AWS) ExpireTokens() {
	a.locked(func() {
		for password, t := range a.tokens {
			t.expiresAt = time.Now()
			a.tokens[password] = t
		}
	})
}

// A bucket is a token bucket of calls.
type bucket struct {
	left float64
	at   time.Time
}

// take takes one call from the bucket of an account and region, and reports whether there was one.
func (a *AWS) take(name string) (ok bool) {
	rate, burst := float64(option.OrDefault(a.Rate, defaultRate)), float64(option.OrDefault(a.Burst, defaultBurst))
	a.locked(func() {
		now := time.Now()
		b := a.buckets[name]
		if b == nil {
			b = &bucket{burst, now}
			a.buckets[name] = b
		}
		b.left = min(burst, b.left+rate*now.Sub(b.at).Seconds())
		b.at = now
		if ok = b.left >= 1; ok {
			b.left--
		}
	})
	return ok
}
