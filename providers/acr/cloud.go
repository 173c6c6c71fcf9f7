package acr

import (
	"regexp"
	"strings"

	"github.com/regcred/regcred/providers/internal/subject"
)

// An azure describes one of Azure's clouds. The zero azure is no cloud.
type azure struct {
	// suffix is the end of the names of the cloud's registries.
	suffix string
	// authority is the host of the cloud's Entra ID.
	authority string
	// management is the audience of Azure Resource Manager, which registries accept unless it is switched off.
	management string
	// audience is the audience of tokens from other issuers. Each cloud has its own; Entra rejects any other with
	// AADSTS700212.
	audience string
}

// clouds are all clouds. The authorities and audiences are from azcore cloud.go and azcontainerregistry
// cloud_config.go of Azure's SDK for Go; the audiences of federation are from
// learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations.
var clouds = []azure{
	{"azurecr.io", "login.microsoftonline.com", "https://management.core.windows.net/", subject.AudienceAzure},
	{"azurecr.us", "login.microsoftonline.us", "https://management.core.usgovcloudapi.net/", subject.AudienceAzure + "USGov"},
	{"azurecr.cn", "login.chinacloudapi.cn", "https://management.core.chinacloudapi.cn/", subject.AudienceAzure + "China"},
}

// registryAudience is the audience of registries in every cloud. A registry may reject the audience of Resource
// Manager: learn.microsoft.com/azure/container-registry/container-registry-disable-authentication-as-arm.
const registryAudience = "https://containerregistry.azure.net/"

// registryName matches the name of a registry without the cloud's suffix: letters, digits and, with a domain name
// label, a hyphen. A regional login server also has its region and "geo":
// learn.microsoft.com/azure/container-registry/container-registry-get-started-portal.
var registryName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]+\.geo)?$`)

// cloudOf returns the cloud of the registry at the host, or the zero azure if the host is not a registry of ACR.
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
