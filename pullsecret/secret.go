package pullsecret

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/regcred/regcred/field"
)

// The names that Kubernetes uses for a pull secret.
const (
	// SecretType is the type of the secret. It cannot be changed once the secret exists.
	SecretType = "kubernetes.io/dockerconfigjson"
	// SecretKey is the key of the config in the secret's data.
	SecretKey = ".dockerconfigjson"
)

// A Secret is an image pull secret of Kubernetes.
type Secret struct {
	// Name and Namespace identify the secret. An empty namespace means the current namespace of the client that applies
	// it.
	Name, Namespace string
	// Labels and Annotations may be nil.
	Labels, Annotations map[string]string
	// Config is the content.
	Config Config
}

// JSON returns the object as a manifest in JSON for kubectl apply -f -, with the passwords in it. The same secret gives
// the same bytes. The error is from [Secret.Validate].
func (s Secret) JSON() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	type metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace,omitempty"`
		Labels      map[string]string `json:"labels,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	text, err := json.Marshal(struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Metadata   metadata          `json:"metadata"`
		Type       string            `json:"type"`
		Data       map[string][]byte `json:"data"`
	}{
		"v1", "Secret", metadata{s.Name, s.Namespace, s.Labels, s.Annotations},
		SecretType, map[string][]byte{SecretKey: s.Config.Reveal()},
	})
	return escape(text), err
}

// escape replaces characters that YAML does not allow in a string, or reads as a line break, by escapes such as \u0085.
// JSON allows these characters, but many tools read JSON as YAML.
func escape(text []byte) []byte {
	escaped := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if r >= 0x7f && r <= 0xffff && !unicode.IsPrint(r) {
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		} else {
			escaped = utf8.AppendRune(escaped, r)
		}
	}
	return escaped
}

// YAML is [Secret.JSON] in YAML.
func (s Secret) YAML() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	text := []byte("apiVersion: v1\nkind: Secret\nmetadata:\n  name: ")
	text = append(strconv.AppendQuote(text, s.Name), '\n')
	if s.Namespace != "" {
		text = append(text, "  namespace: "...)
		text = append(strconv.AppendQuote(text, s.Namespace), '\n')
	}
	text = appendMap(text, "labels", s.Labels)
	text = appendMap(text, "annotations", s.Annotations)
	text = append(text, "type: "+SecretType+"\ndata:\n  "+SecretKey+": "...)
	text = base64.StdEncoding.AppendEncode(text, s.Config.Reveal())
	return append(text, '\n'), nil
}

// appendMap writes a map of texts. A quoted string of Go is a quoted string of YAML too (YAML 1.2, section 5.7) if it
// is UTF-8, and quotes keep values such as no and 1e3 from becoming another type. A key with a slash needs no quotes.
func appendMap(text []byte, name string, m map[string]string) []byte {
	if len(m) == 0 {
		return text
	}
	text = append(text, "  "+name+":\n"...)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		text = append(text, "    "...)
		if strings.Contains(key, "/") {
			text = append(text, key...)
		} else {
			text = strconv.AppendQuote(text, key)
		}
		text = append(text, ": "...)
		text = append(strconv.AppendQuote(text, m[key]), '\n')
	}
	return text
}

// The limits of Kubernetes, in bytes: core/v1 MaxSecretSize, and TotalAnnotationSizeLimitB of package
// apimachinery/pkg/api/validation.
const (
	maxData        = 1 << 20
	maxAnnotations = 256 << 10
)

// Validate reports everything that a Kubernetes API server would reject, as one [field.Errors].
func (s Secret) Validate() error {
	var p field.List
	switch {
	case s.Name == "":
		p.Add("name", "is missing", wantSubdomain)
	case !isSubdomain(s.Name):
		p.Add("name", "is "+strconv.Quote(s.Name), wantSubdomain)
	}
	if s.Namespace != "" && !isLabel(s.Namespace) {
		p.Add("namespace", "is "+strconv.Quote(s.Namespace), wantLabel)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		checkKey(&p, "labels", key)
		if !isLabelValue(s.Labels[key]) {
			p.Add("labels["+key+"]", "is "+strconv.Quote(s.Labels[key]), wantLabelValue)
		}
	}
	size := 0
	for _, key := range slices.Sorted(maps.Keys(s.Annotations)) {
		checkKey(&p, "annotations", key)
		checkText(&p, "annotations["+key+"]", s.Annotations[key])
		size += len(key) + len(s.Annotations[key])
	}
	if size > maxAnnotations {
		p.Add("annotations", "have "+strconv.Itoa(size)+" bytes", "at most 262144")
	}
	if size := s.Config.Size(); size > maxData {
		p.Add("config", "has "+strconv.Itoa(size)+" bytes",
			"at most 1048576: use several secrets, each for the registries of some of the workloads")
	}
	return p.Err("pull secret " + strconv.Quote(s.Name))
}
