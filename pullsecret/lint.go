package pullsecret

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/internal/stray"
)

// A Rule is what [Config.Lint] looks for.
type Rule string

// The rules. Those of the first group break pulls, those of the second may surprise.
const (
	// NeverMatches is a key that no image matches: a kubelet reads it as something other than it was meant to be.
	NeverMatches Rule = "never-matches"
	// DockerHubKey is a key that is meant for Docker Hub and is not the one that all clients look for.
	DockerHubKey Rule = "docker-hub-key"
	// NoLogins is a config that has something in it, and nothing that a kubelet takes for a login: the entries without the
	// object around them, or a manifest.
	NoLogins Rule = "no-logins"
	// NoPassword is an entry without a user name or without a password.
	NoPassword Rule = "no-password"
	// IdentityToken is an entry with a token in a field that a kubelet does not read.
	IdentityToken Rule = "identity-token"
	// LineBreak is a user name or password with white space, a byte order mark or a NUL at an end, as
	// "echo user:password | base64" leaves it.
	LineBreak Rule = "line-break"
	// Expired is a credential that is expired.
	Expired Rule = "expired"
	// Undecodable is a secret that a kubelet cannot decode, which blocks the whole pod. [LintPod] reports it.
	Undecodable Rule = "undecodable"

	// PrefixOverlap is a path that serves another key's images too, because a kubelet does not look for the end of a
	// path's part.
	PrefixOverlap Rule = "prefix-overlap"
	// SameKey is a key that is another spelling of one with a different login.
	SameKey Rule = "same-key"
	// PartialStar is a key with a star beside letters, which stands for letters of that part of the host only.
	PartialStar Rule = "partial-star"
	// DefaultPort is a key with port 443, which serves just the images that name the port too.
	DefaultPort Rule = "default-port"
	// AuthWins is an entry whose "auth" says something else than its "username" and "password".
	AuthWins Rule = "auth-wins"
	// Unpadded is an "auth" without the = at its end, which a kubelet reads and other clients do not.
	Unpadded Rule = "unpadded"
	// EmailDiffers is an entry with an email, where another one with the same login has another or none. [LintPod] reports
	// it.
	EmailDiffers Rule = "email-differs"
	// CredentialHelper is a credsStore or credHelpers, which a kubelet does not use.
	CredentialHelper Rule = "credential-helper"
)

// A Finding is something in a config that does not do what it looks like.
type Finding struct {
	// Key is the key of the entry as it stands in the config, but for a login in it. Empty means the config as a whole.
	Key string
	// Rule is what was looked for, for programs.
	Rule Rule
	// Fatal says that pulls with this entry fail. Without it, they may work.
	Fatal bool
	// Message is what is the matter, and Hint is what to do about it, each in one sentence without a full stop. Neither
	// holds a secret.
	Message, Hint string
	// Secret is the name of the secret. Empty if the finding is not from [LintPod].
	Secret string
}

// String returns all of it in one line.
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

// Lint returns what would not work, or not as it looks, on a kubelet at the instant now; sorted by key. Nothing means
// that there is nothing to say; whether the registries take the credentials is for package validate.
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

// An entryText has the fields of an entry as somebody wrote them.
type entryText struct {
	Username, Password, Auth, IdentityToken, RegistryToken, Email any
}

// texts returns the entries of what was parsed; none of what was built.
func (c Config) texts() map[string]entryText {
	if c.p.text.IsZero() {
		return nil
	}
	texts := make(map[string]entryText)
	for key, raw := range c.document().auths {
		var e entryText
		_ = json.Unmarshal(raw, &e) // It was read once.
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
				"put the login itself in, or set up a credential provider on the nodes")
		}
	}
}

// noLogins looks at what is in a config without entries.
func (l *linter) noLogins(other map[string]json.RawMessage) {
	add := func(message, hint string) { l.add("", NoLogins, true, message, hint) }
	switch {
	case other["apiVersion"] != nil && other["kind"] != nil:
		add("is a whole manifest, in which a kubelet finds no login", "put in what is under .dockerconfigjson in the manifest, decoded once")
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
			"encode it again without (printf instead of echo)")
	case stray.AtEnd(c.Username) != "":
		l.add(m.key, LineBreak, true, "has a user name with "+stray.AtEnd(c.Username)+" at an end",
			"encode it again without (printf instead of echo)")
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
			"has a username or password that differs from what is in auth, and auth is what is used",
			"remove username and password")
	}
	if len(strings.Join(strings.Fields(auth), ""))%4 != 0 { // Decoders skip line breaks.
		l.add(m.key, Unpadded, false,
			"has an auth without the = at its end: a kubelet reads it, docker refuses the whole file",
			"encode it again with padding")
	}
}

func isText(v any) bool {
	s, _ := v.(string)
	return s != ""
}
