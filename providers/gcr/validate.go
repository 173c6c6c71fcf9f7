package gcr

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers/internal/subject"
	"github.com/regcred/regcred/registry"
)

// Validate reports the problems of a profile that are specific to Google, as a [field.Errors];
// [registry.Profile.Validate] reports the others. It makes no network call; [Provider.Credential] checks whether Google
// accepts a key.
//
// All hosts of a profile must be Google's. The login is a Google identity, the identity of the process, or anonymous
// for public images. A key may also be in Username and Password in the form of docker login ("_json_key" and the file,
// "_json_key_base64" and its base64 form). All other user names and passwords are rejected: a pasted access token
// expires within the hour, and the provider could not renew it. Files and URLs in an external account's configuration
// are checked; see [Provider.SubjectTokens].
func (p Provider) Validate(profile registry.Profile) error {
	var problems field.List
	problems.Under("", checkHosts(profile))
	if profile.Transport.PlainHTTP {
		problems.Add("transport.plainHTTP", "is set", "https for Google's registries")
	}
	problems.Under("login", p.checkLogin(profile))
	if beside := ofThisProgram(profile.Login); beside != "" {
		subject.ValidateTransport(&problems, profile, beside)
	}
	return problems.Err(fmt.Sprintf("profile %q", profile.Name))
}

// ofThisProgram describes the part of this program that a login uses: its identity, or a token from a file or URL. It
// returns "" if the login uses none.
func ofThisProgram(login credentials.Login) string {
	google := googleLogin(login)
	switch {
	case usesAmbient(login):
		return "the identity of this process"
	case google.Credentials.IsZero():
		return ""
	}
	data, problem := decodeDocument(google.Credentials)
	var d document
	if problem == "" && unmarshal(data, &d) == "" && d.Type == typeExternal {
		return "a token of this program"
	}
	return ""
}

// usesAmbient reports whether the login is the identity of the process.
func usesAmbient(login credentials.Login) bool {
	return login.Ambient || login.Google != nil && login.Google.Credentials.IsZero() && login.Google.Federation == nil
}

const wantHost = "gcr.io or a name below it, LOCATION-docker.pkg.dev or docker.LOCATION.rep.pkg.dev; other registries are of kind custom"

// checkHosts rejects hosts that are not Google's, so that no look-alike gets a token.
func checkHosts(profile registry.Profile) error {
	var problems field.List
	check := func(field, s string) {
		e, err := registry.ParseEndpoint(s)
		switch {
		case err != nil:
			problems.Add(field, err.Error(), wantHost)
		case registry.KindOf(e.Host) != registry.GCR:
			problems.Add(field, "is "+e.Host, wantHost)
		}
	}
	check("endpoint", profile.Endpoint)
	for i, host := range profile.Hosts {
		check(fmt.Sprintf("hosts[%d]", i), host)
	}
	return problems.Err("")
}

func (p Provider) checkLogin(profile registry.Profile) error {
	login := profile.Login
	const want = "google with the key of a service account, ambient, or anonymous for public images"
	var problems field.List
	google := googleLogin(login)
	switch {
	case isKeyPair(login):
		_, err := p.parseDocument(profile, login.Password)
		problems.Under("password", err)
		return problems.Err("")
	case login.Username == TokenUsername:
		problems.Add("", "is an access token, which ends within the hour and nobody can renew", want)
	case login.Username != "", !login.Password.IsZero():
		problems.Add("", "is a user name and password", want+"; or the user name "+KeyUsername+" with a key as password")
	case login.Form() != "" && !login.Anonymous && !login.Ambient && login.Google == nil:
		problems.Add("", "has the form "+login.Form(), want)
	}
	if p.NoAmbient && usesAmbient(login) {
		problems.Add("", "is the identity of this process", "an identity of its own: this program lends its identity to no profile")
	}
	if login.Google != nil {
		problems.Under("google", p.checkGoogle(profile, google))
	}
	return problems.Err("")
}

// isKeyPair reports whether the login is a key in the registry's form of user name and password.
func isKeyPair(login credentials.Login) bool {
	return login.Username == KeyUsername || login.Username == KeyUsername+"_base64"
}

// googleLogin returns the login in the form that the rest of this package uses. The zero value means the identity of
// the process.
func googleLogin(login credentials.Login) credentials.GoogleLogin {
	switch {
	case login.Google != nil:
		return *login.Google
	case isKeyPair(login):
		return credentials.GoogleLogin{Credentials: login.Password}
	}
	return credentials.GoogleLogin{}
}

func (p Provider) checkGoogle(profile registry.Profile, login credentials.GoogleLogin) error {
	var problems field.List
	if !login.Credentials.IsZero() {
		_, err := p.parseDocument(profile, login.Credentials)
		problems.Under("credentials", err)
	}
	if login.Federation != nil {
		p.checkFederation(&problems, profile, login.Federation)
	}
	if login.Impersonate != "" && !serviceAccount.MatchString(login.Impersonate) {
		problems.Add("impersonate", "is "+quoteAddress(login.Impersonate), wantAccount)
	}
	for i, email := range login.Delegates {
		if !serviceAccount.MatchString(email) {
			problems.Add(fmt.Sprintf("delegates[%d]", i), "is "+quoteAddress(email), wantAccount)
		}
	}
	return problems.Err("")
}

// quoteAddress quotes an e-mail address in full, and a URL, which may hold a login, as [field.Quote] does.
func quoteAddress(text string) string {
	if strings.Contains(text, "://") {
		return field.Quote(text)
	}
	return fmt.Sprintf("%.120q", text)
}

const wantAccount = "the e-mail address of a service account, such as puller@project.iam.gserviceaccount.com"

// serviceAccount matches the e-mail address of a service account, which becomes a part of a URL. The forms of
// addresses: https://cloud.google.com/iam/docs/service-account-types; domain-scoped projects have dots.
var serviceAccount = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*@[a-z0-9][a-z0-9.-]*\.gserviceaccount\.com$`)
