package ecrtest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

func (a *AWS) assumeRole(p principal, form url.Values) (*reply, *failure) {
	arn := form.Get("RoleArn")
	denied := &failure{http.StatusForbidden, "AccessDenied", "User: " + p.arn + " is not authorized to perform: sts:AssumeRole on resource: " + arn}
	role, ok := a.roleOf(arn)
	if !ok {
		return nil, denied
	}
	named, itself := p.namedIn(role.TrustedBy)
	byTrustAlone := itself && p.account() == accountOf(arn) // Else the identity's own policy must allow it too.
	if !named || !byTrustAlone && !p.allows("sts:AssumeRole") || role.ExternalID != form.Get("ExternalId") {
		return nil, denied
	}
	ttl, failed := duration(form, p.roleARN != "")
	if failed != nil {
		return nil, failed
	}
	return sessionReply("AssumeRole", a.startSession(role, form.Get("RoleSessionName"), ttl)), nil
}

func duration(form url.Values, chained bool) (time.Duration, *failure) {
	text := form.Get("DurationSeconds")
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 900 || seconds > 43200 || chained && seconds > 3600 {
		return 0, &failure{http.StatusBadRequest, "ValidationError", "The requested DurationSeconds exceeds the limits for this role."}
	}
	return time.Duration(seconds) * time.Second, nil
}

func (a *AWS) assumeRoleWithWebIdentity(e endpoint, form url.Values) (*reply, *failure) {
	if slices.Contains(a.DisabledRegions, e.region) {
		return nil, &failure{http.StatusForbidden, "RegionDisabledException", "STS is not activated in this region for account."}
	}
	var token webToken
	a.locked(func() { token = a.webTokens[form.Get("WebIdentityToken")] })
	role, ok := a.roleOf(form.Get("RoleArn"))
	switch {
	case token.subject == "":
		return nil, &failure{http.StatusBadRequest, "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements"}
	case !a.now().Before(token.expiresAt):
		return nil, &failure{http.StatusBadRequest, "ExpiredTokenException", "Token expired: current date/time must be before the expiration date/time"}
	case !ok || !slices.Contains(role.Subjects, token.subject):
		return nil, &failure{http.StatusForbidden, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"}
	}
	ttl, failed := duration(form, false)
	if failed != nil {
		return nil, failed
	}
	return sessionReply("AssumeRoleWithWebIdentity", a.startSession(role, form.Get("RoleSessionName"), ttl)), nil
}

func sessionReply(action string, k issuedKey) *reply {
	return &reply{"text/xml", `<` + action + `Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><` + action + `Result>` +
		`<AssumedRoleUser><Arn>` + escapeXML(k.arn) + `</Arn><AssumedRoleId>AROAEXAMPLE:regcred</AssumedRoleId></AssumedRoleUser>` +
		`<Credentials><AccessKeyId>` + k.accessKeyID + `</AccessKeyId><SecretAccessKey>` + k.secret + `</SecretAccessKey><SessionToken>` + k.sessionToken +
		`</SessionToken><Expiration>` + k.expiresAt.UTC().Format(time.RFC3339) + `</Expiration></Credentials>` +
		`</` + action + `Result><ResponseMetadata><RequestId>` + requestID() + `</RequestId></ResponseMetadata></` + action + `Response>`}
}
