package credentials

import "strings"

// A Key identifies a cached credential by tenant, issuer, scope, login and transport. It holds no secret, and may be
// logged.
//
// Two profiles with equal keys share one credential and one call to its issuer. If anything that affects the issuer's
// response differs between profiles, their keys must differ.
type Key struct {
	// Tenant separates tenants that must not share a credential even if all else is equal. Empty means that there is
	// just one tenant.
	Tenant string
	// Issuer is the name of the issuer: "ecr", "dockerhub".
	Issuer string
	// Scope is the part of the issuer's service where the credential is valid: a host, or everything that the issuer
	// serves with one credential (for AWS ECR the partition and region).
	Scope string
	// Login is the fingerprint of the login.
	Login Fingerprint
	// Transport is the fingerprint of the connection settings, if they affect the issuer's response: an endpoint, a
	// proxy, certificates. Zero means the defaults.
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
