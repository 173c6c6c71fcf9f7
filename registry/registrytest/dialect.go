package registrytest

import "time"

// A Dialect is how one kind of registry speaks: a row of a table, with the very texts that it sends. [Dialects] has the
// known ones. It is plain data, so a variant of a registry is a changed copy:
//
//	d := registrytest.Quay()
//	d.Token.Body = `{"access_token":"{token}","expires_in":10}`
//
// The zero Dialect is a registry that wants Basic authentication and answers as the OCI distribution specification
// proposes. A zero [Answer] means what its comment says.
type Dialect struct {
	// Name tells dialects apart: "dockerhub".
	Name string
	// Header is sent with each answer of the registry. Keys are in their canonical form.
	Header map[string]string

	// Open says that everything is public and nobody is ever asked for a login.
	Open bool
	// Token is the endpoint that issues bearer tokens. Its zero value means none: the registry wants Basic
	// authentication.
	Token TokenEndpoint
	// Basic says that a user name and password are taken at the registry itself, beside tokens. Without a token
	// endpoint they always are.
	Basic bool
	// BearerLogin says that the base64 form of a user name and password is taken as a bearer token.
	BearerLogin bool

	// Ping answers GET /v2/ without a login. Zero means Unauthorized.
	Ping Answer
	// Unauthorized answers a request without a login. Zero means 401 with a challenge: Bearer if there is a token
	// endpoint, else Basic.
	Unauthorized Answer
	// BadLogin answers a wrong user name or password, where they are taken. Zero means Unauthorized.
	BadLogin Answer
	// ExpiredLogin answers a login that was good once. Zero means BadLogin.
	ExpiredLogin Answer
	// BasicRefused answers a user name and password where only tokens are taken. Zero means Unauthorized.
	BasicRefused Answer
	// BadToken answers a bearer token that is unknown or expired. Zero means 401 with error="invalid_token".
	BadToken Answer

	// Hides says that a repository that one has no right to is answered as Denied also if it does not exist.
	Hides bool
	// Denied answers a login that has no right to the repository. Zero means 403 DENIED.
	Denied Answer
	// DeniedAnonymous is Denied for those who have not logged in. Zero means Denied.
	DeniedAnonymous Answer
	// ProjectMissing answers for a repository whose first part no repository has. Zero means that the registry does not
	// care.
	ProjectMissing Answer
	// RepositoryMissing answers for an image in a repository that does not exist. Zero means 404 NAME_UNKNOWN.
	RepositoryMissing Answer
	// TagsMissing answers for the tags of a repository that does not exist. Zero means RepositoryMissing.
	TagsMissing Answer
	// ManifestMissing answers for a tag or digest that does not exist. Zero means 404 MANIFEST_UNKNOWN.
	ManifestMissing Answer
	// NotAcceptable answers for an OCI image that the Accept header does not ask for. Zero means that it is sent all
	// the same.
	NotAcceptable Answer
	// Blocked answers for an image that a rule of the registry stops, see [Registry.Blocked]. Zero means 403 DENIED.
	Blocked Answer
	// PushMissing answers a push to a repository that does not exist. Zero means that the push creates it.
	PushMissing Answer

	// RateLimited answers a client that asked too often. Zero means 429 TOOMANYREQUESTS.
	RateLimited Answer
	// RateHeaders says that manifests come with the headers ratelimit-limit and ratelimit-remaining, and that a HEAD of
	// one is free.
	RateHeaders bool

	// NoDigestOnGET leaves the header Docker-Content-Digest out of the answer to the GET of a manifest.
	NoDigestOnGET bool

	// Tags and Catalog are the lists.
	Tags    Listing
	Catalog Catalog
}

// A TokenEndpoint issues bearer tokens, as the distribution project specifies:
// https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/.
type TokenEndpoint struct {
	// Path is where it is; an asterisk stands for one part of the path. Empty means that there is no token endpoint.
	Path string
	// OtherHost says that it is on a host of its own; see [Registry.TokenHost].
	OtherHost bool
	// Service is what the parameter of that name must be, and BadService answers another one. A zero BadService means
	// that anything goes.
	Service    string
	BadService Answer
	// Post answers POST. Zero means that POST is served, in the OAuth2 form.
	Post Answer
	// PasswordGrant answers a POST with a password. Zero means that it is served, like one with a refresh token.
	PasswordGrant Answer
	// Exchange is the path, beside Path, that makes a refresh token from an access token of another issuer. Empty means
	// none.
	Exchange string
	// RefreshTTL is how long a refresh token of Exchange is good.
	RefreshTTL time.Duration

	// Anonymous says when a token is issued to who has not logged in, and NoLogin answers when it is not. A zero
	// NoLogin means BadLogin.
	Anonymous AnonymousTokens
	NoLogin   Answer
	// BadLogin answers a wrong user name or password. Zero means 401 UNAUTHORIZED.
	BadLogin Answer
	// ExpiredLogin answers a login that was good once. Zero means BadLogin.
	ExpiredLogin Answer
	// IgnoresBadLogin says that a wrong login that asks for a scope gets an anonymous token instead of BadLogin.
	IgnoresBadLogin bool
	// NoRights answers a login that has no right to anything. Zero means that it gets a token without rights.
	NoRights Answer
	// Denied answers a login that has none of the rights that it asks for. Zero means that it gets a token without
	// them.
	Denied Answer

	// Scope is a regular expression that every scope must match, and BadScope answers one that does not. Empty means
	// that all scopes are taken.
	Scope    string
	BadScope Answer
	// OneScope says that only the first of several scopes counts.
	OneScope bool
	// ByAccount says that a token stands for the account and all its rights, whatever scope was asked for. Else it
	// carries the rights that it was issued with.
	ByAccount bool
	// KnowsRepositories says that no right to pull is issued for a repository that does not exist.
	KnowsRepositories bool

	// Prefix starts each token.
	Prefix string
	// TTL is how long a token is good; less if its login ends before. Zero means until it is revoked.
	TTL time.Duration
	// Body is the answer. It may hold {token}, {expires_in} (seconds), {issued_at} and {scope}. Empty means both forms
	// of the specification's answer.
	Body string
}

// AnonymousTokens says when a token is issued to who has not logged in.
type AnonymousTokens int

const (
	// AnonymousAlways issues a token without rights to whoever asks.
	AnonymousAlways AnonymousTokens = iota
	// AnonymousWithScope wants a scope to be asked for.
	AnonymousWithScope
	// AnonymousWithRight wants one of the scopes to be public.
	AnonymousWithRight
)

// A Listing is how a list is divided into pages.
type Listing struct {
	// Default is the length of a page if the client does not say. Zero means that all is in one.
	Default int
	// Max is the longest page. Zero means any length. A client that asks for more gets TooMany; where that is zero, it
	// gets Max.
	Max     int
	TooMany Answer
	// Cursor is the parameter of an opaque mark in the link to the next page. Empty means the last name, as "last".
	Cursor string
	// BadLast answers a "last" or mark that is not one of the list. Zero means that a name is taken as a place in the
	// order, and a mark for the start.
	BadLast Answer
	// GoogleMaps adds the empty "child" and "manifest" that Google's registries list.
	GoogleMaps bool
}

// A Catalog is the list of the repositories, /v2/_catalog.
type Catalog struct {
	// For says who gets it. No answers the others; zero means Denied.
	For CatalogFor
	No  Answer
	Listing
}

// CatalogFor says who gets the catalog.
type CatalogFor int

const (
	// CatalogForAll is for everybody who may ask the registry, and lists what they may pull.
	CatalogForAll CatalogFor = iota
	// CatalogForAdmins is for accounts with [Account.Admin].
	CatalogForAdmins
	// CatalogForNobody is a registry without catalog.
	CatalogForNobody
)
