package credentials

import (
	"maps"
	"slices"
	"time"
)

// A Login is how a user of a registry proves who they are: what a person types in under "access credentials".
//
// Exactly one way is set: Anonymous, Ambient, Username with Password, AWS, Google, Azure, Federated, or Fields. The zero Login is none of
// them and is refused, so that a login that was forgotten never becomes an anonymous one by accident.
//
// It is plain data. It may be copied, must not be changed once in use, and never prints its secrets.
type Login struct {
	// Anonymous says that the registry is used without a login, like Microsoft's MCR, or Docker Hub for public images.
	Anonymous bool `json:"anonymous,omitempty"`

	// Ambient says that the login is the identity that the process already has: that of its cloud account, its machine,
	// its pod. A provider that knows no such identity refuses it.
	Ambient bool `json:"ambient,omitempty"`

	// Username and Password are a user and their password, or any pair that a registry takes in their place: an access
	// token, a robot account, a deploy token, a user token.
	Username string `json:"username,omitempty"`
	Password Secret `json:"password,omitzero"`

	// ExpiresAt is when the password ends to be valid, for a token or robot account that was made with an expiry.
	// Zero means never, or not known. It goes with Username and Password only.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`

	// AWS is an identity of Amazon Web Services.
	AWS *AWSLogin `json:"aws,omitempty"`

	// Google is an identity of Google Cloud.
	Google *GoogleLogin `json:"google,omitempty"`

	// Azure is an identity of Microsoft Entra ID.
	Azure *AzureLogin `json:"azure,omitempty"`

	// Federated is a workload's own identity, which the registry exchanges for a credential.
	Federated *FederatedLogin `json:"federated,omitempty"`

	// Fields is what a provider of one's own needs, if it is secret: names and values.
	Fields map[string]Secret `json:"fields,omitempty"`

	// Settings is what a provider of one's own needs beside the login and may be printed, such as the ID of a tenant or
	// the URL of an issuer: names and values. It is not a way to log in by itself.
	Settings map[string]string `json:"settings,omitempty"`
}

// An AWSLogin is an identity of Amazon Web Services: the one it starts from, and the roles that are assumed from there.
//
// It starts from the access key if one is set, else from the web identity, else from the ambient identity of the
// process: environment, shared configuration files, web identity of the pod, EKS Pod Identity, instance role.
type AWSLogin struct {
	// AccessKeyID and SecretAccessKey are a static key.
	AccessKeyID     string `json:"accessKeyID,omitempty"`
	SecretAccessKey Secret `json:"secretAccessKey,omitzero"`
	// SessionToken goes with a temporary key.
	SessionToken Secret `json:"sessionToken,omitzero"`

	// WebIdentity exchanges a token of an OpenID Connect issuer, such as a Kubernetes service account's, for a role.
	WebIdentity *AWSWebIdentity `json:"webIdentity,omitempty"`

	// Roles are assumed one after the other, each with the credentials of the one before it. None is the common case.
	Roles []AWSRole `json:"roles,omitempty"`

	// NoInstanceMetadata keeps an ambient identity from asking the instance metadata service, which is slow to time out
	// where there is none.
	NoInstanceMetadata bool `json:"noInstanceMetadata,omitempty"`
}

// An AWSWebIdentity is a role that AWS gives for a token of an OpenID Connect issuer.
type AWSWebIdentity struct {
	RoleARN string `json:"roleARN"`
	// Exactly one of Subject, TokenFile and Token is set. Subject is the workload that the role trusts. TokenFile is the
	// path of a file with the token, which is read for each exchange. Token is the token itself.
	Subject   *Subject `json:"subject,omitempty"`
	TokenFile string   `json:"tokenFile,omitempty"`
	Token     Secret   `json:"token,omitzero"`
	// SessionName is how the session is named in AWS's logs. Empty means "regcred".
	SessionName string `json:"sessionName,omitempty"`
	// SessionPolicy narrows what the session may do: a JSON policy of IAM, at most 2048 characters. Empty means all that
	// the role may do.
	SessionPolicy string `json:"sessionPolicy,omitempty"`
}

// An AWSRole is a role to assume.
type AWSRole struct {
	ARN string `json:"arn"`
	// ExternalID is what the owner of the role asks for, where a third party assumes it.
	ExternalID string `json:"externalID,omitempty"`
	// SessionName is how the session is named in AWS's logs. Empty means "regcred".
	SessionName string `json:"sessionName,omitempty"`
}

// A GoogleLogin is an identity of Google Cloud: the one it starts from, and the service account that is impersonated
// from there.
//
// It starts from the Credentials JSON or the Federation if one is set, else from the ambient identity of the process: application
// default credentials, metadata server.
type GoogleLogin struct {
	// Credentials is a credentials JSON: a service-account key as the console lets one download it, or its base64 form;
	// or the configuration of an external account (workload identity federation).
	Credentials Secret `json:"credentials,omitzero"`

	// Federation exchanges the token of a subject. It is not set together with Credentials.
	Federation *GoogleFederation `json:"federation,omitempty"`

	// AccessToken says that short-lived access tokens are made from a service-account key. False means that the
	// long-lived key itself is the password, which then stands in every secret and is valid until it is deleted. All
	// other identities always make access tokens.
	AccessToken bool `json:"accessToken,omitempty"`

	// Impersonate is the e-mail address of a service account whose access tokens are made with the identity. Empty
	// means none.
	Impersonate string `json:"impersonate,omitempty"`
	// Delegates are the service accounts between the identity and the one impersonated, in their order. Most often
	// there is none.
	Delegates []string `json:"delegates,omitempty"`
}

// Fingerprint stands for the login in a [Key] or in a log: it changes whenever anything in the login changes.
func (l Login) Fingerprint() Fingerprint {
	d := NewHasher("login")
	l.HashTo(d)
	return d.Sum()
}

// HashTo writes all of the login to a [Hasher].
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
