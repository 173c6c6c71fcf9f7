// Package vendors lists the registries that a form can offer: their names, kinds, endpoints, logins, and the guides of
// this module. It is only data: no code requires that a vendor is in the list.
package vendors

import "github.com/regcred/regcred/registry"

// A Vendor is a registry service, or a product that runs a registry.
type Vendor struct {
	// ID identifies the vendor, and never changes: "harbor".
	ID string `json:"id"`
	// Name is the display name: "Harbor".
	Name string `json:"name"`
	// Kind is the kind of the vendor's profiles.
	Kind registry.Kind `json:"kind"`
	// Endpoint is the endpoint of a registry that has the same one for all users. Empty means that the user enters it.
	Endpoint string `json:"endpoint,omitempty"`
	// Format is the form of the endpoint to enter, with the variable parts in capitals: "HOST/PROJECT". Parts in brackets
	// are optional.
	Format string `json:"format"`
	// Example is an example of an endpoint.
	Example string `json:"example"`
	// Logins are the ways to log in, the recommended one first.
	Logins []Login `json:"logins"`
	// Anonymous reports whether the registry has public images that need no login.
	Anonymous bool `json:"anonymous,omitempty"`
	// Guide is the URL of the guide, which describes how to create the login in the vendor's console.
	Guide string `json:"guide"`
}

// A Login is one way to log in.
type Login struct {
	// Name is the vendor's own term: "Robot account".
	Name string `json:"name"`
	// Fields are the paths of the profile's fields that are required.
	Fields []string `json:"fields"`
}

const guides = "https://github.com/regcred/regcred/blob/main/docs/"

func basic(name string) Login {
	return Login{Name: name, Fields: []string{"login.username", "login.password"}}
}

var (
	noLogin       = Login{Name: "Without a login", Fields: []string{"login.anonymous"}}
	ambient       = Login{Name: "Identity of this program", Fields: []string{"login.ambient"}}
	awsKey        = Login{Name: "Access key", Fields: []string{"login.aws.accessKeyID", "login.aws.secretAccessKey"}}
	awsRole       = Login{Name: "Role", Fields: []string{"login.aws.roles"}}
	webRole       = Login{Name: "Web identity", Fields: []string{"login.aws.webIdentity.roleARN"}}
	azureWorkload = Login{Name: "Workload identity", Fields: []string{"login.azure.tenantID", "login.azure.clientID", "login.azure.subject"}}
	azureSecret   = Login{Name: "Client secret", Fields: []string{"login.azure.tenantID", "login.azure.clientID", "login.azure.clientSecret"}}
	google        = Login{Name: "Service-account key or external account", Fields: []string{"login.google.credentials"}}
)

// All returns the vendors in an order for a form: the platform's own registry, clouds, hosted registries, self-hosted
// ones, any other. The caller owns the list.
func All() []Vendor {
	return []Vendor{
		{
			ID: "system", Name: "System registry", Kind: registry.System, Format: "HOST[:PORT][/PATH]", Example: "registry.example.com/team",
			Logins: []Login{basic("Account"), {Name: "Key", Fields: []string{"login.fields.key"}}}, Guide: guides + "system.md",
		},
		{
			ID: "dockerhub", Name: "Docker Hub", Kind: registry.DockerHub, Endpoint: "docker.io", Format: "docker.io[/ORGANIZATION]", Example: "docker.io/acme",
			Logins: []Login{basic("Access token")}, Anonymous: true, Guide: guides + "dockerhub.md",
		},
		{
			ID: "ecr", Name: "Amazon ECR", Kind: registry.ECR, Format: "ACCOUNT.dkr.ecr.REGION.amazonaws.com[/PATH]",
			Example: "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
			Logins:  []Login{ambient, awsRole, webRole, awsKey}, Guide: guides + "ecr.md",
		},
		{
			ID: "ecr-public", Name: "Amazon ECR Public", Kind: registry.ECR, Endpoint: "public.ecr.aws", Format: "public.ecr.aws[/ALIAS]", Example: "public.ecr.aws/acme",
			Logins: []Login{noLogin, ambient, awsKey}, Anonymous: true, Guide: guides + "ecr.md",
		},
		{
			ID: "artifact-registry", Name: "Google Artifact Registry", Kind: registry.GCR, Format: "LOCATION-docker.pkg.dev/PROJECT[/REPOSITORY]",
			Example: "europe-docker.pkg.dev/acme/shop", Logins: []Login{ambient, google}, Anonymous: true, Guide: guides + "gcr.md",
		},
		{
			ID: "gcr", Name: "Google Container Registry", Kind: registry.GCR, Format: "[LOCATION.]gcr.io/PROJECT", Example: "eu.gcr.io/acme",
			Logins: []Login{ambient, google}, Anonymous: true, Guide: guides + "gcr.md",
		},
		{
			ID: "acr", Name: "Azure Container Registry", Kind: registry.ACR, Format: "NAME.azurecr.io[/PATH]", Example: "acme.azurecr.io",
			Logins: []Login{azureWorkload, ambient, azureSecret, basic("Token of the registry")}, Guide: guides + "acr.md",
		},
		{
			ID: "ghcr", Name: "GitHub Container Registry", Kind: registry.Custom, Endpoint: "ghcr.io", Format: "ghcr.io/OWNER", Example: "ghcr.io/acme",
			Logins: []Login{basic("Personal access token (classic)")}, Anonymous: true, Guide: guides + "custom.md#github-ghcr",
		},
		{
			ID: "gitlab", Name: "GitLab", Kind: registry.Custom, Format: "HOST/GROUP[/PROJECT]", Example: "registry.gitlab.com/acme",
			Logins: []Login{basic("Deploy token"), basic("Access token")}, Anonymous: true, Guide: guides + "custom.md#gitlab",
		},
		{
			ID: "quay", Name: "Quay", Kind: registry.Custom, Endpoint: "quay.io", Format: "quay.io/ORGANIZATION", Example: "quay.io/acme",
			Logins: []Login{basic("Robot account")}, Anonymous: true, Guide: guides + "custom.md#quay",
		},
		{
			ID: "mcr", Name: "Microsoft Artifact Registry", Kind: registry.Custom, Endpoint: "mcr.microsoft.com", Format: "mcr.microsoft.com[/PATH]",
			Example: "mcr.microsoft.com", Logins: []Login{noLogin}, Anonymous: true, Guide: guides + "custom.md#microsoft-mcr",
		},
		{
			ID: "harbor", Name: "Harbor", Kind: registry.Custom, Format: "HOST[:PORT]/PROJECT", Example: "harbor.example.com/team",
			Logins: []Login{basic("Robot account"), basic("User with CLI secret")}, Anonymous: true, Guide: guides + "custom.md#harbor",
		},
		{
			ID: "gitea", Name: "Gitea or Forgejo", Kind: registry.Custom, Format: "HOST[:PORT][/OWNER]", Example: "git.example.com/team",
			Logins: []Login{basic("Access token")}, Anonymous: true, Guide: guides + "custom.md#gitea-and-forgejo",
		},
		{
			ID: "artifactory", Name: "JFrog Artifactory", Kind: registry.Custom, Format: "HOST/REPOSITORY, REPOSITORY.HOST or HOST:PORT", Example: "acme.jfrog.io/docker-local",
			Logins: []Login{basic("Identity token"), basic("Access token")}, Anonymous: true, Guide: guides + "custom.md#jfrog-artifactory",
		},
		{
			ID: "nexus", Name: "Sonatype Nexus", Kind: registry.Custom, Format: "HOST:PORT or HOST/REPOSITORY", Example: "nexus.example.com:8443",
			Logins: []Login{basic("User token"), basic("User")}, Anonymous: true, Guide: guides + "custom.md#sonatype-nexus",
		},
		{
			ID: "other", Name: "Other registry", Kind: registry.Custom, Format: "HOST[:PORT][/PATH]", Example: "registry.example.com:5000",
			Logins: []Login{basic("User name and password or token")}, Anonymous: true, Guide: guides + "custom.md#any-other",
		},
	}
}
