package ecrtest

import (
	"crypto/rand"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
)

// A principal is the owner of an access key: a user, or a session of a role.
type principal struct {
	arn          string // ARN of the user, or of the session.
	roleARN      string // ARN of the session's role.
	secret       string
	sessionToken string
	expiresAt    time.Time // On AWS's clock. Zero means never.
	allow        []string
	policy       *policy // Of the session. If nil, there is none.
}

// A session is an assumed role.
type session = principal

func (p principal) partition() string { return strings.Split(p.arn, ":")[1] }
func (p principal) account() string   { return accountOf(p.arn) }

func (p principal) expired(now time.Time) bool {
	return !p.expiresAt.IsZero() && !now.Before(p.expiresAt)
}

func accountOf(arn string) string {
	if part := strings.SplitN(arn, ":", 6); len(part) == 6 {
		return part[4]
	}
	return ""
}

// allows reports whether the principal's own policies and its session policy allow the action.
func (p principal) allows(action string) bool {
	return matchAction(p.allow, action) && p.policy.allows(action)
}

// namedIn reports whether a policy names the principal or its account, and whether it names the principal itself.
func (p principal) namedIn(arns []string) (named, itself bool) {
	for _, arn := range arns {
		if arn == p.arn || p.roleARN != "" && arn == p.roleARN {
			return true, true
		}
		named = named || strings.HasSuffix(arn, ":root") && accountOf(arn) == p.account()
	}
	return named, false
}

// principalOf returns the owner of the access key.
func (a *AWS) principalOf(accessKeyID string) (p principal, ok bool) {
	for _, u := range a.Users {
		if u.AccessKeyID == accessKeyID {
			return principal{arn: u.ARN, secret: u.SecretAccessKey.Reveal(), allow: u.Allow}, true
		}
	}
	a.locked(func() { p, ok = a.sessions[accessKeyID] })
	return p, ok
}

func (a *AWS) roleOf(arn string) (Role, bool) {
	for _, r := range a.Roles {
		if r.ARN == arn {
			return r, true
		}
	}
	return Role{}, false
}

// An issuedKey is the key of a session.
type issuedKey struct {
	accessKeyID string
	session
}

// startSession assumes the role. If ttl is zero, the default applies; if narrow is nil, the session may do what the role
// may.
func (a *AWS) startSession(role Role, name string, ttl time.Duration, narrow *policy) issuedKey {
	if ttl == 0 {
		ttl = a.SessionTTL
	}
	if ttl == 0 {
		ttl = time.Hour
	}
	part := strings.SplitN(role.ARN, ":", 6)
	roleName := part[5][strings.LastIndexByte(part[5], '/')+1:]
	k := issuedKey{"ASIA" + rand.Text()[:16], session{
		arn:          strings.Join([]string{"arn", part[1], "sts", "", part[4], "assumed-role/" + roleName + "/" + name}, ":"),
		roleARN:      role.ARN,
		secret:       rand.Text() + rand.Text()[:14],
		sessionToken: longText(),
		expiresAt:    a.now().Add(ttl),
		allow:        role.Allow,
		policy:       narrow,
	}}
	a.locked(func() { a.sessions[k.accessKeyID] = k.session })
	return k
}

// longText returns a random text as long as a session token or a registry's password.
func longText() string {
	var b strings.Builder
	for b.Len() < 1000 {
		b.WriteString(rand.Text())
	}
	return b.String()
}

// defaultAudience is the client ID that IAM's console proposes for an OpenID Connect provider.
const defaultAudience = "sts.amazonaws.com"

// A webToken is a token of an OpenID Connect issuer.
type webToken struct {
	subject, issuer, audience string
	expiresAt                 time.Time
}

// WebIdentity returns a token for the subject, such as "system:serviceaccount:team:puller", from an issuer that all
// accounts trust. If ttl is zero, the token is valid for an hour.
func (a *AWS) WebIdentity(subject string, ttl time.Duration) credentials.Secret {
	if ttl == 0 {
		ttl = time.Hour
	}
	text := longText()
	a.locked(func() {
		a.webTokens[text] = webToken{subject, "https://issuer.example.com", defaultAudience, a.now().Add(ttl)}
	})
	return credentials.NewSecret(text)
}

func partitionOf(region string) string {
	for prefix, partition := range map[string]string{
		"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b", "eu-isoe-": "aws-iso-e", "us-isof-": "aws-iso-f", "eusc-": "aws-eusc",
	} {
		if strings.HasPrefix(region, prefix) {
			return partition
		}
	}
	return "aws"
}
