package gcrtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

const accountsPath = "/v1/projects/-/serviceAccounts/"

// serveCredentials serves iamcredentials.googleapis.com.
func (g *Google) serveCredentials(r *http.Request, c *Call) (any, *failure) {
	if f := g.disabledAPI(credentialsHost); f != nil {
		return nil, f
	}
	name, ok := strings.CutPrefix(r.URL.Path, accountsPath)
	email, action, _ := strings.Cut(name, ":")
	if !ok || action != "generateAccessToken" || r.Method != http.MethodPost {
		return nil, apiFailure(http.StatusNotFound, "NOT_FOUND", "Method not found.")
	}
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	from, ok := g.tokenOf(bearer)
	if !ok {
		return nil, apiFailure(http.StatusUnauthorized, "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.")
	}
	c.Principal = from.principal
	if !slices.Contains(from.scopes, scopeAll) {
		return nil, apiFailure(http.StatusForbidden, "PERMISSION_DENIED", "Request had insufficient authentication scopes.")
	}
	var question struct {
		Scope     []string `json:"scope"`
		Lifetime  string   `json:"lifetime"`
		Delegates []string `json:"delegates"`
	}
	if json.NewDecoder(r.Body).Decode(&question) != nil || len(question.Scope) == 0 {
		return nil, apiFailure(http.StatusBadRequest, "INVALID_ARGUMENT", "Request contains an invalid argument.")
	}
	lifetime, err := time.ParseDuration(question.Lifetime)
	if err != nil || lifetime <= 0 || lifetime > time.Hour {
		return nil, apiFailure(http.StatusBadRequest, "INVALID_ARGUMENT", "The access token lifetime cannot exceed 3600 seconds. Please check your settings.")
	}
	if failed := g.mayImpersonate(from.principal, question.Delegates, email); failed != nil {
		return nil, failed
	}
	if g.TokenTTL != 0 {
		lifetime = min(lifetime, g.TokenTTL)
	}
	text, t := g.issue(email, strings.Join(question.Scope, " "), lifetime)
	expires := t.expiresAt.Add(g.Skew).UTC().Format(time.RFC3339)
	return map[string]string{"accessToken": text, "expireTime": expires}, nil
}

// mayImpersonate follows the delegates: each must be allowed to create tokens of the next one.
func (g *Google) mayImpersonate(principal string, delegates []string, email string) *failure {
	for _, name := range append(slices.Clone(delegates), "projects/-/serviceAccounts/"+email) {
		next, isName := strings.CutPrefix(name, "projects/-/serviceAccounts/")
		a, ok := g.account(next)
		switch {
		case !isName:
			return apiFailure(http.StatusBadRequest, "INVALID_ARGUMENT", "Invalid form of delegate.")
		case !ok:
			return apiFailure(http.StatusNotFound, "NOT_FOUND", "Not found; Gaia id not found for email "+next)
		case !slices.Contains(a.ImpersonatedBy, principal):
			f := apiFailure(http.StatusForbidden, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).")
			f.reason = "IAM_PERMISSION_DENIED"
			return f
		}
		principal = next
	}
	return nil
}
