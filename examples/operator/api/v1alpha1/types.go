package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A RegistryProfile is a container registry, and where in the cluster its images may be pulled. The operator keeps a
// pull secret of the profile's name in each selected namespace, and names it in the selected service accounts.
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
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="the name may have 63 characters at most"
type RegistryProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   RegistryProfileSpec   `json:"spec"`
	Status RegistryProfileStatus `json:"status,omitempty"`
}

// A RegistryProfileSpec says what is wanted.
//
// +kubebuilder:validation:XValidation:rule="self.kind == 'dockerhub' || has(self.endpoint)",message="endpoint is required for this kind"
type RegistryProfileSpec struct {
	// Kind is the kind of the registry; system is the System registry of regcred, and custom is any that a Docker client
	// can use.
	// +kubebuilder:validation:Enum=dockerhub;ecr;gcr;system;custom
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

	// Tenant is whose profile it is. Profiles of different tenants never share a credential.
	// +optional
	Tenant string `json:"tenant,omitempty"`

	// Login says how the operator proves who it is.
	Login Login `json:"login"`

	// Namespaces are where the pull secret is.
	Namespaces Namespaces `json:"namespaces"`

	// ServiceAccounts are the names, or patterns such as "build-*", of the accounts that name the pull secret.
	// +kubebuilder:default={"default"}
	// +listType=set
	// +optional
	ServiceAccounts []string `json:"serviceAccounts,omitempty"`

	// CABundle holds certificates in PEM that the operator trusts beside those of its system. What nodes trust is set
	// on the nodes.
	// +optional
	CABundle string `json:"caBundle,omitempty"`

	// Transport is how the operator reaches the registry, where the usual way will not do.
	// +optional
	Transport Transport `json:"transport,omitempty"`
}

// A Transport is a way to a registry.
type Transport struct {
	// Proxy is the URL of an HTTP or SOCKS5 proxy, or "direct" for none. Empty means that of the operator's
	// environment.
	// +optional
	Proxy string `json:"proxy,omitempty"`
	// PlainHTTP speaks to the registry without TLS: whoever is on the way reads the login.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`
	// SecretName is a secret in the operator's namespace: a client certificate under the keys tls.crt and tls.key, a login
	// at the proxy under proxyUsername and proxyPassword, or both.
	// +kubebuilder:validation:MinLength=1
	// +optional
	SecretName string `json:"secretName,omitempty"`
}

// A Login is exactly one way to prove who one is.
//
// +kubebuilder:validation:XValidation:rule="[has(self.secretName), has(self.ambient) && self.ambient, has(self.anonymous) && self.anonymous].filter(x, x).size() == 1",message="set exactly one of secretName, ambient and anonymous"
// +kubebuilder:validation:XValidation:rule="!has(self.expiresAt) || has(self.secretName)",message="expiresAt needs secretName: only a user name and a password expire by themselves"
type Login struct {
	// SecretName is a secret in the operator's namespace: username and password, or under the key "login" the JSON of a
	// login of any kind.
	// +kubebuilder:validation:MinLength=1
	// +optional
	SecretName string `json:"secretName,omitempty"`
	// ExpiresAt is the time at which the user name and the password in the secret expire, for a robot account or a token
	// that was created with an expiry. The registry does not report it. The condition LoginExpiring warns 14 days
	// before. If it is not set, an expiry in the JSON of a login applies.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// Ambient is the identity of the operator's pod in its cloud.
	// +optional
	Ambient bool `json:"ambient,omitempty"`
	// Anonymous says that the registry wants no login.
	// +optional
	Anonymous bool `json:"anonymous,omitempty"`
}

// Namespaces select by name and by label; both must match.
type Namespaces struct {
	// Names are names, or patterns such as "team-*".
	// +kubebuilder:default={"*"}
	// +listType=set
	// +optional
	Names []string `json:"names,omitempty"`
	// Except are names, or patterns, that are not selected though they match.
	// +listType=set
	// +optional
	Except []string `json:"except,omitempty"`
	// Selector selects by labels. None means all.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// A RegistryProfileStatus says what is.
type RegistryProfileStatus struct {
	// Conditions has one of the type Ready: the pull secret is everywhere as it should be; and one of the type
	// LoginExpiring: the login expires within 14 days, and only a person can renew it.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Secrets is how many namespaces have the pull secret.
	// +optional
	Secrets int `json:"secrets"`
	// ExpiresAt is when the first of them expires. None means that they do not.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// RenewAt is when the issuer is asked for the next credential: ahead of the expiry, or once more after it failed. The
	// pull secrets have it within minutes. None means that no renewal is due.
	// +optional
	RenewAt *metav1.Time `json:"renewAt,omitempty"`
}

// A RegistryProfileList is a list of them.
//
// +kubebuilder:object:root=true
type RegistryProfileList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []RegistryProfile `json:"items"`
}
