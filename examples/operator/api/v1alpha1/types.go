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

// A RegistryProfileSpec is the desired state: the registry, its login, and the places of the pull secret.
//
// +kubebuilder:validation:XValidation:rule="self.kind == 'dockerhub' || has(self.endpoint)",message="endpoint is required for this kind"
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

	// Tenant is the owner of the profile. Profiles of different tenants never share a credential.
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

// A Login is exactly one of a secret, the ambient identity and no login.
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
	// Ambient uses the identity of the operator's pod in its cloud. It excludes caBundle, and a proxy in transport other
	// than "direct".
	// +optional
	Ambient bool `json:"ambient,omitempty"`
	// Anonymous uses the registry without a login.
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
