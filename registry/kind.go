package registry

import "regexp"

// A Kind is a kind of registry: which provider serves a profile. Programs may add kinds of their own.
type Kind string

// The kinds that this module has providers for.
const (
	// DockerHub is Docker Hub, for public and private images.
	DockerHub Kind = "dockerhub"
	// ECR is AWS ECR, and ECR Public.
	ECR Kind = "ecr"
	// GCR is Google Artifact Registry, and Container Registry before it.
	GCR Kind = "gcr"
	// ACR is Azure Container Registry.
	ACR Kind = "acr"
	// System is the integrated registry of a platform.
	System Kind = "system"
	// Custom is any other registry that a Docker client can use: Quay, Nexus, Artifactory, MCR, Harbor, GHCR, GitLab,
	// and the like.
	Custom Kind = "custom"
)

// One name of ECR for IPv4 and one for both protocols, under the suffixes of AWS's partitions:
// https://docs.aws.amazon.com/general/latest/gr/ecr.html. The region is spelled out as far as its form goes, for
// 123456789012.dkr.ecr.s3.amazonaws.com is a bucket that anybody can own. An account has 12 digits; AWS's documentation
// was seen with 13, and [Profile.Warnings] speaks of it. Package ecr takes the names apart that match here.
var ecrHost = regexp.MustCompile(`^[0-9]{12,13}\.(` +
	`dkr\.ecr(-fips)?\.` + awsRegion +
	`\.(amazonaws\.(com(\.cn)?|eu)|sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)|` +
	`dkr-ecr(-fips)?\.` + awsRegion + `\.on\.(aws|amazonwebservices\.com\.cn))$`)

const awsRegion = `[a-z]{2,4}(-[a-z]+)+-[0-9]+`

var googleHost = regexp.MustCompile(
	`^(([a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev|docker\.[a-z0-9-]+\.rep\.pkg\.dev)$`)

// The clouds of Azure: public, US government, China. Package acr knows the forms of names.
var azureHost = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9]+\.geo)?\.azurecr\.(io|us|cn)$`)

// KindOf returns the kind of the registry at host, as far as the name tells: Custom if it tells nothing. It is a
// convenience for forms; a profile says its kind. A host with a port is never that of a cloud.
func KindOf(host string) Kind {
	host, err := cleanName(host)
	switch {
	case err != nil:
		return Custom
	case isDockerHubAlias(host):
		return DockerHub
	case ecrHost.MatchString(host), host == "public.ecr.aws", host == "ecr-public.aws.com":
		return ECR
	case googleHost.MatchString(host):
		return GCR
	case azureHost.MatchString(host):
		return ACR
	}
	return Custom
}
