package registry

import (
	"fmt"
	"regexp"
	"strings"
)

// sites are the hosts of web sites and APIs that people mistake for a registry, with the endpoint to enter instead. In
// it, %s is replaced by the first part of the path. The field without is the endpoint for an empty path.
var sites = map[string]struct{ what, want, without string }{
	"github.com":     {"GitHub's web site", "ghcr.io/%s", "ghcr.io/ORGANIZATION"},
	"www.github.com": {"GitHub's web site", "ghcr.io/%s", "ghcr.io/ORGANIZATION"},
	"api.github.com": {"GitHub's API", "", "ghcr.io/ORGANIZATION"},
	"gitlab.com":     {"GitLab's web site", "registry.gitlab.com/%s", "registry.gitlab.com/GROUP"},
	"gallery.ecr.aws": {
		"the web site of ECR Public", "public.ecr.aws/%s", "public.ecr.aws/ALIAS"},
	"console.aws.amazon.com":   {"a console of AWS", "", "ACCOUNT.dkr.ecr.REGION.amazonaws.com"},
	"console.cloud.google.com": {"Google's console", "", "LOCATION-docker.pkg.dev/PROJECT/REPOSITORY"},
	"portal.azure.com":         {"Azure's portal", "", "NAME.azurecr.io"},
	"cloud.digitalocean.com":   {"DigitalOcean's console", "", "registry.digitalocean.com/NAME"},
	"cloud.ibm.com":            {"IBM's console", "", "REGION.icr.io/NAMESPACE"},
	"catalog.redhat.com":       {"Red Hat's catalog", "", "registry.redhat.io"},
	"access.redhat.com":        {"Red Hat's portal", "", "registry.redhat.io"},
	"catalog.ngc.nvidia.com":   {"NVIDIA's catalog", "", "nvcr.io/ORGANIZATION"},
	"ngc.nvidia.com":           {"NVIDIA's catalog", "", "nvcr.io/ORGANIZATION"},
}

// site describes the host and the endpoint to write instead, or returns "" if the host is not one of the sites.
func site(host, path string) string {
	host = strings.ToLower(host)
	if strings.HasSuffix(host, ".console.aws.amazon.com") {
		host = "console.aws.amazon.com"
	}
	s, ok := sites[host]
	if !ok {
		return ""
	}
	want := s.without
	if first, _, _ := strings.Cut(strings.Trim(path, "/"), "/"); s.want != "" && checkRepository(strings.ToLower(first)) == nil {
		want = fmt.Sprintf(s.want, strings.ToLower(first))
	}
	return "is " + s.what + ", which is no registry: write " + want
}

// vpcEndpoint matches the names of the interface endpoints of a VPC:
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html.
var vpcEndpoint = regexp.MustCompile(`^vpce-[a-z0-9-]+\.(dkr|api)\.ecr\.([a-z0-9-]+)\.vpce\.(amazonaws\.com(\.cn)?)$`)

// vpcRegistry reports whether the host is one of ECR's names for an interface endpoint of a VPC. It returns the name of
// the registry, with ACCOUNT in place of the number. No image can be pulled by the endpoint's own name, because the
// certificate is for the registry's name, which private DNS resolves within the VPC.
func vpcRegistry(host string) (registry string, ok bool) {
	m := vpcEndpoint.FindStringSubmatch(host)
	if m == nil {
		return "", false
	}
	return "ACCOUNT.dkr.ecr." + m[2] + "." + m[3], true
}

// pages are paths of web consoles and APIs that people copy from the address bar. The path of an endpoint is a prefix
// of repository names, and these paths are unlikely prefixes. They cause only warnings, because a repository could have
// such a name. In the endpoint to enter, $ is replaced by the group of the expression,
// and HOST by the host.
var pages = []struct {
	path *regexp.Regexp
	what string
	want string
}{
	{regexp.MustCompile(`^(?:organization|repository|user)/(.+)$`), "Quay's web console", "quay.io/$"},
	{regexp.MustCompile(`^harbor/(?:projects|sign-in|users|registries|logs)(?:/|$)`), "Harbor's web console", "HOST, or HOST/PROJECT for one project"},
	{regexp.MustCompile(`^api/v[0-9.]+(?:/|$)`), "an API", "HOST"},
	{regexp.MustCompile(`^artifactory/api/docker/([^/]+)`), "Artifactory's API", "HOST/$, or $.HOST, as in the names of images"},
	{regexp.MustCompile(`^(?:artifactory/webapp|ui/(?:repos|native|packages))(?:/|$)`), "Artifactory's web console", "HOST/REPOSITORY, or REPOSITORY.HOST, as in the names of images"},
	{regexp.MustCompile(`^(?:nexus/)?repository/([^/]+)$`), "Nexus's web server",
		"the host and port of the repository's Docker connector, or HOST/$ if Nexus routes by path"},
	{regexp.MustCompile(`^(?:admin/)?(?:dashboard|explore)(?:/|$)`), "a web console", "HOST"},
}

// page returns a warning if the endpoint looks like the address of a web page or an API, or "" if it does not.
func (e Endpoint) page() string {
	for _, p := range pages {
		m := p.path.FindStringSubmatch(e.Path)
		if m == nil || strings.HasPrefix(p.want, "quay.io") != (e.Host == "quay.io") {
			continue
		}
		want := strings.ReplaceAll(p.want, "HOST", e.Host)
		if len(m) > 1 {
			want = strings.ReplaceAll(want, "$", m[1])
		}
		return fmt.Sprintf("%s looks like the address of %s, and no image is named like that: the endpoint is %s", e, p.what, want)
	}
	return ""
}
