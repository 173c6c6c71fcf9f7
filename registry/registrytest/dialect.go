package registrytest

import "time"

// A Dialect is the behavior of one kind of registry: a row of a table, with the exact texts that the registry sends.
// [Dialects] returns the known ones. Tests change other behavior with the fields of [Registry], or inject a [Fault].
//
// The zero Dialect is a registry that requires Basic authentication and responds as the OCI distribution specification
// proposes.
type Dialect struct {
	// Name identifies the dialect: "dockerhub".
	Name string
	// header is sent with each response of the registry. Keys are in their canonical form.
	header map[string]string

	// open makes everything public. The registry never requests a login.
	open bool
	// token is the endpoint that issues bearer tokens. Its zero value means none: the registry requires Basic
	// authentication.
	token tokenEndpoint
	// basic makes the registry itself accept a user name and password, in addition to tokens. A registry without a token
	// endpoint always accepts them.
	basic bool
	// bearerLogin makes the registry accept the base64 form of a user name and password as a bearer token.
	bearerLogin bool

	// ping is the response to GET /v2/ without a login. Zero means unauthorized.
	ping Answer
	// pong is the response to GET /v2/ with a login. Zero means 200 with an empty JSON object.
	pong Answer
	// unauthorized is the response to a request without a login. Zero means 401 with a challenge: Bearer if there is a
	// token endpoint, else Basic.
	unauthorized Answer
	// badLogin is the response to a wrong user name or password if the registry accepts them. Zero means unauthorized.
	badLogin Answer
	// expiredLogin is the response to an expired login. Zero means badLogin.
	expiredLogin Answer
	// basicRefused is the response to a user name and password if only tokens are accepted. Zero means unauthorized.
	basicRefused Answer
	// badToken is the response to a bearer token that is unknown or expired. Zero means 401 with error="invalid_token".
	badToken Answer

	// hides makes the response for a missing repository the same as for a forbidden one: denied.
	hides bool
	// denied is the response to a login that has no right to the repository. Zero means 403 DENIED.
	denied Answer
	// deniedAnonymous is the response to an anonymous client that has no right to the repository. Zero means denied.
	deniedAnonymous Answer
	// projectMissing is the response for a repository whose first part no repository has. Zero means that the registry
	// does not check this.
	projectMissing Answer
	// repositoryMissing is the response for an image in a repository that does not exist. Zero means 404 NAME_UNKNOWN.
	repositoryMissing Answer
	// tagsMissing is the response for the tags of a repository that does not exist. Zero means repositoryMissing.
	tagsMissing Answer
	// blobMissing is the response for a blob that does not exist. Zero means 404 BLOB_UNKNOWN.
	blobMissing Answer
	// nameInvalid is the response, after a login, for an invalid repository name. Zero means 400 NAME_INVALID, with or
	// without a login.
	nameInvalid Answer
	// manifestMissing is the response for a tag or digest that does not exist. Zero means 404 MANIFEST_UNKNOWN.
	manifestMissing Answer
	// digestMissing is the response for a digest that does not exist. Zero means manifestMissing.
	digestMissing Answer
	// notAcceptable is the response for an OCI image whose type is not in the Accept header. Zero means that the image is
	// sent regardless.
	notAcceptable Answer
	// blocked is the response for an image that a rule blocks; see [Registry.Blocked]. Zero means 403 DENIED.
	blocked Answer
	// pushMissing is the response to a push to a repository that does not exist. Zero means that the push creates it.
	pushMissing Answer

	// rateLimited is the response to a rate-limited client. Zero means 429 TOOMANYREQUESTS.
	rateLimited Answer
	// rateHeaders sends the headers ratelimit-limit and ratelimit-remaining with manifests, and excludes HEAD requests for
	// manifests from the limit.
	rateHeaders bool

	// noDigestOnGET omits the header Docker-Content-Digest from the response to the GET of a manifest.
	noDigestOnGET bool

	// tags and catalog configure the lists.
	tags    listing
	catalog catalog
}

// Open reports whether everything is public and the registry never requests a login.
func (d Dialect) Open() bool { return d.open }

// Blocks reports whether the registry has rules that block images; see [Registry.Blocked].
func (d Dialect) Blocks() bool { return !d.blocked.isZero() }

// Unauthorized returns the response to a request without a login, for a [Fault]. It is zero if the dialect has no
// response of its own.
func (d Dialect) Unauthorized() Answer { return d.unauthorized }

// RateLimited returns the response to a rate-limited client, for a [Fault].
func (d Dialect) RateLimited() Answer { return d.rateLimited.or(tooManyRequests) }

// A tokenEndpoint issues bearer tokens, as the distribution project specifies:
// https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/.
type tokenEndpoint struct {
	// path is the path of the endpoint; an asterisk matches one part of the path. Empty means that there is no token
	// endpoint.
	path string
	// otherHost reports whether the endpoint has its own host; see [Registry.TokenHost].
	otherHost bool
	// service is the required value of the parameter of that name, and badService is the response to any other value. A
	// zero badService means that every value is accepted.
	service    string
	badService Answer
	// post is the response to POST. Zero means that POST is served, in the OAuth2 form.
	post Answer
	// passwordGrant is the response to a POST with a password. Zero means that it is served, like one with a refresh
	// token.
	passwordGrant Answer
	// exchange is the path, beside path, of the endpoint that exchanges an access token of another issuer for a refresh
	// token. Empty means none.
	exchange string
	// refreshTTL is the lifetime of a refresh token of exchange.
	refreshTTL time.Duration

	// anonymous selects the anonymous requests for which a token is issued, and noLogin is the response to the others. A
	// zero noLogin means badLogin.
	anonymous anonymousTokens
	noLogin   Answer
	// badLogin is the response to a wrong user name or password. Zero means 401 UNAUTHORIZED.
	badLogin Answer
	// expiredLogin is the response to an expired login. Zero means badLogin.
	expiredLogin Answer
	// ignoresBadLogin makes a wrong login that requests a scope get an anonymous token instead of badLogin.
	ignoresBadLogin bool
	// noRights is the response to a login that has no rights at all. Zero means that it gets a token without rights.
	noRights Answer
	// denied is the response to a login that has none of the rights that it requests. Zero means that it gets a token
	// without them.
	denied Answer

	// scope is a regular expression that every scope must match, and badScope is the response to a scope that does not.
	// Empty means that all scopes are accepted.
	scope    string
	badScope Answer
	// oneScope makes the endpoint ignore all but the first of several scopes.
	oneScope bool
	// byAccount makes a token carry all rights of its account, whatever scope was requested. Otherwise a token carries the
	// rights that it was issued with.
	byAccount bool
	// knowsRepositories makes the endpoint grant no right to pull from a repository that does not exist.
	knowsRepositories bool

	// prefix is the prefix of each token.
	prefix string
	// ttl is the lifetime of a token. A token expires earlier if its login does. Zero means that tokens do not expire.
	ttl time.Duration
	// body is the response body. It may contain {token}, {expires_in} (seconds), {issued_at} and {scope}. Empty means both
	// forms of the response in the specification.
	body string
}

// anonymousTokens selects the anonymous requests for which a token is issued.
type anonymousTokens int

const (
	// The zero anonymousTokens issues a token without rights for every request.
	_ anonymousTokens = iota
	// anonymousWithScope requires that the request has a scope.
	anonymousWithScope
	// anonymousWithRight requires that one of the scopes is public.
	anonymousWithRight
)

// A listing configures how a list is divided into pages.
type listing struct {
	// pageSize is the length of a page if the client does not specify one. Zero means that the whole list is one page.
	pageSize int
	// maxSize is the maximum length of a page. Zero means no maximum. A client that requests more gets tooMany, or a page
	// of length maxSize if tooMany is zero.
	maxSize int
	tooMany Answer
	// cursor is the parameter of an opaque cursor in the link to the next page. Empty means the last name, as "last".
	cursor string
	// badLast is the response to a "last" or cursor that is not in the list. Zero means that the page starts at a name's
	// position in the order, or, for a cursor, at the start.
	badLast Answer
	// trailing selects the lists whose last page links to a next page, which is empty.
	trailing trailingLink
	// googleMaps adds the empty "child" and "manifest" of Google's registries.
	googleMaps bool
}

// A trailingLink selects the lists whose last page links to a next page.
type trailingLink int

const (
	trailingNever    trailingLink = iota
	trailingIfFull                // If the page has the maximum length that the client, or the registry, set.
	trailingIfAnyone              // If the page is not empty.
)

// A catalog is the list of the repositories, /v2/_catalog.
type catalog struct {
	// who selects the clients that get the catalog. no is the response to the others; zero means denied.
	who catalogFor
	no  Answer
	listing
}

// catalogFor selects the clients that get the catalog.
type catalogFor int

const (
	// catalogForAll gives every client that may use the registry a list of the repositories that it may pull from.
	catalogForAll catalogFor = iota
	// catalogForAdmins gives the catalog to accounts with [Account.Admin].
	catalogForAdmins
	// catalogForNobody disables the catalog.
	catalogForNobody
)
