package custom

import (
	"slices"
	"strings"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
)

// check reports problems that are visible from the names of well-known registries and their tokens.
func check(p registry.Profile, problems *field.List) {
	var hosts []string
	endpoints, _ := p.Endpoints() // The profile's own validation reports invalid ones.
	for _, e := range endpoints {
		hosts = append(hosts, e.Host)
	}
	// https://docs.github.com/en/packages/working-with-a-github-packages-registry/working-with-the-container-registry
	if slices.Contains(hosts, "ghcr.io") && strings.HasPrefix(p.Login.Password.Reveal(), "github_pat_") {
		problems.Add("login.password", "is a fine-grained token of GitHub, which ghcr.io refuses",
			"a classic personal access token with the right read:packages")
	}
	if token := shortLived(p.Login.Username, hosts); token != "" && p.Login.ExpiresAt.IsZero() {
		problems.Add("login.expiresAt", "is missing, though the user name belongs to "+token,
			"the time at which the token expires; better, a login that does not expire, because this one is not renewed")
	}
}

// shortLived returns the kind of short-lived token that the user name belongs to, or "" if it is not such a token.
func shortLived(username string, hosts []string) string {
	switch username {
	case "00000000-0000-0000-0000-000000000000":
		return "a token of Azure, which is valid for three hours"
	case "gitlab-ci-token":
		return "a job of GitLab, whose token ends with it"
	case "oauth2accesstoken":
		return "a token of Google, which is valid for an hour"
	case "AWS":
		isECR := func(host string) bool {
			return registry.KindOf(host) == registry.ECR || strings.Contains(host, ".ecr.") && strings.Contains(host, ".vpce.")
		}
		if slices.ContainsFunc(hosts, isECR) {
			return "a token of AWS, which is valid for twelve hours"
		}
	}
	return ""
}
