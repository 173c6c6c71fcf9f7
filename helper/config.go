package helper

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
)

// A KubeletConfig is the configuration with which a kubelet calls a plugin: the content of the file that
// --image-credential-provider-config names.
type KubeletConfig struct {
	// Name is the name of the plugin's program in the folder that --image-credential-provider-bin-dir names. Profiles
	// whose subject is the pod need a program for each audience: create links to the same program, and name them NAME-1,
	// NAME-2 and so on, in the order of the profiles. If a link is missing, the kubelet does not start.
	Name string
	// Args are the program's arguments.
	Args []string
	// Profiles are the profiles that the plugin serves. A profile whose subject is the pod must have an audience.
	Profiles []registry.Profile
}

type providerConfig struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Providers  []providerEntry `json:"providers"`
}

type providerEntry struct {
	Name                 string           `json:"name"`
	APIVersion           string           `json:"apiVersion"`
	MatchImages          []string         `json:"matchImages"`
	DefaultCacheDuration string           `json:"defaultCacheDuration"`
	Args                 []string         `json:"args,omitempty"`
	TokenAttributes      *tokenAttributes `json:"tokenAttributes,omitempty"`
}

type tokenAttributes struct {
	Audience              string `json:"serviceAccountTokenAudience"`
	CacheType             string `json:"cacheType"`
	RequireServiceAccount bool   `json:"requireServiceAccount"`
}

// JSON returns the configuration (kubelet.config.k8s.io/v1), which a kubelet reads as JSON and as YAML. The error is a
// [field.Errors] with the problems of all profiles.
func (c KubeletConfig) JSON() ([]byte, error) {
	var problems field.List
	if c.Name == "" {
		problems.Add("name", "is missing", "the name of the plugin's program")
	}
	var plain []string
	type withToken struct {
		audience, cacheType string
		images              []string
	}
	var tokens []withToken
	for i, p := range c.Profiles {
		path := fmt.Sprintf("profiles[%d]", i)
		endpoints, err := p.Endpoints()
		problems.Under(path, err)
		var images []string
		for _, e := range endpoints {
			images = append(images, e.String())
		}
		if !usesPod(p.Login) {
			plain = append(plain, images...)
			continue
		}
		audience := subjectOf(p.Login).Audience
		if audience == "" {
			problems.Add(path+".login", "has a pod as its subject, without an audience", "the audience that the kubelet requests, in the subject's audience")
		}
		// The kubelet rejects a token that comes back as the password unless the response is kept by token.
		cacheType := "ServiceAccount"
		if p.Login.Federated != nil && p.Login.Federated.Exchange.Password != nil {
			cacheType = "Token"
		}
		at := slices.IndexFunc(tokens, func(t withToken) bool { return t.audience == audience && t.cacheType == cacheType })
		if at < 0 {
			at = len(tokens)
			tokens = append(tokens, withToken{audience: audience, cacheType: cacheType})
		}
		tokens[at].images = append(tokens[at].images, images...)
	}
	if len(c.Profiles) == 0 {
		problems.Add("profiles", "are missing", "one at least")
	}
	if err := problems.Err("kubelet configuration"); err != nil {
		return nil, err
	}
	config := providerConfig{APIVersion: "kubelet.config.k8s.io/v1", Kind: "CredentialProviderConfig"}
	// The plugin sets the duration of each response. The default applies only to a response without a duration.
	add := func(name string, images []string, attributes *tokenAttributes) {
		slices.Sort(images)
		config.Providers = append(config.Providers, providerEntry{name, kubeletAPI, slices.Compact(images), "0s", c.Args, attributes})
	}
	if len(plain) > 0 {
		add(c.Name, plain, nil)
	}
	for i, t := range tokens {
		add(fmt.Sprintf("%s-%d", c.Name, i+1), t.images, &tokenAttributes{t.audience, t.cacheType, true})
	}
	return marshal(config)
}

// Audiences returns the audiences that the kubelet requests for the profiles, for [AudienceRole].
func (c KubeletConfig) Audiences() []string {
	var audiences []string
	for _, p := range c.Profiles {
		if usesPod(p.Login) {
			audiences = append(audiences, subjectOf(p.Login).Audience)
		}
	}
	slices.Sort(audiences)
	return slices.Compact(audiences)
}

// AudienceRole returns a ClusterRole with the given name and a ClusterRoleBinding, as a List in JSON for kubectl. They
// permit the nodes to request tokens of their pods' service accounts for the audiences. Since Kubernetes 1.33, a node
// may otherwise request only audiences that a volume of the pod names (ServiceAccountNodeAudienceRestriction).
func AudienceRole(name string, audiences ...string) ([]byte, error) {
	type object = map[string]any
	const group = "rbac.authorization.k8s.io"
	return marshal(object{"apiVersion": "v1", "kind": "List", "items": []object{
		{
			"apiVersion": group + "/v1", "kind": "ClusterRole", "metadata": object{"name": name},
			"rules": []object{{"apiGroups": []string{""}, "resources": audiences, "verbs": []string{"request-serviceaccounts-token-audience"}}},
		},
		{
			"apiVersion": group + "/v1", "kind": "ClusterRoleBinding", "metadata": object{"name": name},
			"roleRef":  object{"apiGroup": group, "kind": "ClusterRole", "name": name},
			"subjects": []object{{"apiGroup": group, "kind": "Group", "name": "system:nodes"}},
		},
	}})
}

func marshal(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}
