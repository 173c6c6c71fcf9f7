package validate

import (
	"net/http"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A vendor is the maker or operator of a registry, if its host or responses show it. It decides how a response is read
// where registries differ, and which hint is given; never whether a login is sent.
type vendor string

const (
	anyVendor   vendor = ""
	dockerHub   vendor = "Docker Hub"
	ecr         vendor = "AWS ECR"
	ecrPublic   vendor = "AWS ECR Public"
	google      vendor = "Google Artifact Registry"
	quay        vendor = "Quay"
	nexus       vendor = "Nexus"
	artifactory vendor = "Artifactory"
	mcr         vendor = "Microsoft MCR"
	acr         vendor = "Azure ACR"
	harbor      vendor = "Harbor"
	ghcr        vendor = "GitHub GHCR"
	gitlab      vendor = "GitLab"
	zot         vendor = "Zot"
	gitea       vendor = "Gitea"
	redHat      vendor = "Red Hat"
)

// hostSigns identify vendors by the host of the registry. A leading dot matches all hosts below.
var hostSigns = []struct {
	host   string
	vendor vendor
}{
	{"docker.io", dockerHub},
	{"public.ecr.aws", ecrPublic},
	{"ecr-public.aws.com", ecrPublic},
	{"quay.io", quay},
	{"mcr.microsoft.com", mcr},
	{"mcr.azure.cn", mcr},
	{".azurecr.io", acr},
	{".azurecr.cn", acr},
	{".azurecr.us", acr},
	{".azurecr.de", acr},
	{"ghcr.io", ghcr},
	{".ghe.com", ghcr}, // containers.NAME.ghe.com, of GitHub Enterprise with data residency.
	{"registry.gitlab.com", gitlab},
	{".jfrog.io", artifactory},
	{"registry.redhat.io", redHat},
}

func vendorOfHost(host string) vendor {
	switch registry.KindOf(host) {
	case registry.ECR:
		if strings.Contains(host, ".dkr") {
			return ecr
		}
	case registry.GCR:
		return google
	}
	for _, s := range hostSigns {
		if host == s.host || s.host[0] == '.' && strings.HasSuffix(host, s.host) {
			return s.vendor
		}
	}
	return anyVendor
}

// responseSigns identify vendors by a response: by the content of a challenge's parameter or of a header. The first
// match counts.
var responseSigns = []struct {
	header string // A header of the response; empty for a parameter of its challenges.
	param  string
	holds  string // In lower case.
	vendor vendor
}{
	{param: "service", holds: "registry.docker.io", vendor: dockerHub},
	{param: "service", holds: "ecr.amazonaws.com", vendor: ecr},
	{param: "service", holds: "public.ecr.aws", vendor: ecrPublic},
	{param: "service", holds: "harbor-registry", vendor: harbor},
	{param: "realm", holds: "/service/token", vendor: harbor},
	{param: "realm", holds: "/jwt/auth", vendor: gitlab},
	{param: "realm", holds: "/artifactory/api/docker/", vendor: artifactory},
	{param: "realm", holds: "artifactory realm", vendor: artifactory},
	{param: "realm", holds: "sonatype nexus", vendor: nexus},
	{param: "realm", holds: "/v2/auth", vendor: quay},
	{param: "realm", holds: "/oauth2/token", vendor: acr},
	{param: "realm", holds: "sso.redhat.com", vendor: redHat},
	{param: "realm", holds: "ghcr.io/token", vendor: ghcr},
	{param: "service", holds: "container_registry", vendor: gitea}, // GitLab sends the same service; its realm is above.
	{param: "scope", holds: "repository:*:pull", vendor: nexus},
	{param: "service", holds: "/v2/token", vendor: nexus}, // The service is the realm.
	{header: "Server", holds: "nexus/", vendor: nexus},
	{header: "Server", holds: "artifactory", vendor: artifactory},
	{header: "X-Jfrog-Version", vendor: artifactory},
	{header: "X-Artifactory-Id", vendor: artifactory},
	{header: "X-Gitlab-Meta", vendor: gitlab},
	{header: "Zot-Version", vendor: zot},
}

func vendorOfResponse(challenges []challenge, header http.Header) vendor {
	for _, s := range responseSigns {
		if s.header != "" {
			if v := header.Get(s.header); v != "" && strings.Contains(strings.ToLower(v), s.holds) {
				return s.vendor
			}
			continue
		}
		for _, c := range challenges {
			if v := c.params[s.param]; v != "" && strings.Contains(strings.ToLower(v), s.holds) {
				return s.vendor
			}
		}
	}
	return anyVendor
}

// lockouts are the documented reactions of vendors to rejected logins. The sources:
//   - Artifactory: https://jfrog.com/help/r/jfrog-platform-administration-documentation/user-lock-and-login-suspension
//   - GitLab: https://docs.gitlab.com/rate_limits/abuse_bans/
//   - Harbor: src/core/auth/authenticator.go of github.com/goharbor/harbor (frozenTime)
//   - Quay: verify_user in data/model/user.py of github.com/quay/quay
var lockouts = map[vendor]string{
	artifactory: "Artifactory suspends the user's logins, for up to a minute after each, and locks the user after some of " +
		"them if its policy says so",
	gitlab: "GitLab, where it is set up so, bans an address for an hour after 30 of them within three minutes",
	harbor: "Harbor rejects every login of a user for a second and a half after each",
	quay:   "Quay rejects every login of a user for a time that doubles with each",
}

// hints are the hints for a verdict where a vendor's is more specific than [registry.Code.Hint]. The sources are the
// vendors' own pages on how to log in, as linked from docs/verdicts.md.
var hints = map[vendor]map[registry.Code]string{
	dockerHub: {
		registry.ErrUnauthorized: "check the user name, and that the token is neither mistyped, expired nor revoked; " +
			"use a personal access token in place of the password, which Docker Hub rejects " +
			"for accounts with two-factor authentication or single sign-on; the user name is the Docker ID, not an " +
			"e-mail address",
		registry.ErrHidden: "check the spelling of the repository, and that this account may read it: Docker Hub " +
			"responds alike for a private repository and for none",
		registry.ErrRateLimited: "wait, or log in: Docker Hub counts pulls by account, and without one by address",
	},
	ecr: {
		registry.ErrUnauthorized: "the password is not an ECR token: the user name is AWS, the password comes from " +
			"GetAuthorizationToken",
		registry.ErrExpired: "get a new token: tokens of ECR are valid for 12 hours, in the region they were made " +
			"in only",
		registry.ErrDenied: "allow ecr:BatchGetImage and ecr:GetDownloadUrlForLayer to this identity; from another " +
			"account, both its own policy and the policy of the repository must",
		registry.ErrRepositoryNotFound: "check the repository, the account and the region in the name: a push does " +
			"not create repositories in ECR",
	},
	ecrPublic: {
		registry.ErrUnauthorized: "the token is not from ECR Public: get it from ecr-public in us-east-1, or pull " +
			"without a login",
		registry.ErrExpired: "get a new token from ecr-public in us-east-1: it is valid for 12 hours; or pull without a " +
			"login. ECR Public responds alike to a token that it does not know",
	},
	google: {
		registry.ErrUnauthorized: "check that the service account's key is not disabled or deleted; an access token " +
			"is valid for one hour, and its user name is oauth2accesstoken",
		registry.ErrHidden: "grant the service account the role artifactregistry.reader on the repository, and check " +
			"project, location and repository in the name: Google does not distinguish the two",
		registry.ErrDenied: "grant the service account the role artifactregistry.reader on the repository",
	},
	quay: {
		registry.ErrUnauthorized: "check the robot's full name, organization+robot, and its token; for a user, create " +
			"an encrypted password",
		registry.ErrHidden: "grant the robot the Read permission on the repository, and check the name: Quay gives " +
			"the same response for a repository without permission and for none",
	},
	nexus: {
		registry.ErrUnauthorized: "check user name and password; if user tokens are enforced, use one; if this " +
			"client needs a token, the Docker Bearer Token Realm must be active",
		registry.ErrDenied: "grant the user a role with the privileges browse and read on this Docker repository",
	},
	artifactory: {
		registry.ErrUnauthorized: "use an identity or access token as the password; API keys no longer work, and " +
			"tokens expire",
		registry.ErrDenied: "grant the user Read permission on the repository; Artifactory may respond alike for an image " +
			"that does not exist, too",
		registry.ErrNotFound: "check the name, and that this login may read the repository: Artifactory can be set " +
			"to hide what a login may not read, and Xray can hide what it blocks",
		registry.ErrImageNotFound: "check the tag: the repository exists; through a virtual repository, Xray can " +
			"hide what it blocks",
	},
	acr: {
		registry.ErrUnauthorized: "check the service principal's secret, which expires, or the token's password; the " +
			"admin user must be enabled to be used",
		registry.ErrHidden: "grant the identity the role AcrPull, or the token read rights to the repository, and " +
			"check the name: the registry does not distinguish the two",
		registry.ErrBlocked: "the registry's firewall rejects this network: allow its address, or use a private " +
			"endpoint; the nodes need the same access",
	},
	harbor: {
		registry.ErrUnauthorized: "check the robot's full name, with its prefix robot$, and its secret; robots " +
			"expire; a user who logs in by OIDC has a CLI secret",
		registry.ErrDenied: "grant the robot or user the right to pull from this project",
		registry.ErrBlocked: "a policy of the Harbor project stops this image, for a vulnerability or a missing " +
			"signature: contact its owner",
	},
	ghcr: {
		registry.ErrUnauthorized: "check the user name, and that the token is neither mistyped, expired nor revoked; " +
			"use a classic personal access token with the scope read:packages, authorized for " +
			"single sign-on if the organization has it; fine-grained tokens do not work",
		registry.ErrHidden: "grant the token's owner read access to the package, and check the name: GitHub does not " +
			"distinguish the two; a GITHUB_TOKEN must be allowed under the package's Actions access",
	},
	gitea: {
		registry.ErrUnauthorized: "use an access token with the scope read:package; Gitea accepts no password of an account with " +
			"two-factor authentication",
	},
	gitlab: {
		registry.ErrUnauthorized: "use a deploy token or access token with the scope read_registry; a password does " +
			"not work with two-factor authentication, and tokens expire",
		registry.ErrDenied: "create a token with the scope read_registry",
		registry.ErrHidden: "check the path of the project, and that the token may read its registry (scope " +
			"read_registry, at least Reporter): GitLab does not distinguish the two",
	},
	zot: {
		registry.ErrDenied: "allow this user to read the repository in zot's access control",
	},
	redHat: {
		registry.ErrUnauthorized: "use a registry service account of access.redhat.com, whose name holds a |",
	},
}

// hintFor returns the vendor's hint for the code; "" if there is none.
func hintFor(v vendor, code registry.Code, c credentials.Credential) string {
	switch {
	case c.Anonymous && code == registry.ErrHidden:
		return "check the name of the repository; if it is not public, add a login to its profile: the registry does not " +
			"distinguish the two"
	case v == dockerHub && code == registry.ErrUnauthorized && strings.Contains(c.Username, "@"):
		return "the user name is the Docker ID: Docker Hub does not accept an e-mail address here"
	case v == ghcr && code != registry.ErrUnauthorized && strings.HasPrefix(c.Password.Reveal(), "ghs_") && hints[v][code] != "":
		// The login is accepted, and then denied:
		// https://docs.github.com/en/packages/learn-github-packages/introduction-to-github-packages
		return "use a classic personal access token with the scope read:packages: this one (ghs_...) is the installation " +
			"token of a GitHub App, which logs in and then reads no private package; a workflow's GITHUB_TOKEN reads those " +
			"that the package's Actions access names"
	}
	return hints[v][code]
}
