package registrytest

import "time"

// A Dialect is how one kind of registry speaks: a row of a table, with the very texts that it sends. [Dialects] has the
// known ones. What a test may want to be otherwise is set in the [Registry], or injected as a [Fault].
//
// The zero Dialect is a registry that wants Basic authentication and answers as the OCI distribution specification
// proposes.
type Dialect struct {
	// Name tells dialects apart: "dockerhub".
	Name string
	// header is sent with each answer of the registry. Keys are in their canonical form.
	header map[string]string

	// open says that everything is public and nobody is ever asked for a login.
	open bool
	// token is the endpoint that issues bearer tokens. Its zero value means none: the registry wants Basic
	// authentication.
	token tokenEndpoint
	// basic says that a user name and password are taken at the registry itself, beside tokens. Without a token
	// endpoint they always are.
	basic bool
	// bearerLogin says that the base64 form of a user name and password is taken as a bearer token.
	bearerLogin bool

	// ping answers GET /v2/ without a login. Zero means unauthorized.
	ping Answer
	// pong answers GET /v2/ with a login. Zero means 200 with an empty JSON object.
	pong Answer
	// unauthorized answers a request without a login. Zero means 401 with a challenge: Bearer if there is a token
	// endpoint, else Basic.
	unauthorized Answer
	// badLogin answers a wrong user name or password, where they are taken. Zero means unauthorized.
	badLogin Answer
	// expiredLogin answers a login that was good once. Zero means badLogin.
	expiredLogin Answer
	// basicRefused answers a user name and password where only tokens are taken. Zero means unauthorized.
	basicRefused Answer
	// badToken answers a bearer token that is unknown or expired. Zero means 401 with error="invalid_token".
	badToken Answer

	// hides says that a repository that one has no right to is answered as denied also if it does not exist.
	hides bool
	// denied answers a login that has no right to the repository. Zero means 403 DENIED.
	denied Answer
	// deniedAnonymous is denied for those who have not logged in. Zero means denied.
	deniedAnonymous Answer
	// projectMissing answers for a repository whose first part no repository has. Zero means that the registry does not
	// care.
	projectMissing Answer
	// repositoryMissing answers for an image in a repository that does not exist. Zero means 404 NAME_UNKNOWN.
	repositoryMissing Answer
	// tagsMissing answers for the tags of a repository that does not exist. Zero means repositoryMissing.
	tagsMissing Answer
	// blobMissing answers for a blob that does not exist. Zero means 404 BLOB_UNKNOWN.
	blobMissing Answer
	// nameInvalid answers for a name that is not one of a repository, to who has logged in. Zero means 400 NAME_INVALID to
	// everybody.
	nameInvalid Answer
	// manifestMissing answers for a tag or digest that does not exist. Zero means 404 MANIFEST_UNKNOWN.
	manifestMissing Answer
	// notAcceptable answers for an OCI image that the Accept header does not ask for. Zero means that it is sent all
	// the same.
	notAcceptable Answer
	// blocked answers for an image that a rule of the registry stops, see [Registry.Blocked]. Zero means 403 DENIED.
	blocked Answer
	// pushMissing answers a push to a repository that does not exist. Zero means that the push creates it.
	pushMissing Answer

	// rateLimited answers a client that asked too often. Zero means 429 TOOMANYREQUESTS.
	rateLimited Answer
	// rateHeaders says that manifests come with the headers ratelimit-limit and ratelimit-remaining, and that a HEAD of
	// one is free.
	rateHeaders bool

	// noDigestOnGET leaves the header Docker-Content-Digest out of the answer to the GET of a manifest.
	noDigestOnGET bool

	// tags and catalog are the lists.
	tags    listing
	catalog catalog
}

// Open reports whether everything is public and nobody is ever asked for a login.
func (d Dialect) Open() bool { return d.open }

// Blocks reports whether the registry has rules that stop images; see [Registry.Blocked].
func (d Dialect) Blocks() bool { return !d.blocked.isZero() }

// Unauthorized returns the answer to a request without a login, for a [Fault]. It is zero if the dialect has none of its
// own.
func (d Dialect) Unauthorized() Answer { return d.unauthorized }

// RateLimited returns the answer to a client that asked too often, for a [Fault].
func (d Dialect) RateLimited() Answer { return d.rateLimited.or(tooManyRequests) }

// A tokenEndpoint issues bearer tokens, as the distribution project specifies:
// https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/.
type tokenEndpoint struct {
	// path is where it is; an asterisk stands for one part of the path. Empty means that there is no token endpoint.
	path string
	// otherHost says that it is on a host of its own; see [Registry.TokenHost].
	otherHost bool
	// service is what the parameter of that name must be, and badService answers another one. A zero badService means
	// that anything goes.
	service    string
	badService Answer
	// post answers POST. Zero means that POST is served, in the OAuth2 form.
	post Answer
	// passwordGrant answers a POST with a password. Zero means that it is served, like one with a refresh token.
	passwordGrant Answer
	// exchange is the path, beside path, that makes a refresh token from an access token of another issuer. Empty means
	// none.
	exchange string
	// refreshTTL is how long a refresh token of exchange is good.
	refreshTTL time.Duration

	// anonymous says when a token is issued to who has not logged in, and noLogin answers when it is not. A zero
	// noLogin means badLogin.
	anonymous anonymousTokens
	noLogin   Answer
	// badLogin answers a wrong user name or password. Zero means 401 UNAUTHORIZED.
	badLogin Answer
	// expiredLogin answers a login that was good once. Zero means badLogin.
	expiredLogin Answer
	// ignoresBadLogin says that a wrong login that asks for a scope gets an anonymous token instead of badLogin.
	ignoresBadLogin bool
	// noRights answers a login that has no right to anything. Zero means that it gets a token without rights.
	noRights Answer
	// denied answers a login that has none of the rights that it asks for. Zero means that it gets a token without
	// them.
	denied Answer

	// scope is a regular expression that every scope must match, and badScope answers one that does not. Empty means
	// that all scopes are taken.
	scope    string
	badScope Answer
	// oneScope says that only the first of several scopes counts.
	oneScope bool
	// byAccount says that a token stands for the account and all its rights, whatever scope was asked for. Else it
	// carries the rights that it was issued with.
	byAccount bool
	// knowsRepositories says that no right to pull is issued for a repository that does not exist.
	knowsRepositories bool

	// prefix starts each token.
	prefix string
	// ttl is how long a token is good; less if its login ends before. Zero means until it is revoked.
	ttl time.Duration
	// body is the answer. It may hold {token}, {expires_in} (seconds), {issued_at} and {scope}. Empty means both forms
	// of the specification's answer.
	body string
}

// anonymousTokens says when a token is issued to who has not logged in.
type anonymousTokens int

const (
	// The zero anonymousTokens issues a token without rights to whoever asks.
	_ anonymousTokens = iota
	// anonymousWithScope wants a scope to be asked for.
	anonymousWithScope
	// anonymousWithRight wants one of the scopes to be public.
	anonymousWithRight
)

// A listing is how a list is divided into pages.
type listing struct {
	// pageSize is the length of a page if the client does not say. Zero means that all is in one.
	pageSize int
	// maxSize is the longest page. Zero means any length. A client that asks for more gets tooMany; where that is zero, it
	// gets maxSize.
	maxSize int
	tooMany Answer
	// cursor is the parameter of an opaque mark in the link to the next page. Empty means the last name, as "last".
	cursor string
	// badLast answers a "last" or mark that is not one of the list. Zero means that a name is taken as a place in the
	// order, and a mark for the start.
	badLast Answer
	// trailing says when the last page links to a next one, which is empty.
	trailing trailingLink
	// googleMaps adds the empty "child" and "manifest" that Google's registries list.
	googleMaps bool
}

// trailingLink says when the last page of a list links to a next one.
type trailingLink int

const (
	trailingNever    trailingLink = iota
	trailingIfFull                // If the page is as long as the client, or the registry, limits it.
	trailingIfAnyone              // If there is anything in it.
)

// A catalog is the list of the repositories, /v2/_catalog.
type catalog struct {
	// who says who gets it. no answers the others; zero means denied.
	who catalogFor
	no  Answer
	listing
}

// catalogFor says who gets the catalog.
type catalogFor int

const (
	// catalogForAll is for everybody who may ask the registry, and lists what they may pull.
	catalogForAll catalogFor = iota
	// catalogForAdmins is for accounts with [Account.Admin].
	catalogForAdmins
	// catalogForNobody is a registry without catalog.
	catalogForNobody
)
