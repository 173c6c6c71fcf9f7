package acr

import (
	"regexp"
	"strings"

	"github.com/regcred/regcred/providers/internal/subject"
)

// An azure is one of Azure's clouds. The zero azure is none.
type azure struct {
	// suffix ends the names of its registries.
	suffix string
	// authority is the host of its Entra ID.
	authority string
	// management is the audience of Azure Resource Manager, which registries accept unless it is switched off.
	management string
	// audience is that of tokens of other issuers. Each cloud has its own; the wrong one is AADSTS700212.
	audience string
}

// The authorities and audiences: azcore cloud.go and azcontainerregistry cloud_config.go of Azure's SDK for Go;
// learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations for those of federation.
var clouds = []azure{
	{"azurecr.io", "login.microsoftonline.com", "https://management.core.windows.net/", subject.AudienceAzure},
	{"azurecr.us", "login.microsoftonline.us", "https://management.core.usgovcloudapi.net/", subject.AudienceAzure + "USGov"},
	{"azurecr.cn", "login.chinacloudapi.cn", "https://management.core.chinacloudapi.cn/", subject.AudienceAzure + "China"},
}

// registryAudience is the audience of registries in every cloud. A registry may reject the one of Resource Manager:
// learn.microsoft.com/azure/container-registry/container-registry-disable-authentication-as-arm.
const registryAudience = "https://containerregistry.azure.net/"

// A registry's name has letters, digits and, with a domain name label, a hyphen; regional login servers have the region
// and "geo": learn.microsoft.com/azure/container-registry/container-registry-get-started-portal.
var registryName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]+\.geo)?$`)

// cloudOf returns the cloud of the registry, by its name.
func cloudOf(host string) azure {
	for _, c := range clouds {
		if name, ok := strings.CutSuffix(host, "."+c.suffix); ok && registryName.MatchString(name) {
			return c
		}
	}
	return azure{}
}

func (c azure) destination() subject.Destination {
	return subject.Destination{Host: c.authority, Audience: c.audience, Fixed: true}
}
