package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A RegistryProfile is a container registry, and where in the cluster its images may be pulled. The operator keeps a
// pull secret of the profile's name in each selected namespace, and names it in the selected service accounts. If each
// namespace has a login of its own (see ServiceAccount.Namespace), the name of the secret is NAMESPACE.PROFILE.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=rp
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.spec.endpoint`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Secrets",type=integer,JSONPath=`.status.secrets`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expiresAt`
// +kubebuilder:printcolumn:name="Renews",type=string,JSONPath=`.status.renewAt`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",message="the name may have 63 characters at most, and no dots"
type RegistryProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   RegistryProfileSpec   `json:"spec"`
	Status RegistryProfileStatus `json:"status,omitempty"`
}

// A RegistryProfileSpec is the desired state: the registry, its login, and the places of the pull secret.
//
// +kubebuilder:validation:XValidation:rule="self.kind == 'dockerhub' || has(self.endpoint)",message="endpoint is required for this kind"
// +kubebuilder:validation:XValidation:rule="(!has(self.login.federated) || self.kind == 'custom') && (!has(self.login.aws) || self.kind == 'ecr') && (!has(self.login.google) || self.kind == 'gcr') && (!has(self.login.azure) || self.kind == 'acr')",message="this kind has another login: federated belongs to custom, aws to ecr, google to gcr, azure to acr"
// +kubebuilder:validation:XValidation:rule="!has(self.login.ambient) || !self.login.ambient || (!has(self.caBundle) || self.caBundle.size() == 0) && (!has(self.transport) || !has(self.transport.proxy) || self.transport.proxy.size() == 0 || self.transport.proxy == 'direct')",message="ambient excludes caBundle and transport.proxy: their owner would see the operator's identity; configure both for the operator itself"
type RegistryProfileSpec struct {
	// Kind is the kind of the registry: system is the System registry of regcred, custom any registry that a Docker
	// client can use.
	// +kubebuilder:validation:Enum=dockerhub;ecr;gcr;acr;system;custom
	Kind string `json:"kind"`

	// Endpoint is the registry's host, optionally with a port or a path: registry.example.com/team.
	// +kubebuilder:validation:MinLength=1
	// +optional
	Endpoint string `json:"endpoint,omitempty"`

	// Hosts are further endpoints that the same login serves, such as a second name of the registry.
	// +kubebuilder:validation:items:MinLength=1
	// +listType=set
	// +optional
	Hosts []string `json:"hosts,omitempty"`

	// Tenant is the owner of the profile. Profiles of different tenants never share a credential. A profile with a tenant
	// uses only service accounts of namespaces whose label regcred.github.io/tenant has the same value.
	// +optional
	Tenant string `json:"tenant,omitempty"`

	// Login is the login at the registry.
	Login Login `json:"login"`

	// Namespaces selects the namespaces that get the pull secret.
	Namespaces Namespaces `json:"namespaces"`

	// ServiceAccounts are the names, or patterns such as "build-*", of the accounts that name the pull secret.
	// +kubebuilder:default={"default"}
	// +listType=set
	// +optional
	ServiceAccounts []string `json:"serviceAccounts,omitempty"`

	// CABundle holds certificates in PEM that the operator trusts in addition to its system's. Configure the nodes to
	// trust them, too. It excludes the login ambient, because the owner of a certificate authority could read the operator's
	// own identity; configure the authority for the operator itself instead.
	// +optional
	CABundle string `json:"caBundle,omitempty"`

	// Transport sets a proxy, plain HTTP or a client certificate, if the registry requires them.
	// +optional
	Transport Transport `json:"transport,omitempty"`
}

// A Transport configures the connections to a registry.
type Transport struct {
	// Proxy is the URL of an HTTP or SOCKS5 proxy, or "direct" for none. If empty, the proxy of the operator's
	// environment is used. A proxy here excludes the login ambient, because its owner could read the operator's own
	// identity; set the proxy in the operator's environment instead.
	// +optional
	Proxy string `json:"proxy,omitempty"`
	// PlainHTTP uses the registry without TLS: everyone on the network path can read the login.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`
	// SecretName is a secret in the operator's namespace: a client certificate under the keys tls.crt and tls.key, a login
	// at the proxy under proxyUsername and proxyPassword, or both.
	// +kubebuilder:validation:MinLength=1
	// +optional
	SecretName string `json:"secretName,omitempty"`
}

// A Login is exactly one of a secret, the identity of a service account, the ambient identity and no login. The fields
// federated, aws, google and azure exchange the token of a service account, so that no password is stored.
//
// +kubebuilder:validation:XValidation:rule="[has(self.secretName), has(self.federated), has(self.aws), has(self.google), has(self.azure), has(self.ambient) && self.ambient, has(self.anonymous) && self.anonymous].filter(x, x).size() == 1",message="set exactly one of secretName, federated, aws, google, azure, ambient and anonymous"
// +kubebuilder:validation:XValidation:rule="!has(self.expiresAt) || has(self.secretName)",message="expiresAt needs secretName: only a user name and a password expire by themselves"
type Login struct {
	// SecretName is a secret in the operator's namespace: username and password, or under the key "login" the JSON of a
	// login of any kind that holds a secret.
	// +kubebuilder:validation:MinLength=1
	// +optional
	SecretName string `json:"secretName,omitempty"`
	// ExpiresAt is the time at which the user name and the password in the secret expire, for a robot account or a token
	// that was created with an expiry. The registry does not report it. The condition LoginExpiring warns 14 days
	// before. If it is not set, an expiry in the JSON of a login applies.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// Federated exchanges the token of a service account at a registry of the kind custom.
	// +optional
	Federated *FederatedLogin `json:"federated,omitempty"`
	// AWS exchanges the token of a service account for a role in AWS. It belongs to the kind ecr.
	// +optional
	AWS *AWSLogin `json:"aws,omitempty"`
	// Google exchanges the token of a service account for an access token of Google Cloud. It belongs to the kind gcr.
	// +optional
	Google *GoogleLogin `json:"google,omitempty"`
	// Azure exchanges the token of a service account for an identity of Microsoft Entra ID. It belongs to the kind acr.
	// +optional
	Azure *AzureLogin `json:"azure,omitempty"`
	// Ambient uses the identity of the operator's pod in its cloud. It excludes caBundle, and a proxy in transport other
	// than "direct".
	// +optional
	Ambient bool `json:"ambient,omitempty"`
	// Anonymous uses the registry without a login.
	// +optional
	Anonymous bool `json:"anonymous,omitempty"`
}

// A Subject identifies the workload whose token is exchanged.
type Subject struct {
	// Kubernetes is a service account of this cluster. The operator needs the right to request its tokens.
	Kubernetes ServiceAccount `json:"kubernetes"`
}

// A ServiceAccount is a service account of this cluster.
type ServiceAccount struct {
	// Namespace is the namespace of the account, whose credential is then in all selected namespaces. If empty, it is
	// the namespace of the pull secret, so that each selected namespace has a credential of its own.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Name is the name of the account.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`
}

// A FederatedLogin is a login with the token of a subject, which the registry exchanges for a credential.
type FederatedLogin struct {
	Subject  Subject  `json:"subject"`
	Exchange Exchange `json:"exchange"`
}

// An Exchange is the protocol by which a registry issues a credential for the token. Exactly one field is set.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type Exchange struct {
	// Password sends the token itself as the password: Zot, Angos, Harbor Next, a System registry.
	// +optional
	Password *PasswordExchange `json:"password,omitempty"`
	// Quay is the robot federation of Quay.
	// +optional
	Quay *QuayExchange `json:"quay,omitempty"`
	// Artifactory is an OIDC integration of a JFrog platform.
	// +optional
	Artifactory *ArtifactoryExchange `json:"artifactory,omitempty"`
	// Cloudsmith is an OIDC provider of a Cloudsmith organization.
	// +optional
	Cloudsmith *CloudsmithExchange `json:"cloudsmith,omitempty"`
	// Chainguard is an assumable identity of Chainguard.
	// +optional
	Chainguard *ChainguardExchange `json:"chainguard,omitempty"`
	// IBM is a trusted profile of IBM Cloud.
	// +optional
	IBM *IBMExchange `json:"ibm,omitempty"`
}

// A PasswordExchange is the exchange of a registry that accepts the token itself as the password.
type PasswordExchange struct {
	// Username is sent with the token. Empty means "token". Angos requires the name of its OIDC provider here.
	// +optional
	Username string `json:"username,omitempty"`
}

// A QuayExchange is a login as a Quay robot account whose federation trusts the account.
type QuayExchange struct {
	// Robot is the full name: "ORGANIZATION+NAME".
	// +kubebuilder:validation:MinLength=1
	Robot string `json:"robot"`
}

// An ArtifactoryExchange is a login through an OIDC integration of a JFrog platform.
type ArtifactoryExchange struct {
	// Provider is the name of the integration.
	// +kubebuilder:validation:MinLength=1
	Provider string `json:"provider"`
	// Mapping is the name of one identity mapping. Empty means the first that matches.
	// +optional
	Mapping string `json:"mapping,omitempty"`
	// Project is the key of the project that the integration belongs to. Empty means none.
	// +optional
	Project string `json:"project,omitempty"`
}

// A CloudsmithExchange is a login as a service account of a Cloudsmith organization.
type CloudsmithExchange struct {
	// +kubebuilder:validation:MinLength=1
	Organization string `json:"organization"`
	// Service is the slug of the service account at Cloudsmith.
	// +kubebuilder:validation:MinLength=1
	Service string `json:"service"`
}

// A ChainguardExchange is a login with an assumable identity of Chainguard.
type ChainguardExchange struct {
	// Identity is the UIDP of the assumable identity.
	// +kubebuilder:validation:MinLength=1
	Identity string `json:"identity"`
}

// An IBMExchange is a login with a trusted profile of IBM Cloud.
type IBMExchange struct {
	// Profile is the ID of the trusted profile: "Profile-...".
	// +kubebuilder:validation:MinLength=1
	Profile string `json:"profile"`
}

// An AWSLogin is a role that AWS grants for the token of a subject.
type AWSLogin struct {
	WebIdentity AWSWebIdentity `json:"webIdentity"`
}

// An AWSWebIdentity is a role of AWS, and the subject that its trust policy names.
type AWSWebIdentity struct {
	// +kubebuilder:validation:MinLength=1
	RoleARN string  `json:"roleARN"`
	Subject Subject `json:"subject"`
}

// A GoogleLogin is an identity of Google Cloud for the token of a subject.
type GoogleLogin struct {
	Federation GoogleFederation `json:"federation"`
	// Impersonate is the e-mail address of a service account of Google Cloud whose access tokens the identity creates.
	// Empty means none.
	// +optional
	Impersonate string `json:"impersonate,omitempty"`
}

// A GoogleFederation is exactly one of a workload identity provider and a GKE cluster, and the subject that it trusts.
//
// +kubebuilder:validation:XValidation:rule="has(self.provider) != has(self.gke)",message="set exactly one of provider and gke"
type GoogleFederation struct {
	// Provider is the resource name of a workload identity provider:
	// projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER.
	// +kubebuilder:validation:MinLength=1
	// +optional
	Provider string `json:"provider,omitempty"`
	// GKE is this cluster, if it runs in GKE: projects/PROJECT/locations/LOCATION/clusters/NAME.
	// +kubebuilder:validation:MinLength=1
	// +optional
	GKE     string  `json:"gke,omitempty"`
	Subject Subject `json:"subject"`
}

// An AzureLogin is an app registration or a managed identity with a federated credential for a subject.
type AzureLogin struct {
	// TenantID is the ID or a domain of the Entra tenant.
	// +kubebuilder:validation:MinLength=1
	TenantID string `json:"tenantID"`
	// ClientID is the client ID of the app registration or managed identity.
	// +kubebuilder:validation:MinLength=1
	ClientID string  `json:"clientID"`
	Subject  Subject `json:"subject"`
}

// Namespaces select by name and by label; both must match.
type Namespaces struct {
	// Names are names, or patterns such as "team-*".
	// +kubebuilder:default={"*"}
	// +listType=set
	// +optional
	Names []string `json:"names,omitempty"`
	// Except are names, or patterns, of namespaces that are not selected although they match.
	// +listType=set
	// +optional
	Except []string `json:"except,omitempty"`
	// Selector selects by labels. If not set, all match.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// A RegistryProfileStatus is the observed state.
type RegistryProfileStatus struct {
	// Conditions has the type Ready: the pull secret is in its desired state in all namespaces; and the type
	// LoginExpiring: the login expires within 14 days, and only a person can renew it.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Secrets is the number of namespaces that have the pull secret.
	// +optional
	Secrets int `json:"secrets"`
	// ExpiresAt is the time at which the first of them expires. If not set, none expires.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// RenewAt is the time of the next call to the issuer: before the expiry, or again after a failure. The pull secrets
	// have the new credential within minutes. If not set, no renewal is due.
	// +optional
	RenewAt *metav1.Time `json:"renewAt,omitempty"`
}

// A RegistryProfileList is a list of registry profiles.
//
// +kubebuilder:object:root=true
type RegistryProfileList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []RegistryProfile `json:"items"`
}
