package registry

import "regexp"

// A Kind is a kind of registry. It selects the provider that serves a profile. Programs may add their own kinds.
type Kind string

// The kinds for which this module has providers.
const (
	// DockerHub is Docker Hub, for public and private images.
	DockerHub Kind = "dockerhub"
	// ECR is AWS ECR, and ECR Public.
	ECR Kind = "ecr"
	// GCR is Google Artifact Registry, and its predecessor Container Registry.
	GCR Kind = "gcr"
	// ACR is Azure Container Registry.
	ACR Kind = "acr"
	// System is the integrated registry of a platform.
	System Kind = "system"
	// Custom is any other registry that a Docker client can use: Quay, Nexus, Artifactory, MCR, Harbor, GHCR, GitLab,
	// and the like.
	Custom Kind = "custom"
)

// kinds lists all of them, in the order in which errors name them.
var kinds = []Kind{DockerHub, ECR, GCR, ACR, System, Custom}

// ecrHost matches ECR's names for IPv4 and for both protocols, under the suffixes of AWS's partitions:
// https://docs.aws.amazon.com/general/latest/gr/ecr.html. The pattern of the region is as strict as possible, because
// 123456789012.dkr.ecr.s3.amazonaws.com is a bucket that anyone can create. An account has 12 digits; 13 are accepted
// because AWS's documentation has had such an example, and [Profile.Warnings] reports them. Package ecr parses the
// names that match.
var ecrHost = regexp.MustCompile(`^[0-9]{12,13}\.(` +
	`dkr\.ecr(-fips)?\.` + awsRegion +
	`\.(amazonaws\.(com(\.cn)?|eu)|sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)|` +
	`dkr-ecr(-fips)?\.` + awsRegion + `\.on\.(aws|amazonwebservices\.com\.cn))$`)

const awsRegion = `[a-z]{2,4}(-[a-z]+)+-[0-9]+`

var googleHost = regexp.MustCompile(
	`^(([a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev|docker\.[a-z0-9-]+\.rep\.pkg\.dev)$`)

// azureHost matches the clouds of Azure: public, US government, China. Package acr parses the names.
var azureHost = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9]+\.geo)?\.azurecr\.(io|us|cn)$`)

// KindOf guesses the kind of registry from the host name, and returns Custom if the name matches no cloud's. It is
// meant for forms that suggest a kind: the Kind of a profile is never guessed. A host with a port is never a cloud's
// registry.
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
