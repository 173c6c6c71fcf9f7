package registry

import (
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
)

// checkIdentity reports the parts of the process that a profile uses although [TransportConfig.Egress] does not allow
// them: its identity, its files, its environment. The token of a Kubernetes service account does not belong to the
// process; the program's providers decide whether the profile's tenant may use it.
func (p Profile) checkIdentity(problems *field.List) {
	policy := p.Transport.Egress
	if policy == nil {
		return
	}
	ownEyes := p.Transport.Proxy != "" || p.Transport.CABundle != ""
	ambient := func(path string) {
		switch {
		case !policy.AllowAmbient:
			problems.Add(path, "is the identity of this program, which is not allowed here", "a login of its own")
		case ownEyes:
			problems.Add(path, "is the identity of this program, and the profile's own proxy or authority would see it",
				"a login of its own, or neither proxy nor caBundle in transport")
		}
	}
	subject := func(path string, s *credentials.Subject) {
		switch {
		case s == nil || s.Kubernetes != nil:
		case s.File != "" && !policy.AllowFiles:
			problems.Add(path+".file", "is a file of this program, which is not allowed here", "a service account, or a login of its own")
		case s.Environment != "" || s.Source != "":
			ambient(path)
		}
	}
	login := p.Login
	if login.Ambient {
		ambient("login.ambient")
	}
	if aws := login.AWS; aws != nil {
		web := aws.WebIdentity
		switch {
		case web == nil && aws.AccessKeyID == "":
			ambient("login.aws")
		case web == nil:
		case web.TokenFile != "" && !policy.AllowFiles:
			problems.Add("login.aws.webIdentity.tokenFile", "is a file of this program, which is not allowed here", "the token itself in token")
		default:
			subject("login.aws.webIdentity.subject", web.Subject)
		}
	}
	if google := login.Google; google != nil {
		if google.Federation != nil {
			subject("login.google.federation.subject", &google.Federation.Subject)
		} else if google.Credentials.IsZero() {
			ambient("login.google")
		}
	}
	if azure := login.Azure; azure != nil {
		if azure.ManagedIdentity {
			ambient("login.azure.managedIdentity")
		}
		subject("login.azure.subject", azure.Subject)
	}
	if login.Federated != nil {
		subject("login.federated.subject", &login.Federated.Subject)
	}
}
