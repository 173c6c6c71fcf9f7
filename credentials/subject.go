package credentials

import (
	"fmt"
	"strings"

	"github.com/regcred/regcred/field"
)

// A Subject identifies a token that another issuer signed for a workload: the token of a Kubernetes service account, of
// a CI job, of a SPIFFE workload. A provider exchanges the token for a registry's credential, so that no password is
// stored.
//
// Exactly one of Kubernetes, File, Environment and Source is set. A program decides which subjects it provides; see
// [github.com/regcred/regcred/providers.Subjects].
type Subject struct {
	// Kubernetes is a service account, whose token is requested from the API server.
	Kubernetes *ServiceAccount `json:"kubernetes,omitempty"`
	// File is the path of a file with the token, which is read for each exchange.
	File string `json:"file,omitempty"`
	// Environment is the name of an environment variable with the token, such as REGISTRY_ID_TOKEN.
	Environment string `json:"environment,omitempty"`
	// Source is the name of a source that the program provides, such as "github-actions" or "spiffe".
	Source string `json:"source,omitempty"`

	// Audience is the audience that the token is issued for. If empty, it is the audience of the exchange, which is right
	// unless the owner of the registry chose another one.
	Audience string `json:"audience,omitempty"`
}

// A ServiceAccount is a service account of a Kubernetes cluster.
type ServiceAccount struct {
	// Cluster is the name under which the program knows the cluster. Empty means the cluster that the program runs in.
	Cluster string `json:"cluster,omitempty"`
	// Namespace is the namespace of the account. Empty means the namespace of the pull secret; see
	// [github.com/regcred/regcred/registry.Profile.ForNamespace].
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String identifies the subject in an error or a log. It holds no secret, and no login of a URL that a user wrote into
// the wrong field.
func (s Subject) String() string {
	switch {
	case s.Kubernetes != nil:
		text := "service account " + shown(s.Kubernetes.Namespace) + "/" + shown(s.Kubernetes.Name)
		if s.Kubernetes.Cluster != "" {
			text += " of cluster " + shown(s.Kubernetes.Cluster)
		}
		return text
	case s.File != "":
		return "file " + shown(s.File)
	case s.Environment != "":
		return "environment variable " + shown(s.Environment)
	case s.Source != "":
		return "source " + shown(s.Source)
	}
	return "no subject"
}

// shown returns the result of [field.Redact] for a URL. It returns any other text unchanged, because the path of a file
// may contain an @ or a #.
func shown(text string) string {
	if strings.Contains(text, "://") {
		return field.Redact(text)
	}
	return text
}

func (s Subject) validate() error {
	var p field.List
	set := 0
	for _, is := range []bool{s.Kubernetes != nil, s.File != "", s.Environment != "", s.Source != ""} {
		if is {
			set++
		}
	}
	if set != 1 {
		p.Add("", fmt.Sprintf("has %d of kubernetes, file, environment and source", set), "exactly one of them")
	}
	if k := s.Kubernetes; k != nil {
		if k.Name == "" {
			p.Add("kubernetes.name", "is missing", "the name of a service account")
		}
		// A name with a slash or a colon would make another account of the subject system:serviceaccount:NAMESPACE:NAME.
		for _, s := range []setting{{"namespace", k.Namespace, ""}, {"name", k.Name, ""}} {
			if strings.ContainsAny(s.value, ":/ ") || hasControl(s.value) {
				p.Add("kubernetes."+s.path, problemOf(s.value), "a name of Kubernetes: lower-case letters, digits, hyphens and dots")
			}
		}
	}
	checkLine(&p, "file", s.File)
	checkLine(&p, "environment", s.Environment)
	checkLine(&p, "source", s.Source)
	if s.Audience != strings.TrimSpace(s.Audience) || hasControl(s.Audience) {
		p.Add("audience", problemOf(s.Audience), "an audience without white space around it")
	}
	return p.Err("")
}

func (s Subject) digest(d *Hasher) {
	if d.Bool(s.Kubernetes != nil); s.Kubernetes != nil {
		d.Texts([]string{s.Kubernetes.Cluster, s.Kubernetes.Namespace, s.Kubernetes.Name})
	}
	d.Texts([]string{s.File, s.Environment, s.Source, s.Audience})
}

// An AzureLogin is an identity of Microsoft Entra ID, for Azure Container Registry.
//
// Exactly one of ClientSecret, Certificate, Subject and ManagedIdentity is set.
type AzureLogin struct {
	// TenantID is the ID or a domain of the Entra tenant. It is required, except with ManagedIdentity, where it must be
	// empty.
	TenantID string `json:"tenantID,omitempty"`
	// ClientID is the client ID of the app registration or of the user-assigned managed identity. Empty is allowed with
	// ManagedIdentity only, and means the system-assigned identity.
	ClientID string `json:"clientID,omitempty"`

	// ClientSecret is a secret of the app registration: its value, not its ID.
	ClientSecret Secret `json:"clientSecret,omitzero"`
	// Certificate is a certificate of the app registration and its RSA private key, both in PEM.
	Certificate Secret `json:"certificate,omitzero"`
	// Subject is a workload that a federated credential of the app registration or managed identity trusts.
	Subject *Subject `json:"subject,omitempty"`
	// ManagedIdentity uses a managed identity of the machine, pod or app service that the process runs on.
	ManagedIdentity bool `json:"managedIdentity,omitempty"`
}

func (l *AzureLogin) validate() error {
	var p field.List
	var ways []string
	for _, way := range []struct {
		name string
		set  bool
	}{
		{"clientSecret", !l.ClientSecret.IsZero()}, {"certificate", !l.Certificate.IsZero()},
		{"subject", l.Subject != nil}, {"managedIdentity", l.ManagedIdentity},
	} {
		if way.set {
			ways = append(ways, way.name)
		}
	}
	if len(ways) != 1 {
		p.Add("", fmt.Sprintf("has %d of clientSecret, certificate, subject and managedIdentity", len(ways)), "exactly one of them")
	}
	if !l.ManagedIdentity {
		if l.TenantID == "" {
			p.Add("tenantID", "is missing", "the ID of the Entra tenant")
		}
		if l.ClientID == "" {
			p.Add("clientID", "is missing", "the client ID of the app registration or managed identity")
		}
	} else if l.TenantID != "" {
		p.Add("tenantID", "is set beside managedIdentity", "no tenantID: a managed identity belongs to one")
	}
	// Both are inserted into a URL.
	for _, s := range []setting{{"tenantID", l.TenantID, ""}, {"clientID", l.ClientID, ""}} {
		if strings.ContainsFunc(s.value, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.')
		}) {
			p.Add(s.path, problemOf(s.value), "an ID such as 00000000-0000-0000-0000-000000000000")
		}
	}
	checkLine(&p, "clientSecret", l.ClientSecret.Reveal())
	if l.Subject != nil {
		p.Under("subject", l.Subject.validate())
	}
	return p.Err("")
}

func (l *AzureLogin) digest(d *Hasher) {
	d.Texts([]string{l.TenantID, l.ClientID})
	d.Secret(l.ClientSecret)
	d.Secret(l.Certificate)
	if d.Bool(l.Subject != nil); l.Subject != nil {
		l.Subject.digest(d)
	}
	d.Bool(l.ManagedIdentity)
}

// A GoogleFederation is an identity without a key file: Google exchanges the token of a subject for an access token.
type GoogleFederation struct {
	// Provider is the resource name of a workload identity provider:
	// projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER. It is empty with GKE.
	Provider string `json:"provider,omitempty"`
	// GKE is the cluster whose workload identity pool the subject belongs to:
	// projects/PROJECT/locations/LOCATION/clusters/NAME. It is empty with Provider.
	GKE     string  `json:"gke,omitempty"`
	Subject Subject `json:"subject"`
}

func (f *GoogleFederation) validate() error {
	var p field.List
	if (f.Provider == "") == (f.GKE == "") {
		p.Add("", "has not exactly one of provider and gke", "the name of a workload identity provider, or of a GKE cluster")
	}
	p.Under("subject", f.Subject.validate())
	return p.Err("")
}

func (f *GoogleFederation) digest(d *Hasher) {
	d.Texts([]string{f.Provider, f.GKE})
	f.Subject.digest(d)
}

// A FederatedLogin is a login with the token of a subject, which a registry exchanges for a credential. Cloud
// registries have their own logins: [AWSLogin], [GoogleLogin] and [AzureLogin].
type FederatedLogin struct {
	Subject  Subject  `json:"subject"`
	Exchange Exchange `json:"exchange"`
}

// An Exchange is the protocol by which a registry issues a credential for a subject's token. Exactly one field is set.
type Exchange struct {
	// Password sends the token itself as the password: Zot, Angos, Harbor Next, a System registry.
	Password *PasswordExchange `json:"password,omitempty"`
	// Quay is the robot federation of Quay.
	Quay *QuayExchange `json:"quay,omitempty"`
	// Artifactory is an OIDC integration of a JFrog platform.
	Artifactory *ArtifactoryExchange `json:"artifactory,omitempty"`
	// Cloudsmith is an OIDC provider of a Cloudsmith organization.
	Cloudsmith *CloudsmithExchange `json:"cloudsmith,omitempty"`
	// Chainguard is an assumable identity of Chainguard.
	Chainguard *ChainguardExchange `json:"chainguard,omitempty"`
	// DockerHub is an OIDC connection of a Docker organization. Docker accepts tokens of GitHub Actions only.
	DockerHub *DockerHubExchange `json:"dockerHub,omitempty"`
	// IBM is a trusted profile of IBM Cloud.
	IBM *IBMExchange `json:"ibm,omitempty"`
}

// A PasswordExchange is the exchange of a registry that accepts the subject's token itself as the password.
type PasswordExchange struct {
	// Username is sent with the token. Empty means "token". Angos requires the name of its OIDC provider here.
	Username string `json:"username,omitempty"`
}

// A QuayExchange is a login as a Quay robot account whose federation trusts the subject.
type QuayExchange struct {
	// Robot is the full name: "ORGANIZATION+NAME".
	Robot string `json:"robot"`
}

// An ArtifactoryExchange is a login through an OIDC integration of a JFrog platform.
type ArtifactoryExchange struct {
	// Provider is the name of the integration.
	Provider string `json:"provider"`
	// Mapping is the name of one identity mapping. Empty means the first that matches.
	Mapping string `json:"mapping,omitempty"`
	// Project is the key of the project that the integration belongs to. Empty means none.
	Project string `json:"project,omitempty"`
}

// A CloudsmithExchange is a login as a service account of a Cloudsmith organization.
type CloudsmithExchange struct {
	Organization string `json:"organization"`
	// Service is the slug of the service account.
	Service string `json:"service"`
}

// A ChainguardExchange is a login with an assumable identity of Chainguard.
type ChainguardExchange struct {
	// Identity is the UIDP of the assumable identity.
	Identity string `json:"identity"`
}

// A DockerHubExchange is a login through an OIDC connection of a Docker organization.
type DockerHubExchange struct {
	Organization string `json:"organization"`
	// Connection is the ID of the connection, a UUID.
	Connection string `json:"connection"`
}

// An IBMExchange is a login with a trusted profile of IBM Cloud.
type IBMExchange struct {
	// Profile is the ID of the trusted profile: "Profile-...".
	Profile string `json:"profile"`
}

// A setting is one text of a login, by its path.
type setting struct {
	path, value, want string // An empty want means that the setting is optional.
}

// settings returns the texts of all exchanges that are set, and the number of these exchanges.
func (e Exchange) settings() (texts []setting, n int) {
	add := func(list ...setting) { texts, n = append(texts, list...), n+1 }
	if x := e.Password; x != nil {
		add(setting{"password.username", x.Username, ""})
	}
	if x := e.Quay; x != nil {
		add(setting{"quay.robot", x.Robot, "the full name of a robot account, such as acme+puller"})
	}
	if x := e.Artifactory; x != nil {
		add(setting{"artifactory.provider", x.Provider, "the name of an OIDC integration"},
			setting{"artifactory.mapping", x.Mapping, ""}, setting{"artifactory.project", x.Project, ""})
	}
	if x := e.Cloudsmith; x != nil {
		add(setting{"cloudsmith.organization", x.Organization, "the slug of an organization"},
			setting{"cloudsmith.service", x.Service, "the slug of a service account"})
	}
	if x := e.Chainguard; x != nil {
		add(setting{"chainguard.identity", x.Identity, "the UIDP of an assumable identity"})
	}
	if x := e.DockerHub; x != nil {
		add(setting{"dockerHub.organization", x.Organization, "the name of an organization"},
			setting{"dockerHub.connection", x.Connection, "the ID of an OIDC connection"})
	}
	if x := e.IBM; x != nil {
		add(setting{"ibm.profile", x.Profile, "the ID of a trusted profile, such as Profile-9fd84246-7df4-4667-94e4-8ecde51d5ac5"})
	}
	return texts, n
}

func (l *FederatedLogin) validate() error {
	var p field.List
	p.Under("subject", l.Subject.validate())
	texts, n := l.Exchange.settings()
	if n != 1 {
		p.Add("exchange", fmt.Sprintf("has %d exchanges", n), "exactly one of password, quay, artifactory, cloudsmith, chainguard, dockerHub and ibm")
		return p.Err("")
	}
	for _, s := range texts {
		path := "exchange." + s.path
		if s.value == "" && s.want != "" {
			p.Add(path, "is missing", s.want)
		}
		checkLine(&p, path, s.value)
	}
	if x := l.Exchange.Password; x != nil && strings.Contains(x.Username, ":") {
		p.Add("exchange.password.username", "has a colon", "a name without a colon, because the first colon of a login ends the name")
	}
	if x := l.Exchange.Quay; x != nil && x.Robot != "" && strings.Count(x.Robot, "+") != 1 {
		p.Add("exchange.quay.robot", problemOf(x.Robot), "the full name of a robot account, such as acme+puller")
	}
	return p.Err("")
}

func (l *FederatedLogin) digest(d *Hasher) {
	l.Subject.digest(d)
	texts, _ := l.Exchange.settings()
	d.int(len(texts))
	for _, s := range texts {
		d.Texts([]string{s.path, s.value})
	}
}
