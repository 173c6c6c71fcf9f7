package validate

import (
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// hints is what to do about a verdict where a vendor has more to say than [registry.Code.Hint]. The sources are the
// vendors' own pages on how to log in, as linked from docs/verdicts.md.
var hints = map[vendor]map[registry.Code]string{
	dockerHub: {
		registry.ErrUnauthorized: "use a personal access token in place of the password, which Docker Hub refuses " +
			"for accounts with two-factor authentication or single sign-on; the user name is the Docker ID, not an " +
			"e-mail address",
		registry.ErrHidden: "check the spelling of the repository, and that this account may read it: Docker Hub " +
			"gives the same answer for a private repository and for none",
		registry.ErrRateLimited: "wait, or log in: Docker Hub counts pulls by account, and without one by address",
	},
	ecr: {
		registry.ErrUnauthorized: "the password is not an ECR token: the user name is AWS, the password comes from " +
			"GetAuthorizationToken",
		registry.ErrExpired: "get a new token: those of ECR live 12 hours, and are good in the region they were made " +
			"in only",
		registry.ErrDenied: "allow ecr:BatchGetImage and ecr:GetDownloadUrlForLayer to this identity; from another " +
			"account, both its own policy and that of the repository must",
		registry.ErrRepositoryNotFound: "check the repository, the account and the region in the name: a push does " +
			"not create repositories in ECR",
	},
	ecrPublic: {
		registry.ErrUnauthorized: "the token is not one of ECR Public: get it from ecr-public in us-east-1, or pull " +
			"without a login",
		registry.ErrExpired: "get a new token from ecr-public in us-east-1: they live 12 hours; or pull without a " +
			"login. ECR Public says the same of a token that it does not know",
	},
	google: {
		registry.ErrUnauthorized: "check that the service account's key is not disabled or deleted; an access token " +
			"lives one hour, and its user name is oauth2accesstoken",
		registry.ErrHidden: "give the service account the role artifactregistry.reader on the repository, and check " +
			"project, location and repository in the name: Google does not say which it is",
		registry.ErrDenied: "give the service account the role artifactregistry.reader on the repository",
	},
	quay: {
		registry.ErrUnauthorized: "check the robot's full name, organisation+robot, and its token; with a user, make " +
			"an encrypted password",
		registry.ErrHidden: "give the robot the Read permission on the repository, and check the name: Quay gives " +
			"the same answer for a repository without permission and for none",
	},
	nexus: {
		registry.ErrUnauthorized: "check user name and password; if user tokens are enforced, use one; if this " +
			"client is asked for a token, the Docker Bearer Token Realm must be active",
		registry.ErrDenied: "give the user a role with the privileges browse and read on this Docker repository",
	},
	artifactory: {
		registry.ErrUnauthorized: "use an identity or access token as the password; API keys no longer work, and " +
			"tokens expire",
		registry.ErrDenied: "give the user Read permission on the repository; Artifactory may answer so for an image " +
			"that does not exist, too",
		registry.ErrNotFound: "check the name, and that this login may read the repository: Artifactory can be set " +
			"to hide what one may not read, and Xray can hide what it blocks",
		registry.ErrImageNotFound: "check the tag: the repository exists; through a virtual repository, Xray can " +
			"hide what it blocks",
	},
	acr: {
		registry.ErrUnauthorized: "check the service principal's secret, which expires, or the token's password; the " +
			"admin user must be enabled to be used",
		registry.ErrHidden: "give the identity the role AcrPull, or the token read rights to the repository, and " +
			"check the name: the registry does not say which it is",
		registry.ErrBlocked: "the registry's firewall refuses this network: allow its address, or use a private " +
			"endpoint; the nodes need the same",
	},
	harbor: {
		registry.ErrUnauthorized: "check the robot's full name, with its prefix robot$, and its secret; robots " +
			"expire; a user who logs in by OIDC has a CLI secret",
		registry.ErrDenied: "give the robot or user the right to pull from this project",
		registry.ErrBlocked: "a policy of the Harbor project stops this image, for a vulnerability or a missing " +
			"signature: ask its owner",
	},
	ghcr: {
		registry.ErrUnauthorized: "use a classic personal access token with the scope read:packages, authorised for " +
			"single sign-on if the organisation has it; fine-grained tokens do not work",
		registry.ErrHidden: "give the token's owner read access to the package, and check the name: GitHub does not " +
			"say which it is; a GITHUB_TOKEN must be allowed under the package's Actions access",
	},
	gitlab: {
		registry.ErrUnauthorized: "use a deploy token or access token with the scope read_registry; a password does " +
			"not work with two-factor authentication, and tokens expire",
		registry.ErrDenied: "give the token the scope read_registry",
		registry.ErrHidden: "check the path of the project, and that the token may read its registry (scope " +
			"read_registry, at least Reporter): GitLab does not say which it is",
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
		return "check the name of the repository; if it is not public, give its profile a login: the registry does not " +
			"say which of the two it is"
	case v == dockerHub && code == registry.ErrUnauthorized && strings.Contains(c.Username, "@"):
		return "the user name is the Docker ID: Docker Hub does not take an e-mail address here"
	}
	return hints[v][code]
}
