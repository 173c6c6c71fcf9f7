package ecr

import (
	"fmt"
	"strings"

	"github.com/regcred/regcred/registry"
)

// A Host is the parsed host name of an ECR registry. It is comparable; the zero Host is no registry.
type Host struct {
	// Account is the AWS account that owns the registry. Empty for ECR Public.
	Account string
	// Region is the AWS region: "eu-central-1". For ECR Public it is the region that issues its tokens.
	Region string
	// Partition is the AWS partition of the region, as in ARNs: "aws", "aws-cn", "aws-us-gov".
	Partition string

	// Public reports whether the host is ECR Public.
	Public bool
	// FIPS reports whether the endpoint uses FIPS 140 validated cryptography.
	FIPS bool
	// DualStack reports whether the endpoint is reachable over IPv4 and IPv6.
	DualStack bool
}

// ParseHost parses the host name of an ECR registry in its canonical spelling, as [registry.ParseEndpoint] returns it.
// It rejects everything else, in particular look-alikes: a name with a port, in upper case or with a trailing dot, a
// name under another domain, and a name whose region does not belong to its domain.
func ParseHost(host string) (Host, error) {
	switch host {
	case "public.ecr.aws":
		return Host{Public: true, Region: publicRegion, Partition: "aws"}, nil
	case "ecr-public.aws.com":
		return Host{Public: true, Region: publicRegion, Partition: "aws", DualStack: true}, nil
	}
	if registry.KindOf(host) != registry.ECR || strings.ToLower(host) != host {
		return Host{}, fmt.Errorf("%q is not a registry of ECR", host)
	}
	// The remaining form is ACCOUNT.dkr.ecr[-fips].REGION.SUFFIX, or with dkr-ecr.
	var h Host
	var rest, service, suffix string
	h.Account, rest, _ = strings.Cut(host, ".")
	rest, h.DualStack = strings.CutPrefix(rest, "dkr-")
	rest = strings.TrimPrefix(rest, "dkr.")
	service, rest, _ = strings.Cut(rest, ".")
	h.FIPS = service == "ecr-fips"
	h.Region, suffix, _ = strings.Cut(rest, ".")

	p := partitionOf(h.Region)
	want := p.suffix
	if h.DualStack {
		want = p.dualStack
	}
	if suffix != want {
		return Host{}, fmt.Errorf("%q is not a registry of ECR: those in %s do not end in %s", host, h.Region, suffix)
	}
	h.Partition = p.name
	return h, nil
}

// publicRegion is the region of the API of ECR Public: https://docs.aws.amazon.com/general/latest/gr/ecr-public.html.
const publicRegion = "us-east-1"

// A partition is a part of AWS with its own accounts, regions and domains.
type partition struct {
	name string
	// suffix and dualStack are the ends of its registries' names. If dualStack is empty, no dual-stack name is known.
	suffix, dualStack string
}

// partitionOf returns the partition of the region, because two partitions share a suffix. The regions are from AWS's
// partitions.json. An unknown region belongs to the largest partition, as in AWS's own clients.
func partitionOf(region string) partition {
	switch part := strings.SplitN(region, "-", 3); part[0] + "-" + part[1] {
	case "us-gov":
		return partition{"aws-us-gov", "amazonaws.com", "on.aws"}
	case "us-iso":
		return partition{"aws-iso", "c2s.ic.gov", ""}
	case "us-isob":
		return partition{"aws-iso-b", "sc2s.sgov.gov", ""}
	case "eu-isoe":
		return partition{"aws-iso-e", "cloud.adc-e.uk", ""}
	case "us-isof":
		return partition{"aws-iso-f", "csp.hci.ic.gov", ""}
	case "eusc-de":
		return partition{"aws-eusc", "amazonaws.eu", ""}
	default:
		if part[0] == "cn" {
			return partition{"aws-cn", "amazonaws.com.cn", "on.amazonwebservices.com.cn"}
		}
		return partition{"aws", "amazonaws.com", "on.aws"}
	}
}
