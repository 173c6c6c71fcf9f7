package validate

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/registry"
)

// A sender describes whether the request was sent with a login.
type sender int

const (
	anybody sender = iota
	loggedIn
	withoutLogin
)

// A followUp is one more request that a verdict needs.
type followUp int

const (
	_ followUp = iota // Nothing.
	// probeLogin checks the login itself. If the login is rejected, that is the verdict. Some registries respond to a bad
	// login as they do to a missing right.
	probeLogin
	// probeTagList requests the list of tags, which distinguishes a missing tag from a missing repository.
	probeTagList
)

// A rule matches responses. An empty field matches every response.
type rule struct {
	vendors []vendor
	steps   []Step
	status  []int
	codes   []string // One of the body's codes is in this list.
	says    []string // The body's messages contain one of these, in lower case; an asterisk matches any text.
	bearer  string   // The error parameter of the challenge.
	auth    string   // The scheme that was sent: "Basic", "Bearer".
	html    bool     // The body is a web page.
	sender  sender

	code     registry.Code
	followUp followUp
	hint     string // Empty means the hint in hints for the code.
}

var (
	blobSteps    = []Step{StepConfig, StepLayer}
	catalogSteps = []Step{StepRepositories}
)

func of(v ...vendor) []vendor { return v }

// verdictRules map responses to verdicts: the first rule that matches is the verdict. Rules for one registry come
// before the rules for all.
var verdictRules = []rule{
	// For every sender and step.
	{status: []int{http.StatusTooManyRequests}, code: registry.ErrRateLimited},
	{codes: []string{"TOOMANYREQUESTS", "TOO_MANY_REQUEST"}, code: registry.ErrRateLimited},
	{status: []int{http.StatusProxyAuthRequired}, code: registry.ErrProxy},
	{status: []int{http.StatusPreconditionFailed, http.StatusUnavailableForLegalReasons}, code: registry.ErrBlocked},
	{vendors: of(acr), status: []int{403}, says: []string{"is not allowed access", "firewall"},
		code: registry.ErrBlocked},
	{vendors: of(artifactory), status: []int{403}, says: []string{"xray", "blocked", "rejected"},
		code: registry.ErrBlocked, hint: "Xray or a curation policy blocks the image: contact the owner of the registry"},
	{vendors: of(nexus), status: []int{403}, says: []string{"quarantin", "firewall"},
		code: registry.ErrBlocked,
		hint: "Repository Firewall holds the image in quarantine: contact the owner of the registry"},
	{vendors: of(quay), status: []int{405}, codes: []string{"DENIED"},
		code: registry.ErrBlocked, hint: "the namespace is disabled or read-only: contact the owner of the registry"},
	// Messages of clouds and proxies whose status has less information, or is wrong.
	{vendors: of(ecr, ecrPublic), sender: loggedIn,
		says: []string{"security token included in the request is", "authorization token is invalid"},
		code: registry.ErrExpired,
		hint: "get a new token: AWS no longer accepts this one, also if its own expiry is later, because the session " +
			"or the role behind it ended"},
	{vendors: of(ecr), says: []string{"kms*disabled", "kms*pending deletion", "kms*not found", "kms*invalid", "kms*access"},
		code: registry.ErrBlocked,
		hint: "make the KMS key that encrypts the repository usable: it is disabled, deleted, or not allowed to this " +
			"identity"},
	{vendors: of(ecr), says: []string{"upstream*denied", "upstream*unauthorized", "upstream*authenticat", "upstream*credential"},
		code: registry.ErrDenied,
		hint: "correct the login of the pull-through cache rule: the upstream registry denies the image to ECR"},
	{vendors: of(harbor), says: []string{"http status code: 429", "toomanyrequests"},
		code: registry.ErrRateLimited,
		hint: "wait, or give Harbor's proxy cache a login at the upstream registry, which limits its pulls"},
	{vendors: of(google), says: []string{"billing"},
		code: registry.ErrBlocked, hint: "enable billing in the Google Cloud project of the repository"},
	{vendors: of(acr), says: []string{"aadsts7000222"},
		code: registry.ErrExpired, hint: "create a new client secret for the service principal: the one in the profile expired"},
	{vendors: of(acr), says: []string{"aadsts7000215", "aadsts700016", "aadsts90002", "aadsts700027", "aadsts50034"},
		code: registry.ErrUnauthorized,
		hint: "check the application ID, its tenant and the value of the client secret, which is not the secret's ID"},
	{vendors: of(acr), says: []string{"aadsts53003", "aadsts50105"},
		code: registry.ErrBlocked, hint: "a conditional access policy of Microsoft Entra ID stops this login: contact its owner"},
	{says: []string{"token has expired", "token is expired", "credentials have expired"}, sender: loggedIn,
		code: registry.ErrExpired},
	{says: []string{"used before issued", "not yet valid", "issued in the future"}, sender: loggedIn,
		code: registry.ErrClockSkew},

	// The ping, without a login.
	{steps: []Step{StepPing}, status: []int{403},
		code: registry.ErrBlocked, hint: "the registry, or a firewall before it, rejects this network: contact its owner"},
	{steps: []Step{StepPing}, status: []int{500, 502, 503, 504}, code: registry.ErrUnavailable},
	{steps: []Step{StepPing}, code: registry.ErrNotRegistry},

	// Nexus accepts the tokens that it issues only if an administrator activated its Docker Bearer Token Realm. By
	// default, it accepts no request without a login.
	{vendors: of(nexus), status: []int{401}, auth: "Bearer", sender: loggedIn,
		code: registry.ErrUnauthorized,
		hint: "Nexus does not accept the token that it issued: activate its Docker Bearer Token Realm"},
	{vendors: of(nexus), status: []int{401}, sender: withoutLogin,
		code: registry.ErrUnauthorized,
		hint: "give its profile a login; to pull without one, Nexus requires anonymous access, a repository " +
			"that allows anonymous Docker pulls, and the Docker Bearer Token Realm"},

	// The token server. A 401 of these vendors' token servers is about the login alone.
	{vendors: of(dockerHub, quay, gitlab, google, artifactory, nexus, gitea, redHat), steps: []Step{StepToken},
		status: []int{401}, sender: loggedIn, code: registry.ErrUnauthorized},
	{vendors: of(gitlab), steps: []Step{StepToken, StepLogin}, status: []int{403}, sender: loggedIn,
		code: registry.ErrDenied},
	{vendors: of(gitlab), steps: []Step{StepToken, StepLogin}, status: []int{404}, says: []string{"not enabled"},
		code: registry.ErrUnsupported, hint: "enable the container registry of this GitLab: it is disabled"},
	{vendors: of(ecrPublic), steps: []Step{StepToken, StepLogin}, status: []int{400, 401, 403}, sender: loggedIn,
		code: registry.ErrUnauthorized},
	{vendors: of(google), steps: []Step{StepToken}, status: []int{403},
		says: []string{"token exchange failed", "has not been used in project", "api is disabled"},
		code: registry.ErrDenied, hint: "enable the Artifact Registry API in the project"},
	{vendors: of(google), steps: []Step{StepToken}, status: []int{403, 404}, code: registry.ErrHidden},
	{vendors: of(ghcr), steps: []Step{StepLogin}, status: []int{401, 403}, code: registry.ErrUnauthorized},
	{steps: []Step{StepToken}, status: []int{401, 403}, sender: loggedIn, code: registry.ErrHidden, followUp: probeLogin},
	{vendors: of(ghcr, gitlab), steps: []Step{StepToken}, status: []int{401, 403}, sender: withoutLogin,
		code: registry.ErrHidden},
	{steps: []Step{StepToken, StepLogin}, status: []int{401, 403, 406}, sender: withoutLogin,
		code: registry.ErrUnauthorized, hint: hintLoginRequired},
	{steps: []Step{StepLogin}, status: []int{401}, code: registry.ErrUnauthorized},
	{steps: []Step{StepLogin}, status: []int{403}, code: registry.ErrDenied},
	{steps: []Step{StepToken, StepLogin}, codes: []string{"INVALID_REQUEST", "NAME_INVALID"},
		code: registry.ErrInvalid},
	{steps: []Step{StepToken, StepLogin},
		code: registry.ErrUnavailable,
		hint: "the token server that the registry names does not serve tokens: check the registry's configuration"},

	// The list of repositories, which is not part of the OCI distribution specification.
	{vendors: of(dockerHub, ghcr, ecrPublic), steps: catalogSteps, status: []int{400, 401, 403, 404},
		code: registry.ErrUnsupported, hint: hintNoCatalog},
	{vendors: of(gitlab, harbor), steps: catalogSteps, status: []int{401, 403},
		code: registry.ErrDenied, followUp: probeLogin,
		hint: "only administrators may list the repositories here; enter the name"},
	{steps: catalogSteps, status: []int{401, 403}, sender: loggedIn,
		code: registry.ErrDenied, followUp: probeLogin, hint: "this login may not list repositories; enter the name"},
	{steps: catalogSteps, status: []int{404, 405}, code: registry.ErrUnsupported, hint: hintNoCatalog},
	{steps: []Step{StepTags}, status: []int{404}, code: registry.ErrRepositoryNotFound},

	// The config and the layers. At this point, the login may read the manifest.
	{steps: blobSteps, status: []int{404}, code: registry.ErrContentNotFound},
	{steps: blobSteps, status: []int{401, 403},
		code: registry.ErrDenied,
		hint: "this login may read the manifest, and not this part of the image: grant it the right to pull layers too"},

	// The manifest.
	{says: []string{"or it may not exist"}, code: registry.ErrHidden},
	{vendors: of(google), status: []int{401}, sender: loggedIn, code: registry.ErrUnauthorized},
	{vendors: of(google), status: []int{403}, code: registry.ErrHidden},
	{status: []int{403}, html: true,
		code: registry.ErrBlocked, hint: "a firewall or proxy before the registry responds in its place: contact its owner"},
	{vendors: of(ghcr), status: []int{403}, code: registry.ErrHidden},
	{vendors: of(ecrPublic), status: []int{400}, codes: []string{"DENIED"}, code: registry.ErrUnauthorized},
	{vendors: of(harbor), status: []int{401}, says: []string{"project *not found"},
		code: registry.ErrRepositoryNotFound, followUp: probeLogin,
		hint: "check the first part of the name: Harbor has no such project"},
	{vendors: of(harbor), status: []int{401}, says: []string{"unauthorized to access repository"}, sender: loggedIn,
		code: registry.ErrDenied, followUp: probeLogin},
	{vendors: of(harbor), status: []int{401}, says: []string{"unauthorized to access repository"}, sender: withoutLogin,
		code: registry.ErrUnauthorized, hint: hintLoginRequired},
	{vendors: of(dockerHub, quay, gitlab), status: []int{401}, code: registry.ErrHidden},
	{vendors: of(ecr), status: []int{401}, sender: loggedIn, code: registry.ErrUnauthorized},
	{status: []int{401}, bearer: "insufficient_scope", sender: loggedIn, code: registry.ErrHidden, followUp: probeLogin},
	{status: []int{401}, bearer: "invalid_token", sender: loggedIn,
		code: registry.ErrUnauthorized,
		hint: "the registry rejects the tokens of its own token server: their clocks or keys differ"},
	{status: []int{401}, sender: loggedIn, code: registry.ErrHidden, followUp: probeLogin},
	{status: []int{401}, bearer: "insufficient_scope", code: registry.ErrHidden},
	{status: []int{401}, auth: "Bearer", sender: withoutLogin, code: registry.ErrHidden},
	{status: []int{401}, sender: withoutLogin, code: registry.ErrUnauthorized, hint: hintLoginRequired},
	{status: []int{403}, sender: withoutLogin, code: registry.ErrDenied, hint: hintLoginRequired},
	{status: []int{403}, code: registry.ErrDenied},
	{codes: []string{"NAME_UNKNOWN"}, status: []int{404}, code: registry.ErrRepositoryNotFound},
	{codes: []string{"TAG_EXPIRED"},
		code: registry.ErrImageNotFound, hint: "the tag existed and has expired, or was deleted"},
	{vendors: of(ecr, ecrPublic, zot), codes: []string{"MANIFEST_UNKNOWN"}, status: []int{404},
		code: registry.ErrImageNotFound},
	{status: []int{404, 410}, code: registry.ErrNotFound, followUp: probeTagList},
	{codes: []string{"NAME_INVALID", "TAG_INVALID", "DIGEST_INVALID", "MANIFEST_INVALID"}, code: registry.ErrInvalid},
	{status: []int{405}, code: registry.ErrUnsupported},
	{code: registry.ErrUnavailable},
}

const (
	hintLoginRequired = "the registry requires a login: add one to its profile"
	hintOpenRegistry  = "the registry requires no login, so this one is not the cause: if it is a pull-through cache, correct the " +
		"login with which it calls its upstream registry"
	hintNoCatalog = "this registry does not list its repositories: enter the name"
)

// matchRule returns the first rule that matches the response.
func matchRule(v vendor, a *response, of sender) rule {
	bearer := a.bearerError()
	for _, r := range verdictRules {
		if matchesAny(r.vendors, v) && matchesAny(r.steps, a.step) && matchesAny(r.status, a.status) &&
			(r.codes == nil || a.says(r.codes...)) &&
			(r.says == nil || slices.ContainsFunc(r.says, func(s string) bool { return containsInOrder(a.text, s) })) &&
			(r.auth == "" || r.auth == a.ex.Auth) &&
			(r.bearer == "" || r.bearer == bearer) && (!r.html || a.html) && (r.sender == anybody || r.sender == of) {
			return r
		}
	}
	return rule{code: registry.ErrUnavailable}
}

// containsInOrder reports whether the text has the parts of the pattern in their order.
func containsInOrder(text, pattern string) bool {
	for part := range strings.SplitSeq(pattern, "*") {
		_, rest, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = rest
	}
	return true
}

func matchesAny[T comparable](list []T, v T) bool { return list == nil || slices.Contains(list, v) }

// skew returns the difference between this machine's clock and the Date of the response; zero if it is small, or the
// response has no date.
func (a *response) skew(now time.Time) time.Duration {
	const close = 2 * time.Minute
	date, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		return 0
	}
	if d := now.Sub(date).Round(time.Second); d > close || d < -close {
		return d
	}
	return 0
}
