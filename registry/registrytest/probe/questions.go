package probe

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// A question's name is part of the format of captures. New ones may be added; none may change its meaning.

// explanations are the questions in plain words.
var explanations = map[string]string{
	"ping":                     "GET /v2/",
	"manifest":                 "GET of the image",
	"manifest-head":            "HEAD of the image",
	"manifest-digest":          "HEAD of the image by its digest",
	"manifest-docker-types":    "HEAD of the image by a client that accepts only Docker's media types",
	"tag-missing":              "GET of a tag that does not exist",
	"tag-missing-head":         "HEAD of a tag that does not exist",
	"digest-missing":           "GET of a digest that does not exist",
	"blob-missing":             "GET of a blob that does not exist",
	"repository-missing":       "GET of an image in a repository that does not exist",
	"owner-missing":            "GET of an image of an owner that does not exist",
	"other":                    "GET of another owner's image",
	"other-head":               "HEAD of another owner's image",
	"other-tags":               "list of the tags of another owner's repository",
	"public":                   "GET of a public image",
	"tags":                     "list of the tags",
	"tags-page":                "list of the tags, one per page",
	"tags-missing":             "list of the tags of a repository that does not exist",
	"catalog":                  "list of the repositories, one per page",
	"token":                    "token for the image's repository",
	"token-repository-missing": "token for a repository that does not exist",
	"token-owner-missing":      "token for a repository of an owner that does not exist",
	"token-other":              "token for another owner's repository",
	"token-public":             "token for a public repository",
	"token-catalog":            "token for the list of the repositories",
	"token-no-scope":           "token without a scope",
	"token-two-scopes":         "token for two repositories",
	"token-post":               "token by POST with a password",
}

// logins are the logins in plain words.
var logins = map[Login]string{
	NoLogin: "without a login", BasicLogin: "with Basic authentication", TokenLogin: "with a token", AnonymousToken: "with an anonymous token",
	TwoScopesToken: "with a token for two repositories", BadToken: "with a forged token", WrongLogin: "with a wrong password",
}

// askAll sends all requests about the images with one kind of login.
func (w *walk) askAll(ctx context.Context, login Login) {
	n, tag := w.names, w.t.Image.Tag
	get := func(question, repository, path string, of form) {
		q := w.with(question, login, http.MethodGet, repository, path)
		q.form = of
		w.ask(ctx, q)
	}
	head := func(question, repository, path string) {
		w.ask(ctx, w.with(question, login, http.MethodHead, repository, path))
	}
	ping := query{question: "ping", login: login, path: "/v2/", form: pingForm}
	w.authorize(&ping, n.repository)
	w.ask(ctx, ping)

	get("manifest", n.repository, "/manifests/"+tag, errorForm)
	head("manifest-head", n.repository, "/manifests/"+tag)
	if w.digest != "" {
		head("manifest-digest", n.repository, "/manifests/"+w.digest)
	}
	old := w.with("manifest-docker-types", login, http.MethodHead, n.repository, "/manifests/"+tag)
	old.accept = acceptedDocker
	w.ask(ctx, old)
	get("tag-missing", n.repository, "/manifests/"+missingName, errorForm)
	head("tag-missing-head", n.repository, "/manifests/"+missingName)
	get("digest-missing", n.repository, "/manifests/"+missingDigest, errorForm)
	get("blob-missing", n.repository, "/blobs/"+missingDigest, errorForm)
	get("repository-missing", n.missing, "/manifests/"+missingName, errorForm)
	if n.nobody != "" {
		get("owner-missing", n.nobody, "/manifests/"+missingName, errorForm)
	}
	if n.other != "" {
		reference := w.t.Other.Reference()
		get("other", n.other, "/manifests/"+reference, errorForm)
		head("other-head", n.other, "/manifests/"+reference)
		get("other-tags", n.other, "/tags/list", listForm)
	}
	if n.public != "" {
		get("public", n.public, "/manifests/"+w.t.Public.Reference(), errorForm)
	}
	get("tags", n.repository, "/tags/list", listForm)
	get("tags-page", n.repository, "/tags/list?n=1", listForm)
	get("tags-missing", n.missing, "/tags/list", listForm)
	catalog := query{question: "catalog", login: login, path: "/v2/_catalog?n=1", form: listForm}
	w.authorize(&catalog, catalogToken)
	w.ask(ctx, catalog)
}

// catalogToken is the key of the token for the list of the repositories.
const catalogToken = "catalog"

// requestTokens requests the tokens of all repositories, with or without the login.
func (w *walk) requestTokens(ctx context.Context, login Login) {
	n := w.names
	for _, want := range []struct{ question, repository, scope string }{
		{"token", n.repository, pull(n.repository)},
		{"token-repository-missing", n.missing, pull(n.missing)},
		{"token-owner-missing", n.nobody, pull(n.nobody)},
		{"token-other", n.other, pull(n.other)},
		{"token-public", n.public, pull(n.public)},
		{"token-catalog", catalogToken, "registry:catalog:*"},
	} {
		if want.repository != "" {
			w.requestToken(ctx, want.question, login, login, want.repository, want.scope)
		}
		if want.question == "token" { // The next two show whether the login is accepted; see judge.
			w.learnDigest(ctx, login)
			w.ask(ctx, w.tokenQuery("token-no-scope", asLogin(login)))
		}
	}
}

// asLogin returns the login of the request for a token.
func asLogin(token Login) Login {
	if token == AnonymousToken {
		return NoLogin
	}
	return BasicLogin
}

func pull(repository string) string { return "repository:" + repository + ":pull" }

// requestToken requests a token, and keeps it for the repository.
func (w *walk) requestToken(ctx context.Context, question string, login, as Login, repository string, scopes ...string) {
	res := w.ask(ctx, w.tokenQuery(question, asLogin(login), scopes...))
	if !res.ok() {
		return
	}
	var body struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(res.body, &body) != nil {
		return
	}
	if body.Token == "" {
		body.Token = body.AccessToken
	}
	if w.tokens == nil {
		w.tokens = make(map[string]string)
	}
	w.tokens[tokenKey(as, repository)] = body.Token
}

// tokenQuery returns a request to the token server.
func (w *walk) tokenQuery(question string, login Login, scopes ...string) query {
	u := *w.realm
	values := u.Query()
	if w.service != "" {
		values.Set("service", w.service)
	}
	values["scope"] = scopes
	u.RawQuery = values.Encode()
	q := query{question: question, login: login, url: &u, form: tokenForm}
	w.authorize(&q, "")
	return q
}

// askWithBasic sends the login itself to a registry that requests tokens.
func (w *walk) askWithBasic(ctx context.Context) {
	w.ask(ctx, query{question: "ping", login: BasicLogin, path: "/v2/", form: pingForm, auth: w.basic(w.t.Credential.Password.Reveal())})
	w.ask(ctx, w.with("manifest-head", BasicLogin, http.MethodHead, w.names.repository, "/manifests/"+w.t.Image.Tag))
	q := w.with("tags", BasicLogin, http.MethodGet, w.names.repository, "/tags/list")
	q.form = listForm
	w.ask(ctx, q)
}

// askForTwoScopes requests one token for two repositories, and uses it.
func (w *walk) askForTwoScopes(ctx context.Context) {
	n := w.names
	w.requestToken(ctx, "token-two-scopes", TokenLogin, TwoScopesToken, n.repository, pull(n.missing), pull(n.repository))
	w.ask(ctx, w.with("manifest-head", TwoScopesToken, http.MethodHead, n.repository, "/manifests/"+w.t.Image.Tag))
}

// askByPOST requests a token in the OAuth2 form, which containerd and Docker try first.
func (w *walk) askByPOST(ctx context.Context) {
	w.ask(ctx, query{question: "token-post", login: BasicLogin, url: w.realm, form: tokenForm, post: url.Values{
		"grant_type": {"password"}, "client_id": {"regcred"}, "service": {w.service}, "scope": {pull(w.names.repository)},
		"username": {w.t.Credential.Username}, "password": {w.t.Credential.Password.Reveal()},
	}})
}

func (w *walk) askWithBadToken(ctx context.Context) {
	w.ask(ctx, query{question: "ping", login: BadToken, path: "/v2/", form: pingForm, auth: "Bearer " + badToken})
	w.ask(ctx, w.manifest("manifest", BadToken, w.names.repository, w.t.Image.Tag))
	q := w.with("tags", BadToken, http.MethodGet, w.names.repository, "/tags/list")
	q.form = listForm
	w.ask(ctx, q)
}

// askWithWrongLogin sends one wrong login: to the token server as a node does, or else to the registry.
func (w *walk) askWithWrongLogin(ctx context.Context, header http.Header) {
	question := "manifest"
	if w.realm != nil {
		question = "token"
	}
	switch policy, why := w.p.WrongLogin, w.login.why(); {
	case why != "":
		w.skip(question, WrongLogin, why)
		return
	case policy == WrongLoginNever:
		w.skip(question, WrongLogin, whyNotWanted)
		return
	case policy == WrongLoginIfHarmless:
		if w.guard.Lockout(header) != "" {
			w.skip(question, WrongLogin, whyLockout)
			return
		}
	}
	var q query
	if w.realm != nil {
		q = w.tokenQuery(question, WrongLogin, pull(w.names.repository))
	} else {
		q = w.manifest(question, WrongLogin, w.names.repository, w.t.Image.Tag)
	}
	q.auth = w.basic(wrongPassword)
	w.ask(ctx, q)
}
