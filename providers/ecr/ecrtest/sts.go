package ecrtest

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/regcred/regcred/providers/issuertest"
)

func (a *AWS) assumeRole(p principal, form url.Values) (*reply, *failure) {
	arn := form.Get("RoleArn")
	denied := &failure{http.StatusForbidden, "AccessDenied", "User: " + p.arn + " is not authorized to perform: sts:AssumeRole on resource: " + arn}
	role, ok := a.roleOf(arn)
	if !ok {
		return nil, denied
	}
	named, itself := p.namedIn(role.TrustedBy)
	byTrustAlone := itself && p.account() == accountOf(arn) // Otherwise the identity's own policy must allow it too.
	if !named || !byTrustAlone && !p.allows("sts:AssumeRole") || role.ExternalID != form.Get("ExternalId") {
		return nil, denied
	}
	key, failed := a.session(role, form, p.roleARN != "")
	if failed != nil {
		return nil, failed
	}
	return sessionReply("AssumeRole", key, ""), nil
}

// invalid is the response to a parameter that AWS does not accept.
func invalid(message string) *failure {
	return &failure{http.StatusBadRequest, "ValidationError", message}
}

// sessionName is the form of a session's name, and webTokenLimit the size of a token:
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html.
var sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

const webTokenLimit = 20000

// duration returns the requested duration, or zero. The text was captured: d2a4u/sqs4s#270.
func duration(form url.Values, chained bool) (time.Duration, *failure) {
	text := form.Get("DurationSeconds")
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 900 || seconds > 43200 || chained && seconds > 3600 {
		return 0, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return time.Duration(seconds) * time.Second, nil
}

// session starts a session of the role as the form requests it.
func (a *AWS) session(role Role, form url.Values, chained bool) (issuedKey, *failure) {
	name := form.Get("RoleSessionName")
	if !sessionName.MatchString(name) {
		return issuedKey{}, invalid("1 validation error detected: Value '" + name + `' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`)
	}
	ttl, failed := duration(form, chained)
	if failed != nil {
		return issuedKey{}, failed
	}
	narrow, failed := parsePolicy(form.Get("Policy"))
	if failed != nil {
		return issuedKey{}, failed
	}
	return a.startSession(role, name, ttl, narrow), nil
}

// assumeRoleWithWebIdentity responds with the codes of the API's reference
// (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html). A role that does not exist
// and a trust that does not match get the same response, which was captured: external-secrets#6648.
func (a *AWS) assumeRoleWithWebIdentity(e endpoint, form url.Values) (*reply, *failure) {
	if slices.Contains(a.DisabledRegions, e.region) {
		return nil, &failure{http.StatusForbidden, "RegionDisabledException", "STS is not activated in this region for account."}
	}
	if len(form.Get("WebIdentityToken")) > webTokenLimit {
		return nil, invalid("1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length less than or equal to 20000")
	}
	token, failed := a.webIdentity(form.Get("WebIdentityToken"))
	if failed != nil {
		return nil, failed
	}
	role, ok := a.roleOf(form.Get("RoleArn"))
	switch {
	case !a.now().Before(token.expiresAt):
		return nil, &failure{http.StatusBadRequest, "ExpiredTokenException", "Token expired: current date/time must be before the expiration date/time"}
	case !ok || !slices.Contains(role.Subjects, token.subject):
		return nil, &failure{http.StatusForbidden, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"}
	}
	key, failed := a.session(role, form, false)
	if failed != nil {
		return nil, failed
	}
	return sessionReply("AssumeRoleWithWebIdentity", key, token.about(key)), nil
}

// about returns the part of the response with the fields of the token. The fields are from the API's reference.
func (t webToken) about(key issuedKey) string {
	provider := "arn:" + key.partition() + ":iam::" + key.account() + ":oidc-provider/" + strings.TrimPrefix(t.issuer, "https://")
	return `<SubjectFromWebIdentityToken>` + escapeXML(t.subject) + `</SubjectFromWebIdentityToken>` +
		`<Audience>` + escapeXML(t.audience) + `</Audience><Provider>` + escapeXML(provider) + `</Provider>`
}

// webIdentity verifies a token and returns its claims. A token from [AWS.WebIdentity] is accepted as it is. The codes
// and texts of rejections were captured: aws-load-balancer-controller#2315, amazon-eks-pod-identity-webhook#232,
// external-secrets#6648.
func (a *AWS) webIdentity(text string) (token webToken, failed *failure) {
	known := false
	a.locked(func() { token, known = a.webTokens[text] })
	if known {
		return token, nil
	}
	rejected := func(message string) (webToken, *failure) {
		return webToken{}, &failure{http.StatusBadRequest, "InvalidIdentityToken", message}
	}
	const noKeys = "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements"
	if len(a.Issuers) == 0 {
		return rejected(noKeys)
	}
	issuer := ""
	for _, trust := range a.Issuers {
		if len(trust.Audiences) == 0 {
			trust.Audiences = []string{defaultAudience}
		}
		read, err := trust.Verify(text)
		switch issuer = read.Issuer; {
		case errors.Is(err, issuertest.ErrIssuer):
			continue
		case errors.Is(err, issuertest.ErrKeys):
			return rejected(noKeys)
		case errors.Is(err, issuertest.ErrAudience):
			return rejected("Incorrect token audience")
		case errors.Is(err, issuertest.ErrOutOfTime):
			return webToken{}, &failure{http.StatusBadRequest, "ExpiredTokenException", "Token expired: current date/time must be before the expiration date/time"}
		case err != nil:
			return rejected("The web identity token provided could not be validated")
		}
		return webToken{subject: read.Subject, issuer: read.Issuer, audience: read.Audience[0], expiresAt: read.ExpiresAt}, nil
	}
	return rejected("No OpenIDConnect provider found in your account for " + issuer)
}

func sessionReply(action string, k issuedKey, more string) *reply {
	return &reply{"text/xml", `<` + action + `Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><` + action + `Result>` +
		`<AssumedRoleUser><Arn>` + escapeXML(k.arn) + `</Arn><AssumedRoleId>AROAEXAMPLE:regcred</AssumedRoleId></AssumedRoleUser>` +
		`<Credentials><AccessKeyId>` + k.accessKeyID + `</AccessKeyId><SecretAccessKey>` + k.secret + `</SecretAccessKey><SessionToken>` + k.sessionToken +
		`</SessionToken><Expiration>` + k.expiresAt.UTC().Format(time.RFC3339) + `</Expiration></Credentials>` + more +
		`</` + action + `Result><ResponseMetadata><RequestId>` + requestID() + `</RequestId></ResponseMetadata></` + action + `Response>`}
}
