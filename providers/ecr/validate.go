package ecr

import (
	"fmt"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/providers/internal/subject"
	"github.com/regcred/regcred/registry"
)

// Validate reports the problems of a profile that are specific to ECR, as a [field.Errors]; [registry.Profile.Validate]
// reports the others. It makes no network call.
//
// One token must serve all hosts of a profile: they are registries of one region, of any account and under any of their
// names, or ECR Public. The login is an AWS identity, the identity of the process, or, for ECR Public, anonymous. A
// user name and password are rejected, including the password from "aws ecr get-login-password": it expires after
// twelve hours, and the provider could not renew it.
func (p Provider) Validate(profile registry.Profile) error {
	var problems field.List
	main, ok := p.validateHosts(&problems, profile)
	if profile.Transport.PlainHTTP {
		problems.Add("transport.plainHTTP", "is set", "nothing: ECR has https only")
	}
	p.validateLogin(&problems, profile, main, ok)
	return problems.Err(fmt.Sprintf("profile %q", profile.Name))
}

const wantHost = "the host of a registry, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com, or public.ecr.aws"

// addHost reports a host that is not a registry of ECR.
func addHost(problems *field.List, path, host string) {
	if isVPCEndpoint(host) {
		problems.Add(path, fmt.Sprintf("is %s, the name of a VPC endpoint, for which the registry has no certificate", host),
			"the registry's own name, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com: turn on private DNS for the endpoint, and it leads there")
		return
	}
	problems.Add(path, fmt.Sprintf("is %s, which is not a registry of ECR", host), wantHost)
}

// isVPCEndpoint reports whether the host is a vpce-....dkr.ecr.REGION.vpce.amazonaws.com:
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html.
func isVPCEndpoint(host string) bool {
	return strings.HasPrefix(host, "vpce-") && strings.Contains(host, ".ecr.") && strings.Contains(host, ".vpce.")
}

// validateHosts checks all hosts. It returns the main endpoint's Host, and whether it could be parsed.
func (p Provider) validateHosts(problems *field.List, profile registry.Profile) (main Host, ok bool) {
	if endpoint, err := registry.ParseEndpoint(profile.Endpoint); err == nil { // Else Profile.Validate reports it.
		if main, err = ParseHost(endpoint.Host); err != nil {
			addHost(problems, "endpoint", endpoint.Host)
		}
		ok = err == nil
	}
	for i, text := range profile.Hosts {
		field := fmt.Sprintf("hosts[%d]", i)
		endpoint, err := registry.ParseEndpoint(text)
		if err != nil {
			continue
		}
		host, err := ParseHost(endpoint.Host)
		switch {
		case err != nil:
			addHost(problems, field, endpoint.Host)
		case !ok:
		case host.Public != main.Public:
			problems.Add(field, "and the endpoint are not both of ECR Public", "a profile of its own: their tokens differ")
		case host.Region != main.Region:
			problems.Add(field, "is in "+host.Region, "a registry in "+main.Region+", as the endpoint is: a token is valid for one region")
		}
	}
	return main, ok
}

func (p Provider) validateLogin(problems *field.List, profile registry.Profile, main Host, hostKnown bool) {
	login := profile.Login
	const want = "an AWS access key, web identity or role in aws, or ambient: true for the identity of the process"
	ambient := login.Ambient
	switch {
	case login.Anonymous:
		if hostKnown && !main.Public {
			problems.Add("login", "is anonymous", want+": only ECR Public serves images without a login")
		}
	case login.AWS != nil:
		web := login.AWS.WebIdentity
		ambient = web == nil && login.AWS.AccessKeyID == ""
		if web != nil && web.TokenFile != "" && !cloud.AllowsSubject(profile, p.SubjectTokens, web.TokenFile) {
			problems.Add("login.aws.webIdentity.tokenFile", "is "+field.Quote(web.TokenFile)+", which is not allowed",
				"the token itself in token, or one of the files that this program allows (SubjectTokens of its ecr.Provider)")
		}
		if web != nil && web.Subject != nil {
			subject.Validate(problems, "login.aws.webIdentity.subject", p.Subjects, profile, *web.Subject, destination(*web.Subject, main), nil)
		}
		if hostKnown {
			validateRoles(problems, login.AWS, main)
		}
	case login.Username != "" || !login.Password.IsZero():
		problems.Add("login", "is a user name and password", want+": a password of ECR expires after twelve hours and cannot be renewed (an access key goes into aws.accessKeyID and aws.secretAccessKey)")
	case login.Form() != "" && !login.Ambient:
		problems.Add("login", "has the form "+login.Form(), want)
	}
	switch aws := login.AWS; {
	case ambient:
		subject.ValidateTransport(problems, profile, "the identity of the process")
	case aws != nil && aws.WebIdentity != nil && aws.WebIdentity.TokenFile != "":
		subject.ValidateTransport(problems, profile, "a file of the process")
	}
	if ambient && p.NoAmbient {
		problems.Add("login", "is the identity of the process, which is not allowed here", "an AWS access key, or a web identity with its token, in aws")
	}
}

// destination returns AWS's Security Token Service as the destination of a token. Its audience is the same in all
// partitions; in China, the owner of the identity provider may have configured the other audience.
func destination(s credentials.Subject, main Host) subject.Destination {
	to := subject.Destination{Host: "sts." + main.Region + ".amazonaws.com", Audience: subject.AudienceAWS, Fixed: true}
	if main.Partition == "aws-cn" && s.Audience == subject.AudienceAWS+".cn" {
		to.Audience = s.Audience
	}
	return to
}

// validateRoles rejects roles of another partition, because identities of this one cannot assume them.
func validateRoles(problems *field.List, login *credentials.AWSLogin, main Host) {
	check := func(field, arn string) {
		part := strings.SplitN(arn, ":", 3)
		if len(part) == 3 && part[0] == "arn" && part[1] != main.Partition {
			problems.Add(field, fmt.Sprintf("is in the partition %s", part[1]), "a role in "+main.Partition+", where the registry is: no identity of AWS crosses partitions")
		}
	}
	if login.WebIdentity != nil {
		check("login.aws.webIdentity.roleARN", login.WebIdentity.RoleARN)
	}
	for i, role := range login.Roles {
		check(fmt.Sprintf("login.aws.roles[%d].arn", i), role.ARN)
	}
}
