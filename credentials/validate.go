package credentials

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/internal/stray"
)

// Validate reports all problems at once, as a [field.Errors]. The paths of the fields start at the login. It does not
// check whether the provider accepts the form of login; the provider does.
func (l Login) Validate() error {
	var p field.List
	ways := l.ways()
	switch len(ways) {
	case 0:
		p.Add("", "is missing",
			"username and password, aws, google, azure, federated, or ambient; or anonymous: true for a registry that needs no login")
	case 1:
	default:
		p.Add("", "says "+strings.Join(ways, " and "), "only one of them")
	}
	if l.Username != "" || !l.Password.IsZero() {
		l.validateBasic(&p)
	} else if !l.ExpiresAt.IsZero() {
		p.Add("expiresAt", "does not go with "+cmp.Or(strings.Join(ways, " and "), "no login"),
			"it with username and password only: other logins learn the expiry from their issuer")
	}
	if l.AWS != nil {
		p.Under("aws", l.AWS.validate())
	}
	if l.Google != nil {
		p.Under("google", l.Google.validate())
	}
	if l.Azure != nil {
		p.Under("azure", l.Azure.validate())
	}
	if l.Federated != nil {
		p.Under("federated", l.Federated.validate())
	}
	return p.Err("")
}

// Form returns the name of the one form that is set, as in the JSON of the login: "anonymous", "ambient", "username"
// for a user name and password, "aws", "google", "azure", "federated" or "fields". It is empty if none or several are
// set, which [Login.Validate] rejects.
func (l Login) Form() string {
	ways := l.ways()
	if len(ways) != 1 {
		return ""
	}
	form, _, _ := strings.Cut(ways[0], " ")
	return form
}

// ways returns the names of the forms that are set.
func (l Login) ways() []string {
	var ways []string
	for _, way := range []struct {
		name string
		set  bool
	}{
		{"anonymous", l.Anonymous},
		{"ambient", l.Ambient},
		{"username and password", l.Username != "" || !l.Password.IsZero()},
		{"aws", l.AWS != nil},
		{"google", l.Google != nil},
		{"azure", l.Azure != nil},
		{"federated", l.Federated != nil},
		{"fields", len(l.Fields) > 0},
	} {
		if way.set {
			ways = append(ways, way.name)
		}
	}
	return ways
}

func (l Login) validateBasic(p *field.List) {
	if l.Username == "" {
		p.Add("username", "is missing",
			"the name that goes with the password (with a token, often any text will do: see the registry's guide)")
	}
	if strings.Contains(l.Username, ":") {
		p.Add("username", "has a colon", "a name without a colon, because the first colon of a login ends the name")
	}
	checkLine(p, "username", l.Username)
	if l.Password.IsZero() {
		p.Add("password", "is missing", "a password or token")
	}
	if l.Username != "_json_key" { // A service-account key of Google's, which is a JSON file of many lines.
		checkLine(p, "password", l.Password.Reveal())
	}
	if l.ExpiresAt.After(time.Now().Add(maxLife)) { // The cache would report it as an error of the issuer.
		p.Add("expiresAt", "is more than ten years ahead", "an earlier time: leave it empty if the password does not expire")
	}
}

func (l *AWSLogin) validate() error {
	var p field.List
	if l.AccessKeyID == "" && (!l.SecretAccessKey.IsZero() || !l.SessionToken.IsZero()) {
		p.Add("accessKeyID", "is missing", "the ID that goes with the secret key, such as AKIA... or ASIA...")
	}
	checkLine(&p, "accessKeyID", l.AccessKeyID)
	if l.AccessKeyID != "" && l.SecretAccessKey.IsZero() {
		p.Add("secretAccessKey", "is missing", "the secret that goes with the access key")
	}
	checkLine(&p, "secretAccessKey", l.SecretAccessKey.Reveal())
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-prefixes
	if strings.HasPrefix(l.AccessKeyID, "ASIA") && l.SessionToken.IsZero() {
		p.Add("sessionToken", "is missing", "the session token, because an access key that starts with ASIA is temporary")
	}
	checkLine(&p, "sessionToken", l.SessionToken.Reveal())
	if l.WebIdentity != nil {
		if l.AccessKeyID != "" {
			p.Add("webIdentity", "is set beside an access key", "only one of them")
		}
		p.Under("webIdentity", l.WebIdentity.validate())
	}
	for i, r := range l.Roles {
		checkRole(&p, fmt.Sprintf("roles[%d].arn", i), r.ARN)
	}
	return p.Err("")
}

func (w *AWSWebIdentity) validate() error {
	var p field.List
	checkRole(&p, "roleARN", w.RoleARN)
	set := 0
	for _, is := range []bool{w.Subject != nil, w.TokenFile != "", !w.Token.IsZero()} {
		if is {
			set++
		}
	}
	if set != 1 {
		p.Add("", fmt.Sprintf("has %d of subject, tokenFile and token", set), "exactly one of them")
	}
	if w.Subject != nil {
		p.Under("subject", w.Subject.validate())
	}
	checkLine(&p, "token", w.Token.Reveal())
	if len(w.SessionPolicy) > 2048 { // https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
		p.Add("sessionPolicy", fmt.Sprintf("has %d characters", len(w.SessionPolicy)), "at most 2048")
	}
	return p.Err("")
}

// checkRole checks the form: arn:PARTITION:iam::ACCOUNT:role/PATH/NAME.
func checkRole(p *field.List, path, arn string) {
	part := strings.SplitN(arn, ":", 6)
	if len(part) != 6 || part[0] != "arn" || !strings.HasPrefix(part[1], "aws") || part[2] != "iam" || part[4] == "" ||
		!strings.HasPrefix(part[5], "role/") || strings.HasSuffix(part[5], "/") || hasControl(arn) {
		p.Add(path, problemOf(arn), "the ARN of a role, such as arn:aws:iam::123456789012:role/pull")
	}
}

func (l *GoogleLogin) validate() error {
	var p field.List
	if l.Impersonate != "" && !strings.Contains(l.Impersonate, "@") {
		p.Add("impersonate", problemOf(l.Impersonate), "the e-mail address of a service account")
	}
	if l.Federation != nil {
		if !l.Credentials.IsZero() {
			p.Add("federation", "is set beside credentials", "only one of them")
		}
		p.Under("federation", l.Federation.validate())
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
	return "is " + field.Quote(value)
}

// checkLine rejects control characters, and stray characters at either end, which come from reading a file or copying
// from a terminal.
func checkLine(p *field.List, path, text string) {
	if hasControl(text) {
		p.Add(path, "has a line break or another control character",
			"printable text (was it read from a file with its line end?)")
	} else if found := stray.AtEnd(text); found != "" {
		// Docker trims white space before it sends a password; a kubelet does not.
		p.Add(path, "has "+strings.Replace(found, "a line break or white space", "white space", 1)+" at an end",
			"the text alone: check how it was copied or saved")
	}
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
