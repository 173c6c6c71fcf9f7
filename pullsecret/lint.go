package pullsecret

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/internal/stray"
)

// A Rule identifies a problem that [Config.Lint] looks for.
type Rule string

// The rules. Problems of the first group make pulls fail. Problems of the second may have effects that the author of
// the secret does not expect.
const (
	// NeverMatches reports a key that no image matches, because a kubelet does not read it as intended.
	NeverMatches Rule = "never-matches"
	// DockerHubKey reports a key for Docker Hub other than the one that all clients look for.
	DockerHubKey Rule = "docker-hub-key"
	// NoLogins reports a config with content in which a kubelet finds no login: the entries are not in an object "auths",
	// or the content is a manifest.
	NoLogins Rule = "no-logins"
	// NoPassword reports an entry without a user name or without a password.
	NoPassword Rule = "no-password"
	// IdentityToken reports an entry with a token in a field that a kubelet does not read.
	IdentityToken Rule = "identity-token"
	// LineBreak reports a user name or password that starts or ends with white space, a byte order mark or a NUL, as "echo
	// user:password | base64" leaves it.
	LineBreak Rule = "line-break"
	// Expired reports an expired credential.
	Expired Rule = "expired"
	// Undecodable reports a secret that a kubelet cannot decode, which blocks the whole pod. [LintPod] reports it.
	Undecodable Rule = "undecodable"

	// PrefixOverlap reports a path that matches another key's images too, because a kubelet compares plain prefixes and
	// not whole parts of a path.
	PrefixOverlap Rule = "prefix-overlap"
	// SameKey reports a key that is another spelling of a key with a different login.
	SameKey Rule = "same-key"
	// PartialStar reports a key with a star beside letters. The star matches letters in that part of the host only.
	PartialStar Rule = "partial-star"
	// DefaultPort reports a key with port 443, which matches only images that name the port too.
	DefaultPort Rule = "default-port"
	// AuthWins reports an entry whose "auth" differs from its "username" and "password".
	AuthWins Rule = "auth-wins"
	// Unpadded reports an "auth" without the trailing =, which a kubelet reads and other clients do not.
	Unpadded Rule = "unpadded"
	// EmailDiffers reports an entry with an email, if another entry with the same login has a different email or none.
	// [LintPod] reports it.
	EmailDiffers Rule = "email-differs"
	// CredentialHelper reports a credsStore or credHelpers, which a kubelet does not use.
	CredentialHelper Rule = "credential-helper"
)

// A Finding is a problem in a config.
type Finding struct {
	// Key is the key of the entry as written in the config, without any login in it. Empty means the config as a whole.
	Key string
	// Rule identifies the problem, for programs.
	Rule Rule
	// Fatal reports that pulls with this entry fail. Otherwise they may work.
	Fatal bool
	// Message describes the problem and Hint the fix, each in one sentence without a full stop. Neither holds a secret.
	Message, Hint string
	// Secret is the name of the secret. Empty if the finding is not from [LintPod].
	Secret string
}

// String returns the finding in one line.
func (f Finding) String() string {
	key := f.Key
	if key == "" {
		key = "config"
	}
	if f.Secret != "" {
		key = f.Secret + ": " + key
	}
	return key + ": " + f.Message + " (" + string(f.Rule) + "); hint: " + f.Hint
}

// Lint returns the problems that a kubelet would have with the config at the time now, sorted by key. It returns nil if
// there are none. It does not check whether registries accept the credentials; package validate does.
func (c Config) Lint(now time.Time) []Finding {
	if c.p == nil {
		return nil
	}
	l := linter{config: c, now: now}
	l.helpers()
	texts := c.texts()
	byHost := make(map[string][]*indexed)
	byKey := make(map[string][]*indexed)
	for i := range c.p.members {
		m := &indexed{member: &c.p.members[i]}
		host, ok := m.file()
		l.key(m, host, ok)
		l.login(m.member, texts[m.member.key])
		if ok {
			byHost[host] = append(byHost[host], m)
			byKey[m.key] = append(byKey[m.key], m)
		}
	}
	for _, list := range byKey {
		l.sameKey(list)
	}
	for _, list := range byHost {
		l.overlaps(list)
	}
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return l.findings
}

type linter struct {
	config   Config
	now      time.Time
	findings []Finding
}

func (l *linter) add(key string, rule Rule, breaks bool, message, hint string) {
	l.findings = append(l.findings, Finding{Key: shown(key), Rule: rule, Fatal: breaks, Message: message, Hint: hint})
}

// An entryText has the fields of an entry as written.
type entryText struct {
	Username, Password, Auth, IdentityToken, RegistryToken, Email any
}

// texts returns the entries of a parsed config; none if it was built.
func (c Config) texts() map[string]entryText {
	if c.p.text.IsZero() {
		return nil
	}
	texts := make(map[string]entryText)
	for key, raw := range c.document().auths {
		var e entryText
		_ = json.Unmarshal(raw, &e) // It was decoded before.
		texts[key] = e
	}
	return texts
}

func (l *linter) helpers() {
	if l.config.p.text.IsZero() {
		return
	}
	doc := l.config.document()
	if len(doc.auths) == 0 && len(doc.other) > 0 {
		l.noLogins(doc.other)
	}
	for name, raw := range doc.other {
		isHelper := strings.EqualFold(name, "credsStore") || strings.EqualFold(name, "credHelpers")
		if isHelper && !slices.Contains([]string{`""`, "{}", "null"}, string(raw)) {
			l.add("", CredentialHelper, len(l.config.p.members) == 0,
				"names a credential helper in "+name+", which no kubelet runs",
				"enter the login itself, or set up a credential provider on the nodes")
		}
	}
}

// noLogins checks the content of a config without entries.
func (l *linter) noLogins(other map[string]json.RawMessage) {
	add := func(message, hint string) { l.add("", NoLogins, true, message, hint) }
	switch {
	case other["apiVersion"] != nil && other["kind"] != nil:
		add("is a whole manifest, in which a kubelet finds no login", "use the decoded value of .dockerconfigjson in the manifest")
	case other[SecretKey] != nil || other[".dockercfg"] != nil:
		add("is the data of a secret, in which a kubelet finds no login", "put in what is under "+SecretKey+", decoded once")
	case bareEntries(other):
		add("has the entries of the older type kubernetes.io/dockercfg, which a kubelet does not read in this type",
			`put them into an object: {"auths": {...}}`)
	}
}

// bareEntries reports whether all members are entries of a pull secret.
func bareEntries(other map[string]json.RawMessage) bool {
	for _, raw := range other {
		var e entryText
		if json.Unmarshal(raw, &e) != nil || !(isText(e.Auth) || isText(e.Username) || isText(e.Password) || isText(e.IdentityToken)) {
			return false
		}
	}
	return true
}

func (l *linter) login(m *member, text entryText) {
	c := m.credential
	password := c.Password.Reveal()
	switch empty := c.Username == "" || password == ""; {
	case isText(text.IdentityToken) || isText(text.RegistryToken):
		l.add(m.key, IdentityToken, empty, "has a token in identitytoken or registrytoken, which no kubelet reads",
			"put a user name and a password or access token into auth")
	case empty:
		l.add(m.key, NoPassword, true, "has no user name or no password",
			"put both into auth, or remove the entry to pull without a login")
	case stray.AtEnd(password) != "":
		l.add(m.key, LineBreak, true, "has a password with "+stray.AtEnd(password)+" at an end",
			"encode it again without it (printf instead of echo)")
	case stray.AtEnd(c.Username) != "":
		l.add(m.key, LineBreak, true, "has a user name with "+stray.AtEnd(c.Username)+" at an end",
			"encode it again without it (printf instead of echo)")
	case c.Expired(l.now):
		l.add(m.key, Expired, true, "has a credential that expired at "+c.ExpiresAt.UTC().Format(time.RFC3339),
			"put a new one in")
	}
	auth, _ := text.Auth.(string)
	if auth == "" {
		return
	}
	if (isText(text.Username) && text.Username != c.Username) || (isText(text.Password) && text.Password != password) {
		l.add(m.key, AuthWins, false,
			"has a username or password that differs from auth, which takes precedence",
			"remove username and password")
	}
	if len(strings.Join(strings.Fields(auth), ""))%4 != 0 { // Decoders skip line breaks.
		l.add(m.key, Unpadded, false,
			"has an auth without the = at its end: a kubelet reads it, docker rejects the whole file",
			"encode it again with padding")
	}
}

func isText(v any) bool {
	s, _ := v.(string)
	return s != ""
}
