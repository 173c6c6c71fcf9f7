package registry_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
)

// Names of real registries, one of each form and partition: https://docs.aws.amazon.com/general/latest/gr/ecr.html,
// https://cloud.google.com/artifact-registry/docs/repositories/repo-locations.
var hostsOfKind = map[registry.Kind][]string{
	registry.ECR: {
		"123456789012.dkr.ecr.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr.ap-southeast-7.amazonaws.com",
		"123456789012.dkr.ecr.mx-central-1.amazonaws.com",
		"123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
		"123456789012.dkr.ecr-fips.us-gov-east-1.amazonaws.com",
		"123456789012.dkr.ecr-fips.us-west-2.amazonaws.com",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
		"123456789012.dkr.ecr.cn-northwest-1.amazonaws.com.cn",
		"123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov",
		"123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
		"123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
		"123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
		"123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
		"123456789012.dkr-ecr.eu-west-1.on.aws",
		"123456789012.dkr-ecr-fips.us-east-2.on.aws",
		"123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
		"123456789012.DKR.ECR.EU-WEST-1.AmazonAWS.com",
		"public.ecr.aws",
		"ecr-public.aws.com",
	},
	registry.GCR: {
		"gcr.io", "us.gcr.io", "eu.gcr.io", "asia.gcr.io", "marketplace.gcr.io", "mirror.gcr.io", "GCR.io",
		"us-docker.pkg.dev", "europe-docker.pkg.dev", "asia-docker.pkg.dev", "us-central1-docker.pkg.dev", "northamerica-northeast1-docker.pkg.dev",
		"docker.me-central2.rep.pkg.dev",
	},
	registry.DockerHub: {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com", "Docker.io"},
	// Other hosts, and look-alikes: hosts that other parties can own, or that do not exist.
	registry.Custom: {
		"", "ghcr.io", "quay.io", "mcr.microsoft.com", "mcr.azure.cn", "azurecr.io", "registry.gitlab.com", "localhost:5000", "[::1]:5000", "10.0.0.1",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.example.com",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.evil",
		"123456789012.dkr.ecr.us-east-1.amazonaws.comx",
		"x123456789012.dkr.ecr.us-east-1.amazonaws.com",
		"evil.123456789012.dkr.ecr.us-east-1.amazonaws.com",
		"12345678901.dkr.ecr.us-east-1.amazonaws.com",
		"12345678901234.dkr.ecr.us-east-1.amazonaws.com",
		"12345678901a.dkr.ecr.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr.s3.amazonaws.com",
		"123456789012.dkr.ecr.evil.amazonaws.com",
		"123456789012.dkr.ecr.us-east.amazonaws.com",
		"123456789012.dkr.ecr.us-east-1.evil.amazonaws.com",
		"123456789012.dkr.ecr..amazonaws.com",
		"123456789012.dkr.ecr.us-east-1.amazonawsxcom",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.cn.evil",
		"123456789012.dkrxecr.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr-fipsx.us-east-1.amazonaws.com",
		"123456789012.dkr-ecr.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr.us-east-1.on.aws",
		"123456789012.ecr.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr.us-east-1.amazonaws.co",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com:443",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com/app",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com\n",
		"123456789012.d\u212ar.ecr.us-east-1.amazonaws.com", // The Kelvin sign, which is a k in lower case.
		"https://123456789012.dkr.ecr.us-east-1.amazonaws.com",
		"api.ecr.us-east-1.amazonaws.com", "dkr.ecr.us-east-1.amazonaws.com", "amazonaws.com",
		"public.ecr.aws.example.com", "xpublic.ecr.aws", "a.public.ecr.aws", "publicxecr.aws", "ecr-public.aws.com.evil", "public.ecr.aws:443",
		"gcr.io.example.com", "mygcr.io", "gcrxio", "gcr.io:443", "gcr.iox", "a.b.gcr.io", "gcr.example.com", "gcr.com",
		"docker.pkg.dev", "pkg.dev", "us-docker.pkg.dev.evil", "us-dockerxpkg.dev", "us-docker.pkgxdev", "us.docker.pkg.dev", "evil.us-docker.pkg.dev",
		"--docker.pkg.dev", "-.gcr.io", "us-npm.pkg.dev", "us-docker.pkg.device", "docker.rep.pkg.dev", "docker.a.b.rep.pkg.dev", "npm.us.rep.pkg.dev", "docker.us.rep.pkg.dev.evil",
		"docker.io.example.com", "mydocker.io", "a.docker.io", "dockerxio", "docker.io:443", "docker.com", "www.docker.com", "hub.docker.com.evil",
		"registry-2.docker.io", "auth.docker.io", "doc\u212aer.io",
	},
}

func TestKindOf(t *testing.T) {
	for want, hosts := range hostsOfKind {
		for _, host := range hosts {
			require.Equal(t, want, registry.KindOf(host), "%q", host)
		}
	}
}

func FuzzKindOf(f *testing.F) {
	for _, hosts := range hostsOfKind {
		for _, host := range hosts {
			f.Add(host)
		}
	}
	owned := []string{ // Only the cloud can create names below these.
		".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".on.aws", ".on.amazonwebservices.com.cn", ".sc2s.sgov.gov", ".c2s.ic.gov", ".cloud.adc-e.uk",
		".csp.hci.ic.gov", "public.ecr.aws", "ecr-public.aws.com", "gcr.io", ".pkg.dev", ".azurecr.io", ".azurecr.us", ".azurecr.cn", "docker.io", "hub.docker.com",
	}
	f.Fuzz(func(t *testing.T, host string) {
		if registry.KindOf(host) == registry.Custom {
			return
		}
		e, err := registry.ParseEndpoint(host)
		require.NoError(t, err, "a cloud's name is a host")
		for _, suffix := range owned {
			if strings.HasSuffix(strings.ToLower(host), suffix) {
				return
			}
		}
		t.Errorf("%q (%s) is taken for one of a cloud", host, e)
	})
}
