package credentials

import (
	"maps"
	"slices"
	"time"
)

// A Login is the account of a registry's user: the data that a person enters under "access credentials".
//
// Exactly one form is set: Anonymous, Ambient, Username with Password, AWS, Google, Azure, Federated, or Fields. The
// zero Login has no form and is rejected, so that a missing login never turns into anonymous access by accident.
//
// It is plain data. It may be copied, must not be changed once in use, and never prints its secrets.
type Login struct {
	// Anonymous selects access without a login, such as to Microsoft's MCR, or to public images of Docker Hub.
	Anonymous bool `json:"anonymous,omitempty"`

	// Ambient selects the identity of the process: of its cloud account, its machine, or its pod. A provider without
	// such an identity rejects it.
	Ambient bool `json:"ambient,omitempty"`

	// Username and Password are a user and their password, or any pair that a registry accepts in their place: an
	// access token, a robot account, a deploy token, a user token.
	Username string `json:"username,omitempty"`
	Password Secret `json:"password,omitzero"`

	// ExpiresAt is the time at which the password expires, if it is a token or robot account that was created with an
	// expiry. The zero time means never, or unknown; a time more than ten years ahead is rejected. It is allowed with
	// Username and Password only.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`

	// AWS is an identity of Amazon Web Services.
	AWS *AWSLogin `json:"aws,omitempty"`

	// Google is an identity of Google Cloud.
	Google *GoogleLogin `json:"google,omitempty"`

	// Azure is an identity of Microsoft Entra ID.
	Azure *AzureLogin `json:"azure,omitempty"`

	// Federated is a workload's own identity, which the registry exchanges for a credential.
	Federated *FederatedLogin `json:"federated,omitempty"`

	// Fields are the secret settings of a custom provider, by name.
	Fields map[string]Secret `json:"fields,omitempty"`

	// Settings are the settings of a custom provider that may be printed, such as the ID of a tenant or the URL of an
	// issuer, by name. They are not a form of login by themselves.
	Settings map[string]string `json:"settings,omitempty"`
}

// An AWSLogin is an identity of Amazon Web Services: an initial identity, and the roles to assume with it.
//
// The initial identity is the access key if one is set, else the web identity, else the ambient identity of the
// process: environment, shared configuration files, web identity of the pod, EKS Pod Identity, instance role.
type AWSLogin struct {
	// AccessKeyID and SecretAccessKey are a static access key.
	AccessKeyID     string `json:"accessKeyID,omitempty"`
	SecretAccessKey Secret `json:"secretAccessKey,omitzero"`
	// SessionToken is the session token of a temporary access key.
	SessionToken Secret `json:"sessionToken,omitzero"`

	// WebIdentity exchanges a token of an OpenID Connect issuer, such as a Kubernetes service account's, for a role.
	WebIdentity *AWSWebIdentity `json:"webIdentity,omitempty"`

	// Roles are assumed in order, each with the credentials of the one before it. Most logins have none.
	Roles []AWSRole `json:"roles,omitempty"`

	// NoInstanceMetadata excludes the instance metadata service from the ambient identity. On machines without that
	// service, a request to it fails only after a long timeout.
	NoInstanceMetadata bool `json:"noInstanceMetadata,omitempty"`
}

// An AWSWebIdentity is a role that AWS grants in exchange for a token of an OpenID Connect issuer.
type AWSWebIdentity struct {
	RoleARN string `json:"roleARN"`
	// Exactly one of Subject, TokenFile and Token is set. Subject is the workload that the role trusts. TokenFile is the
	// path of a file with the token, which is read for each exchange. Token is the token itself.
	Subject   *Subject `json:"subject,omitempty"`
	TokenFile string   `json:"tokenFile,omitempty"`
	Token     Secret   `json:"token,omitzero"`
	// SessionName is the name of the session in AWS's logs. Empty means "regcred".
	SessionName string `json:"sessionName,omitempty"`
	// SessionPolicy restricts the permissions of the session: an IAM policy in JSON, at most 2048 characters. Empty
	// means all permissions of the role.
	SessionPolicy string `json:"sessionPolicy,omitempty"`
}

// An AWSRole is a role to assume.
type AWSRole struct {
	ARN string `json:"arn"`
	// ExternalID is the external ID that the role's trust policy requires if a third party assumes the role.
	ExternalID string `json:"externalID,omitempty"`
	// SessionName is the name of the session in AWS's logs. Empty means "regcred".
	SessionName string `json:"sessionName,omitempty"`
}

// A GoogleLogin is an identity of Google Cloud: an initial identity, and the service account to impersonate with it.
//
// The initial identity is the Credentials JSON or the Federation if one is set, else the ambient identity of the
// process: application default credentials, metadata server.
type GoogleLogin struct {
	// Credentials is a credentials JSON: a service-account key as downloaded from the console, or its base64 form; or
	// the configuration of an external account (workload identity federation).
	Credentials Secret `json:"credentials,omitzero"`

	// Federation exchanges the token of a subject. Set at most one of it and Credentials.
	Federation *GoogleFederation `json:"federation,omitempty"`

	// AccessToken selects short-lived access tokens for a service-account key. If false, the long-lived key itself is
	// the password, which is then stored in every secret and stays valid until it is deleted. All other identities
	// always use access tokens.
	AccessToken bool `json:"accessToken,omitempty"`

	// Impersonate is the e-mail address of a service account whose access tokens the identity creates. Empty means
	// none.
	Impersonate string `json:"impersonate,omitempty"`
	// Delegates are the service accounts between the identity and the impersonated one, in order. Most logins have
	// none.
	Delegates []string `json:"delegates,omitempty"`
}

// Fingerprint identifies the login in a [Key] or in a log. It changes whenever anything in the login changes.
func (l Login) Fingerprint() Fingerprint {
	d := NewHasher("login")
	l.HashTo(d)
	return d.Sum()
}

// HashTo writes all fields of the login to a [Hasher].
func (l Login) HashTo(d *Hasher) {
	d.Bool(l.Anonymous)
	d.Bool(l.Ambient)
	d.Text(l.Username)
	d.Secret(l.Password)
	d.Time(l.ExpiresAt)
	if d.Bool(l.AWS != nil); l.AWS != nil {
		l.AWS.digest(d)
	}
	if d.Bool(l.Google != nil); l.Google != nil {
		d.Secret(l.Google.Credentials)
		d.Bool(l.Google.AccessToken)
		d.Text(l.Google.Impersonate)
		d.Texts(l.Google.Delegates)
		if d.Bool(l.Google.Federation != nil); l.Google.Federation != nil {
			l.Google.Federation.digest(d)
		}
	}
	if d.Bool(l.Azure != nil); l.Azure != nil {
		l.Azure.digest(d)
	}
	if d.Bool(l.Federated != nil); l.Federated != nil {
		l.Federated.digest(d)
	}
	d.int(len(l.Fields))
	for _, name := range slices.Sorted(maps.Keys(l.Fields)) {
		d.Text(name)
		d.Secret(l.Fields[name])
	}
	d.int(len(l.Settings))
	for _, name := range slices.Sorted(maps.Keys(l.Settings)) {
		d.Texts([]string{name, l.Settings[name]})
	}
}

func (l *AWSLogin) digest(d *Hasher) {
	d.Text(l.AccessKeyID)
	d.Secret(l.SecretAccessKey)
	d.Secret(l.SessionToken)
	if d.Bool(l.WebIdentity != nil); l.WebIdentity != nil {
		d.Text(l.WebIdentity.RoleARN)
		d.Text(l.WebIdentity.TokenFile)
		d.Secret(l.WebIdentity.Token)
		d.Text(l.WebIdentity.SessionName)
		d.Text(l.WebIdentity.SessionPolicy)
		if d.Bool(l.WebIdentity.Subject != nil); l.WebIdentity.Subject != nil {
			l.WebIdentity.Subject.digest(d)
		}
	}
	d.int(len(l.Roles))
	for _, r := range l.Roles {
		d.Texts([]string{r.ARN, r.ExternalID, r.SessionName})
	}
	d.Bool(l.NoInstanceMetadata)
}
