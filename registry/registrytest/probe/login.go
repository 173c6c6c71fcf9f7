package probe

import "net/http"

// A loginState describes what the registry's responses so far show about the profile's login.
type loginState int

const (
	loginUnproven loginState = iota // A wrong login may have had the same responses.
	loginAccepted
	loginRejected   // Or its right to the image.
	loginUnanswered // The request failed, so that the registry may have counted a rejected login.
)

// The reasons for which questions are skipped. A capture has no others.
const (
	whyRejected    = "the registry rejects the profile's login for the image"
	whyUnanswered  = "the first request with the profile's login had no response"
	whyRateLimited = "the registry limits the rate of requests"
	whyTokenServer = "the rules for connections allow no request to this token server"
	whyNotWanted   = "not wanted"
	whyLockout     = "the registry's vendor locks or delays users or addresses after rejected logins"
)

var reasons = []string{whyRejected, whyUnanswered, whyRateLimited, whyTokenServer, whyNotWanted, whyLockout}

// why returns the reason for which no further request may have the profile's login. Empty means that they may.
func (s loginState) why() string {
	switch s {
	case loginRejected:
		return whyRejected
	case loginUnanswered:
		return whyUnanswered
	}
	return ""
}

// ofProfile reports whether requests have the profile's login, its user name, or a token that was issued for it.
func (l Login) ofProfile() bool {
	switch l {
	case BasicLogin, TokenLogin, TwoScopesToken, WrongLogin:
		return true
	}
	return false
}

// judge updates the state of the profile's login by the response to a query with it. Vendors lock users after some
// rejected logins, so a login that may be wrong must not be sent again after the first rejection.
//
//   - 401 and 403 for the image itself, or for its token, are rejections: the profile may pull the image. ECR Public and
//     GitHub reject a wrong login with 403.
//   - A token server may ignore a wrong login and issue an anonymous token (Harbor does), so a token that the registry
//     rejects for the image is a rejection of the login too.
//   - If the image needs no login, a success proves nothing. Until there is a proof, any 401 is a rejection.
func (w *walk) judge(q query, res *response) {
	if w.login != loginUnproven || !q.login.ofProfile() || q.login == WrongLogin {
		return
	}
	ofImage := q.question == "manifest-head" || q.question == "token"
	switch {
	case w.realm != nil && q.form != tokenForm && !(q.login == TokenLogin && q.question == "manifest-head"):
		return // Registries with a token server may reject the login itself, and tokens for other repositories.
	case res.err != nil:
		w.login = loginUnanswered
	case res.status == http.StatusUnauthorized, res.status == http.StatusForbidden && ofImage:
		w.login = loginRejected
	case res.ok() && q.question == "manifest-head" && w.needsLogin():
		w.login = loginAccepted
	}
	if why := w.login.why(); why != "" {
		w.skip("all", q.login, why)
	}
}

// needsLogin reports whether the registry rejected the requests for the image without a login.
func (w *walk) needsLogin() bool {
	login := NoLogin
	if w.realm != nil {
		if token := w.response("token", NoLogin); token.refused() || token.ok() && w.tokens[tokenKey(AnonymousToken, w.names.repository)] == "" {
			return true
		}
		login = AnonymousToken
	}
	return w.response("manifest-head", login).refused()
}

// response returns the response to a query that was sent before, or nil.
func (w *walk) response(question string, login Login) *response {
	for _, a := range w.asked {
		if a.question == question && a.login == login {
			return a.res
		}
	}
	return nil
}

// refused reports whether the response is an error of the client.
func (r *response) refused() bool { return r != nil && r.err == nil && r.status/100 == 4 }
