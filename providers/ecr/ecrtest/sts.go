package ecrtest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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
	token, failed := a.webIdentity(form.Get("WebIdentityToken"))
	if failed != nil {
		return nil, failed
	}
	if policy := form.Get("Policy"); policy != "" && !json.Valid([]byte(policy)) {
		return nil, &failure{http.StatusBadRequest, "MalformedPolicyDocument", "The policy is not in the valid JSON format."}
	}
	role, ok := a.roleOf(form.Get("RoleArn"))
	switch {
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

// webIdentity verifies a token and returns its claims. A token from [AWS.WebIdentity] is accepted as it is. The codes
// and texts of rejections were captured: aws-load-balancer-controller#2315, amazon-eks-pod-identity-webhook#232,
// external-secrets#6648.
func (a *AWS) webIdentity(text string) (token webToken, failed *failure) {
	known := false
	a.locked(func() { token, known = a.webTokens[text] })
	if known {
		return token, nil
	}
	invalid := func(message string) (webToken, *failure) {
		return webToken{}, &failure{http.StatusBadRequest, "InvalidIdentityToken", message}
	}
	const noKeys = "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements"
	if len(a.Issuers) == 0 {
		return invalid(noKeys)
	}
	issuer := ""
	for _, trust := range a.Issuers {
		if len(trust.Audiences) == 0 {
			trust.Audiences = []string{"sts.amazonaws.com"}
		}
		read, err := trust.Verify(text)
		switch issuer = read.Issuer; {
		case errors.Is(err, issuertest.ErrIssuer):
			continue
		case errors.Is(err, issuertest.ErrKeys):
			return invalid(noKeys)
		case errors.Is(err, issuertest.ErrAudience):
			return invalid("Incorrect token audience")
		case errors.Is(err, issuertest.ErrOutOfTime):
			return webToken{}, &failure{http.StatusBadRequest, "ExpiredTokenException", "Token expired: current date/time must be before the expiration date/time"}
		case err != nil:
			return invalid("The web identity token provided could not be validated")
		}
		return webToken{subject: read.Subject, expiresAt: read.ExpiresAt}, nil
	}
	return invalid("No OpenIDConnect provider found in your account for " + issuer)
}

func sessionReply(action string, k issuedKey) *reply {
	return &reply{"text/xml", `<` + action + `Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><` + action + `Result>` +
		`<AssumedRoleUser><Arn>` + escapeXML(k.arn) + `</Arn><AssumedRoleId>AROAEXAMPLE:regcred</AssumedRoleId></AssumedRoleUser>` +
		`<Credentials><AccessKeyId>` + k.accessKeyID + `</AccessKeyId><SecretAccessKey>` + k.secret + `</SecretAccessKey><SessionToken>` + k.sessionToken +
		`</SessionToken><Expiration>` + k.expiresAt.UTC().Format(time.RFC3339) + `</Expiration></Credentials>` +
		`</` + action + `Result><ResponseMetadata><RequestId>` + requestID() + `</RequestId></ResponseMetadata></` + action + `Response>`}
}
