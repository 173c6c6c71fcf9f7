package credentials

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Login is how a user of a registry proves who they are: what a person types in under "access credentials".
//
// Exactly one way is set: Anonymous, Ambient, Username with Password, AWS, Google, or Fields. The zero Login is none of them and is refused, so that a
// login that was forgotten never becomes an anonymous one by accident.
//
// It is plain data. It may be copied, must not be changed once in use, and never prints its secrets.
type Login struct {
	// Anonymous says that the registry is used without a login, like Microsoft's MCR, or Docker Hub for public images.
	Anonymous bool `json:"anonymous,omitempty"`

	// Ambient says that the login is the identity that the process already has: that of its cloud account, its machine, its pod. A provider
	// that knows no such identity refuses it.
	Ambient bool `json:"ambient,omitempty"`

	// Username and Password are a user and their password, or any pair that a registry takes in their place: an access token, a
	// robot account, a deploy token, a user token.
	Username string `json:"username,omitempty"`
	Password Secret `json:"password,omitzero"`

	// ExpiresAt is when the password ends to be valid, for a token or robot account that was made with an expiry.
	// Zero means never, or not known. It goes with Username and Password only.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`

	// AWS is an identity of Amazon Web Services.
	AWS *AWSLogin `json:"aws,omitempty"`

	// Google is an identity of Google Cloud.
	Google *GoogleLogin `json:"google,omitempty"`

	// Fields is what a provider of one's own needs: names and values.
	Fields map[string]Secret `json:"fields,omitempty"`
}

// An AWSLogin is an identity of Amazon Web Services: the one it starts from, and the roles that are assumed from there.
//
// It starts from the access key if one is set, else from the web identity, else from the ambient identity of the process:
// environment, shared configuration files, web identity of the pod, EKS Pod Identity, instance role.
type AWSLogin struct {
	// AccessKeyID and SecretAccessKey are a static key.
	AccessKeyID     string `json:"accessKeyID,omitempty"`
	SecretAccessKey Secret `json:"secretAccessKey,omitzero"`
	// SessionToken goes with a temporary key.
	SessionToken Secret `json:"sessionToken,omitzero"`

	// WebIdentity exchanges a token of an OpenID Connect issuer, such as a Kubernetes service account's, for a role.
	WebIdentity *AWSWebIdentity `json:"webIdentity,omitempty"`

	// Roles are assumed one after the other, each with the credentials of the one before it. None is the common case.
	Roles []AWSRole `json:"roles,omitempty"`

	// NoInstanceMetadata keeps an ambient identity from asking the instance metadata service, which is slow to time out where there is none.
	NoInstanceMetadata bool `json:"noInstanceMetadata,omitempty"`
}

// An AWSWebIdentity is a role that AWS gives for a token of an OpenID Connect issuer.
type AWSWebIdentity struct {
	RoleARN string `json:"roleARN"`
	// TokenFile is the path of a file with the token; it is read anew for each exchange. Token is the token itself. One of them is set.
	TokenFile string `json:"tokenFile,omitempty"`
	Token     Secret `json:"token,omitzero"`
	// SessionName is how the session is named in AWS's logs. Empty means "regcred".
	SessionName string `json:"sessionName,omitempty"`
}

// An AWSRole is a role to assume.
type AWSRole struct {
	ARN string `json:"arn"`
	// ExternalID is what the owner of the role asks for, where a third party assumes it.
	ExternalID string `json:"externalID,omitempty"`
	// SessionName is how the session is named in AWS's logs. Empty means "regcred".
	SessionName string `json:"sessionName,omitempty"`
}

// A GoogleLogin is an identity of Google Cloud: the one it starts from, and the service account that is impersonated from there.
//
// It starts from the Credentials JSON if that is set, else from the ambient identity of the process: application default credentials, metadata server.
type GoogleLogin struct {
	// Credentials is a credentials JSON: a service-account key as the console lets one download it, or its base64 form; or the
	// configuration of an external account (workload identity federation).
	Credentials Secret `json:"credentials,omitzero"`

	// AccessToken says that short-lived access tokens are made from a service-account key. False means that the long-lived key itself is the password,
	// which then stands in every secret and is valid until it is deleted. All other identities always make access tokens.
	AccessToken bool `json:"accessToken,omitempty"`

	// Impersonate is the e-mail address of a service account whose access tokens are made with the identity. Empty means none.
	Impersonate string `json:"impersonate,omitempty"`
	// Delegates are the service accounts between the identity and the one impersonated, in their order. Most often there is none.
	Delegates []string `json:"delegates,omitempty"`
}

// Validate reports every problem at once, as an [InvalidError]. The paths of the fields start at the login. Whether a provider
// takes a login of this form is the provider's to say.
func (l Login) Validate() error {
	var p Problems
	var ways []string
	way := func(set bool, name string) {
		if set {
			ways = append(ways, name)
		}
	}
	basic := l.Username != "" || !l.Password.IsZero()
	way(l.Anonymous, "anonymous")
	way(l.Ambient, "ambient")
	way(basic, "username and password")
	way(l.AWS != nil, "aws")
	way(l.Google != nil, "google")
	way(len(l.Fields) > 0, "fields")
	switch {
	case len(ways) == 0:
		p.Add("", "is missing", "username and password, aws, google, or ambient; or anonymous: true for a registry that needs no login")
	case len(ways) > 1:
		p.Add("", "says "+strings.Join(ways, " and "), "just one of them")
	}
	if basic {
		if l.Username == "" {
			p.Add("username", "is missing", "the name that goes with the password (with a token, often any text will do: see the registry's guide)")
		}
		if strings.Contains(l.Username, ":") {
			p.Add("username", "has a colon", "a name without one: where a login is sent, the first colon ends the name")
		}
		if l.Password.IsZero() {
			p.Add("password", "is missing", "a password or token")
		}
		if hasControl(l.Username) {
			p.Add("username", "has a line break or another control character", "printable text (was it copied with its line end?)")
		}
		if l.Username != "_json_key" && hasControl(l.Password.Reveal()) { // A key of Google's is a JSON file of many lines.
			p.Add("password", "has a line break or another control character", "printable text (was it read from a file with its line end?)")
		}
	}
	if !l.ExpiresAt.IsZero() && !basic {
		p.Add("expiresAt", "does not go with "+cmpOr(strings.Join(ways, " and "), "no login"), "it with username and password only: other logins learn the expiry from their issuer")
	}
	p.Under("aws", l.AWS.validate())
	p.Under("google", l.Google.validate())
	return p.Err("")
}

func (l *AWSLogin) validate() error {
	if l == nil {
		return nil
	}
	var p Problems
	if l.AccessKeyID == "" && (!l.SecretAccessKey.IsZero() || !l.SessionToken.IsZero()) {
		p.Add("accessKeyID", "is missing", "the ID that goes with the secret key, such as AKIA... or ASIA...")
	}
	if l.AccessKeyID != "" && l.SecretAccessKey.IsZero() {
		p.Add("secretAccessKey", "is missing", "the secret that goes with the access key")
	}
	if strings.HasPrefix(l.AccessKeyID, "ASIA") && l.SessionToken.IsZero() {
		p.Add("sessionToken", "is missing", "the session token, for an access key that starts with ASIA is a temporary one")
	}
	if hasControl(l.AccessKeyID) || hasControl(l.SecretAccessKey.Reveal()) || hasControl(l.SessionToken.Reveal()) {
		p.Add("accessKeyID", "or one of its secrets has a line break or another control character", "printable text")
	}
	if w := l.WebIdentity; w != nil {
		if l.AccessKeyID != "" {
			p.Add("webIdentity", "stands beside an access key", "just one of them")
		}
		if !validRoleARN(w.RoleARN) {
			p.Add("webIdentity.roleARN", problemOf(w.RoleARN), wantRoleARN)
		}
		if (w.TokenFile == "") == w.Token.IsZero() {
			p.Add("webIdentity", "has not exactly one of tokenFile and token", "a file that holds the token, or the token")
		}
	}
	for i, r := range l.Roles {
		if !validRoleARN(r.ARN) {
			p.Add(fmt.Sprintf("roles[%d].arn", i), problemOf(r.ARN), wantRoleARN)
		}
	}
	return p.Err("")
}

const wantRoleARN = "the ARN of a role, such as arn:aws:iam::123456789012:role/pull"

func validRoleARN(arn string) bool {
	part := strings.SplitN(arn, ":", 6)
	return len(part) == 6 && part[0] == "arn" && strings.HasPrefix(part[1], "aws") && part[2] == "iam" && part[4] != "" &&
		strings.HasPrefix(part[5], "role/") && !hasControl(arn)
}

func (l *GoogleLogin) validate() error {
	if l == nil {
		return nil
	}
	var p Problems
	if l.Impersonate != "" && !strings.Contains(l.Impersonate, "@") {
		p.Add("impersonate", problemOf(l.Impersonate), "the e-mail address of a service account")
	}
	if len(l.Delegates) > 0 && l.Impersonate == "" {
		p.Add("delegates", "is set without impersonate", "a service account that they lead to")
	}
	return p.Err("")
}

func problemOf(value string) string {
	if value == "" {
		return "is missing"
	}
	return fmt.Sprintf("is %q", value)
}

func cmpOr(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Fingerprint stands for the login in a [Key] or in a log: it changes whenever anything in the login changes.
func (l Login) Fingerprint() Fingerprint {
	d := NewDigest("login")
	d.Bool(l.Anonymous)
	d.Bool(l.Ambient)
	d.String(l.Username)
	d.Secret(l.Password)
	d.Time(l.ExpiresAt)
	if d.Bool(l.AWS != nil); l.AWS != nil {
		l.AWS.digest(d)
	}
	if d.Bool(l.Google != nil); l.Google != nil {
		d.Secret(l.Google.Credentials)
		d.Bool(l.Google.AccessToken)
		d.String(l.Google.Impersonate)
		d.Strings(l.Google.Delegates)
	}
	d.Int(len(l.Fields))
	for _, name := range slices.Sorted(maps.Keys(l.Fields)) {
		d.String(name)
		d.Secret(l.Fields[name])
	}
	return d.Sum()
}

func (l *AWSLogin) digest(d *Digest) {
	d.String(l.AccessKeyID)
	d.Secret(l.SecretAccessKey)
	d.Secret(l.SessionToken)
	if d.Bool(l.WebIdentity != nil); l.WebIdentity != nil {
		d.String(l.WebIdentity.RoleARN)
		d.String(l.WebIdentity.TokenFile)
		d.Secret(l.WebIdentity.Token)
		d.String(l.WebIdentity.SessionName)
	}
	d.Int(len(l.Roles))
	for _, r := range l.Roles {
		d.Strings([]string{r.ARN, r.ExternalID, r.SessionName})
	}
	d.Bool(l.NoInstanceMetadata)
}
