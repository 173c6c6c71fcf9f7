package ecr_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/registry"
)

func TestParseHost(t *testing.T) {
	const account = "123456789012"
	tests := map[string]ecr.Host{
		"123456789012.dkr.ecr.us-east-1.amazonaws.com":                    {Account: account, Region: "us-east-1", Partition: "aws"},
		"123456789012.dkr.ecr.ap-southeast-5.amazonaws.com":               {Account: account, Region: "ap-southeast-5", Partition: "aws"},
		"123456789012.dkr.ecr.me-south-1.amazonaws.com":                   {Account: account, Region: "me-south-1", Partition: "aws"},
		"123456789012.dkr.ecr.mx-central-1.amazonaws.com":                 {Account: account, Region: "mx-central-1", Partition: "aws"},
		"123456789012.dkr.ecr-fips.us-west-2.amazonaws.com":               {Account: account, Region: "us-west-2", Partition: "aws", FIPS: true},
		"123456789012.dkr-ecr.eu-central-1.on.aws":                        {Account: account, Region: "eu-central-1", Partition: "aws", DualStack: true},
		"123456789012.dkr-ecr-fips.us-east-2.on.aws":                      {Account: account, Region: "us-east-2", Partition: "aws", FIPS: true, DualStack: true},
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":                {Account: account, Region: "cn-north-1", Partition: "aws-cn"},
		"123456789012.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn": {Account: account, Region: "cn-northwest-1", Partition: "aws-cn", DualStack: true},
		"123456789012.dkr.ecr.us-gov-west-1.amazonaws.com":                {Account: account, Region: "us-gov-west-1", Partition: "aws-us-gov"},
		"123456789012.dkr.ecr-fips.us-gov-east-1.amazonaws.com":           {Account: account, Region: "us-gov-east-1", Partition: "aws-us-gov", FIPS: true},
		"123456789012.dkr-ecr-fips.us-gov-west-1.on.aws":                  {Account: account, Region: "us-gov-west-1", Partition: "aws-us-gov", FIPS: true, DualStack: true},
		"123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov":                   {Account: account, Region: "us-iso-east-1", Partition: "aws-iso"},
		"123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov":               {Account: account, Region: "us-isob-east-1", Partition: "aws-iso-b"},
		"123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk":              {Account: account, Region: "eu-isoe-west-1", Partition: "aws-iso-e"},
		"123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov":             {Account: account, Region: "us-isof-south-1", Partition: "aws-iso-f"},
		"123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu":                {Account: account, Region: "eusc-de-east-1", Partition: "aws-eusc"},
		"6391436758854.dkr.ecr.us-west-1.amazonaws.com":                   {Account: "6391436758854", Region: "us-west-1", Partition: "aws"},
		"public.ecr.aws":     {Public: true, Region: "us-east-1", Partition: "aws"},
		"ecr-public.aws.com": {Public: true, Region: "us-east-1", Partition: "aws", DualStack: true},
	}
	for host, want := range tests {
		t.Run(host, func(t *testing.T) {
			got, err := ecr.ParseHost(host)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, registry.ECR, registry.KindOf(host), "forms must know the host too")
		})
	}
}

// lookAlikes are names that are not registries of ECR, although some resolve to AWS and some to their author.
func lookAlikes() []string {
	return []string{
		// Under another domain.
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example",
		"123456789012.dkr.ecr.us-east-1.amazonaws.comx",
		"123456789012.dkr.ecr.us-east-1.amazonaws.co",
		"123456789012.dkr.ecr.us-east-1.amazonaws.net",
		"123456789012.dkr.ecr.us-east-1.xamazonaws.com",
		"123456789012.dkr.ecr.us-east-1.amazonaws-com.example",
		"123456789012.dkr.ecr.us-east-1.amazonawsxcom",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com-evil.example",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.c",
		"123456789012.dkr.ecr.us-east-1.on.aws.evil.example",
		"123456789012.dkr-ecr.us-east-1.on-aws.example",
		"123456789012.dkr-ecr.us-east-1.xon.aws",
		"123456789012.dkr.ecr.us-east-1",
		// A bucket or another service where anyone can register a name.
		"123456789012.dkr.ecr.s3.amazonaws.com",
		"123456789012.dkr.ecr.s3-us-west-2.amazonaws.com",
		"123456789012.dkr.ecr.s3.us-west-2.amazonaws.com",
		"123456789012.dkr.ecr.s3-website-us-east-1.amazonaws.com",
		"123456789012.dkr.ecr.s3-accelerate.amazonaws.com",
		"123456789012.dkr.ecr.us-east-1.elb.amazonaws.com",
		"123456789012.dkr.ecr.us-east-1.compute.amazonaws.com",
		"123456789012.dkr.ecr.elb.amazonaws.com",
		"123456789012.dkr.ecr.lambda-url.us-east-1.on.aws",
		// Something before the name.
		"evil.123456789012.dkr.ecr.us-east-1.amazonaws.com",
		"x123456789012.dkr.ecr.us-east-1.amazonaws.com",
		"evil.example/123456789012.dkr.ecr.us-east-1.amazonaws.com",
		"user@123456789012.dkr.ecr.us-east-1.amazonaws.com",
		"user:pass@123456789012.dkr.ecr.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com@evil.example",
		" 123456789012.dkr.ecr.us-east-1.amazonaws.com",
		"https://123456789012.dkr.ecr.us-east-1.amazonaws.com",
		// A port, a dot, a path, a query, line ends, upper case, other letters.
		"123456789012.dkr.ecr.us-east-1.amazonaws.com:443",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com:5000",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com/",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com#.evil.example",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com?.evil.example",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com\n",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com\x00",
		"123456789012.DKR.ECR.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr.US-EAST-1.AMAZONAWS.COM",
		"123456789012.d\u212ar.ecr.us-east-1.amazonaws.com", // The Kelvin sign.
		"123456789012.dkr.ecr.us-east-1.amazonaws\u3002com", // An ideographic full stop.
		"123456789012.dkr.ecr.us-e\u0430st-1.amazonaws.com", // A Cyrillic a.
		"\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669\u0660\u0661\u0662.dkr.ecr.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr.xn--us-est-1-5fg.amazonaws.com",
		"PUBLIC.ECR.AWS",
		"public.ecr.aws:443",
		"public.ecr.aws.",
		"public.ecr.aws.evil.example",
		"xpublic.ecr.aws",
		"public-ecr.aws",
		"private.ecr.aws",
		"ecr-public.aws.com.evil.example",
		"ecr-public.us-east-1.aws.com",
		"ecr.aws",
		// Not an account, not the service, not a region.
		"12345678901.dkr.ecr.us-east-1.amazonaws.com",
		"12345678901234.dkr.ecr.us-east-1.amazonaws.com",
		"12345678901x.dkr.ecr.us-east-1.amazonaws.com",
		".dkr.ecr.us-east-1.amazonaws.com",
		"123456789012.dkr.ecs.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr-fip.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr-fips-fips.us-east-1.amazonaws.com",
		"123456789012.dkrxecr.us-east-1.amazonaws.com",
		"123456789012-dkr-ecr.us-east-1.on.aws",
		"123456789012.dkr.ecr..amazonaws.com",
		"123456789012.dkr.ecr.us-east-.amazonaws.com",
		"123456789012.dkr.ecr.-us-east-1.amazonaws.com",
		"123456789012.dkr.ecr.us_east_1.amazonaws.com",
		"api.ecr.us-east-1.amazonaws.com",
		// The region of another partition, or the suffix of another kind of endpoint.
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.cn",
		"123456789012.dkr.ecr.us-iso-east-1.amazonaws.com",
		"123456789012.dkr.ecr.us-iso-east-1.sc2s.sgov.gov",
		"123456789012.dkr.ecr.eusc-de-east-1.amazonaws.com",
		"123456789012.dkr.ecr.us-east-1.amazonaws.eu",
		"123456789012.dkr.ecr.us-east-1.on.aws",
		"123456789012.dkr-ecr.us-east-1.amazonaws.com",
		"123456789012.dkr-ecr.cn-north-1.on.aws",
		"123456789012.dkr-ecr.eusc-de-east-1.on.aws",
		"localhost", "", ".",
	}
}

func TestLookAlikesAreRefused(t *testing.T) {
	hosts := lookAlikes()
	require.Greater(t, len(hosts), 50)
	cloud := &ecrtest.AWS{Users: []ecrtest.User{ci()}}
	n := attach(t, cloud)
	for _, host := range hosts {
		t.Run(host, func(t *testing.T) {
			_, err := ecr.ParseHost(host)
			require.Error(t, err)

			// As an endpoint, some are alternative spellings of the registry. All others are rejected, also in addition
			// to a valid one.
			if e, err := registry.ParseEndpoint(host); err == nil && e.Host == home {
				return
			}
			if e, err := registry.ParseEndpoint(host); err == nil && e.Host == "public.ecr.aws" {
				return
			}
			_, err = ecr.Provider{}.Credential(t.Context(), profile(n, host, ciLogin()))
			require.ErrorIs(t, err, registry.ErrInvalid)
			beside := profile(n, home, ciLogin())
			beside.Hosts = []string{host}
			_, err = ecr.Provider{}.Credential(t.Context(), beside)
			require.ErrorIs(t, err, registry.ErrInvalid)
		})
	}
	require.Empty(t, n.Dialed(), "nobody may be asked about a look-alike")
	require.Empty(t, cloud.Calls())
}

// Alternative spellings of the registry are sent to the registry, under its canonical name.
func TestEndpointsInOtherSpellings(t *testing.T) {
	cloud := &ecrtest.AWS{Users: []ecrtest.User{ci()}}
	n := attach(t, cloud)
	for _, endpoint := range []string{
		home, "https://" + home, "https://" + home + ":443/v2/", strings.ToUpper(home), home + "/team/app", " " + home,
	} {
		_, err := ecr.Provider{}.Credential(t.Context(), profile(n, endpoint, ciLogin()))
		require.NoError(t, err, endpoint)
	}
	require.Equal(t, []string{"api.ecr.us-east-1.amazonaws.com:443"}, slices.Compact(n.Dialed()))
}

func TestScope(t *testing.T) {
	scope := func(endpoint string) string {
		return ecr.Provider{}.Scope(registry.Profile{Name: "a", Kind: registry.ECR, Endpoint: endpoint})
	}
	require.Equal(t, "aws/us-east-1", scope(home))
	require.Equal(t, scope(home), scope("210987654321.dkr.ecr.us-east-1.amazonaws.com/team"), "accounts and repositories share a token")

	different := []string{
		"123456789012.dkr.ecr.us-east-1.amazonaws.com", "123456789012.dkr.ecr.us-east-2.amazonaws.com", "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
		"123456789012.dkr-ecr.us-east-1.on.aws", "123456789012.dkr-ecr-fips.us-east-1.on.aws", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "public.ecr.aws", "ecr-public.aws.com",
	}
	seen := map[string]string{}
	for _, endpoint := range different {
		require.NotEmpty(t, scope(endpoint))
		require.Empty(t, seen[scope(endpoint)], "%s shares the scope of another", endpoint)
		seen[scope(endpoint)] = endpoint
	}
	require.Empty(t, scope("ghcr.io"))
	require.Empty(t, scope(""))
}

func TestWarningOfThirteenDigits(t *testing.T) {
	p := registry.Profile{Name: "a", Kind: registry.ECR, Endpoint: "6391436758854.dkr.ecr.us-west-1.amazonaws.com", Login: ciLogin()}
	require.NoError(t, ecr.Provider{}.Validate(p))
	require.Len(t, p.Warnings(), 1)
	require.Contains(t, p.Warnings()[0], "13 digits")
}

func FuzzParseHost(f *testing.F) {
	for _, host := range lookAlikes() {
		f.Add(host)
	}
	for _, host := range []string{home, "public.ecr.aws", "123456789012.dkr-ecr-fips.us-gov-west-1.on.aws", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		h, err := ecr.ParseHost(host)
		if err != nil {
			require.Equal(t, ecr.Host{}, h)
			return
		}
		e, err := registry.ParseEndpoint(host)
		require.NoError(t, err)
		require.Equal(t, registry.Endpoint{Host: host}, e, "the host is its own canonical form")
		require.Equal(t, registry.ECR, registry.KindOf(host))
		require.NotEmpty(t, h.Region)
		require.NotEmpty(t, h.Partition)
		require.True(t, slices.ContainsFunc(domains(), func(d string) bool { return strings.HasSuffix(host, d) }), "%q is not AWS's", host)
		require.True(t, h.Public || strings.HasPrefix(host, h.Account+".dkr") && strings.Contains(host, "."+h.Region+"."))
	})
}

// domains are all of AWS's domains for registries.
func domains() []string {
	return []string{
		".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".on.aws", ".on.amazonwebservices.com.cn", ".c2s.ic.gov", ".sc2s.sgov.gov", ".cloud.adc-e.uk",
		".csp.hci.ic.gov", "public.ecr.aws", "ecr-public.aws.com",
	}
}
