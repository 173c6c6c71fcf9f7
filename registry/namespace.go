package registry

import "github.com/regcred/regcred/credentials"

// ForNamespace returns the profile for the pull secret of a namespace: a subject that is a service account without a
// namespace becomes the account in this namespace. So each namespace gets its own credential from one profile, and each
// tenant pulls with its own identity. A profile without such a subject is returned unchanged. ForNamespace does not
// modify p.
func (p Profile) ForNamespace(namespace string) Profile {
	fill := func(s *credentials.Subject) *credentials.Subject {
		if s == nil || s.Kubernetes == nil || s.Kubernetes.Namespace != "" {
			return s
		}
		filled, account := *s, *s.Kubernetes
		account.Namespace = namespace
		filled.Kubernetes = &account
		return &filled
	}
	if l := p.Login.AWS; l != nil && l.WebIdentity != nil {
		aws, web := *l, *l.WebIdentity
		web.Subject = fill(web.Subject)
		aws.WebIdentity, p.Login.AWS = &web, &aws
	}
	if l := p.Login.Google; l != nil && l.Federation != nil {
		google, federation := *l, *l.Federation
		federation.Subject = *fill(&federation.Subject)
		google.Federation, p.Login.Google = &federation, &google
	}
	if l := p.Login.Azure; l != nil && l.Subject != nil {
		azure := *l
		azure.Subject = fill(l.Subject)
		p.Login.Azure = &azure
	}
	if l := p.Login.Federated; l != nil {
		federated := *l
		federated.Subject = *fill(&federated.Subject)
		p.Login.Federated = &federated
	}
	return p
}
