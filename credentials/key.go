package credentials

import "strings"

// A Key says which credentials in a cache are the same one: who asks whom for what. It holds no secret, and may be
// logged.
//
// Two profiles whose keys are equal share one credential and one call to its issuer; where anything that changes the
// answer differs, the keys must.
type Key struct {
	// Tenant keeps tenants apart that must not share a credential even if all else is equal. Empty means that there is
	// just one.
	Tenant string
	// Issuer is who is asked: "ecr", "dockerhub".
	Issuer string
	// Scope is what the credential is good for: a host, or as much as the issuer serves with one credential (for AWS
	// ECR the partition and region).
	Scope string
	// Login is who asks.
	Login Fingerprint
	// Transport is how the issuer is reached, where that changes the answer: an endpoint, a proxy, certificates. Zero
	// means the usual way.
	Transport Fingerprint
}

// String returns a label for logs and status pages: issuer, scope, and the first digits of the login's fingerprint.
func (k Key) String() string {
	var b strings.Builder
	if k.Tenant != "" {
		b.WriteString(k.Tenant + "/")
	}
	b.WriteString(k.Issuer + "/" + k.Scope + "#" + k.Login.String()[:8])
	return b.String()
}
