package validate

import (
	"net/http"
	"strings"

	"github.com/regcred/regcred/registry"
)

// A vendor is whose registry it is, as far as it shows. It decides how an answer is read where registries differ, and
// which advice is given; never whether a login is sent.
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

// hostSigns tells vendors by the host of the registry. A leading dot stands for all hosts below.
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

// answerSigns tells vendors by an answer: what the challenge's parameter, or a header, holds. The first that fits
// counts.
var answerSigns = []struct {
	header string // A header of the answer; empty for a parameter of its challenges.
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
	{param: "service", holds: "container_registry", vendor: gitea}, // GitLab says so too; its realm is above.
	{param: "scope", holds: "repository:*:pull", vendor: nexus},
	{param: "service", holds: "/v2/token", vendor: nexus}, // The service is the realm.
	{header: "Server", holds: "nexus/", vendor: nexus},
	{header: "Server", holds: "artifactory", vendor: artifactory},
	{header: "X-Jfrog-Version", vendor: artifactory},
	{header: "X-Artifactory-Id", vendor: artifactory},
	{header: "X-Gitlab-Meta", vendor: gitlab},
	{header: "Zot-Version", vendor: zot},
}

func vendorOfAnswer(challenges []challenge, header http.Header) vendor {
	for _, s := range answerSigns {
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
