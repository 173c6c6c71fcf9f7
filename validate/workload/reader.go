package workload

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/regcred/regcred/registry"
)

// A reader walks through the documents of a manifest.
type reader struct {
	document, offset int
	nodes, images    int // Counts so far; a container without an image counts as one image.
	pods             []Pod
	errs             []error
}

// walk looks for the specs of pods in a node and below. It fails if a limit is exceeded.
func (r *reader) walk(n *yaml.Node, at Place, depth int) error {
	if r.nodes++; r.nodes > maxNodes || depth > maxDepth {
		return &Error{r.place(at, n), ErrManifestTooLarge}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return r.walk(n.Alias, at, depth+1)
	case yaml.DocumentNode:
		for _, c := range n.Content {
			if err := r.walk(c, at, depth+1); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			if err := r.walk(c, r.index(at, i), depth+1); err != nil {
				return err
			}
		}
	case yaml.MappingNode:
		if kind := text(field(n, "kind")); kind != "" && field(n, "apiVersion") != nil {
			at = r.object(n, kind)
			if path := podSpecPath(text(field(n, "apiVersion")), kind); path != nil {
				return r.builtIn(n, at, path)
			}
		}
		switch at.Kind {
		case "Secret", "ConfigMap": // Their values are text, even if it looks like a spec.
			return nil
		}
		if isPodSpec(n) {
			return r.add(n, at, false)
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if err := r.walk(n.Content[i+1], under(at, n.Content[i].Value), depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// object returns the place of an object: a new one, also within a list.
func (r *reader) object(n *yaml.Node, kind string) Place {
	metadata := field(n, "metadata")
	name := text(field(metadata, "name"))
	if name == "" {
		name = text(field(metadata, "generateName"))
	}
	return Place{Kind: kind, Namespace: text(field(metadata, "namespace")), Name: name}
}

// podSpecPath returns the path of the pod spec in an object of Kubernetes itself; nil for other objects.
func podSpecPath(apiVersion, kind string) []string {
	group, _, hasGroup := strings.Cut(apiVersion, "/")
	switch {
	case !hasGroup && kind == "Pod":
		return []string{"spec"}
	case !hasGroup && kind == "PodTemplate":
		return []string{"template", "spec"}
	case group == "batch" && kind == "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template", "spec"}
	case group == "batch" && kind == "Job", !hasGroup && kind == "ReplicationController",
		group == "apps" && slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"}, kind):
		return []string{"spec", "template", "spec"}
	}
	return nil
}

// builtIn reads an object of Kubernetes itself. An API server requires names and images for its containers.
func (r *reader) builtIn(n *yaml.Node, at Place, path []string) error {
	spec := n
	for _, name := range path {
		at = under(at, name)
		if spec = field(spec, name); spec == nil {
			break
		}
	}
	if len(sequence(field(spec, "containers"))) == 0 {
		r.errs = append(r.errs, &Error{r.place(at, cmp.Or(spec, n)), errNoContainers})
		if spec == nil {
			return nil
		}
	}
	return r.add(spec, at, true)
}

var (
	errNoContainers = errors.New("has no containers")
	errNoName       = errors.New("is a container without a name")
	errNoImage      = errors.New("is a container without an image")
	errNoReference  = errors.New("is a volume of an image without a reference")
	errCompose      = errors.New("is a compose file: expected a manifest of Kubernetes objects")
	errNoObject     = errors.New("is no Kubernetes object, because kind or apiVersion is missing")
)

// add reads the spec of a pod.
func (r *reader) add(n *yaml.Node, at Place, strict bool) error {
	r.pods = append(r.pods, r.pod(n, at, strict))
	if r.images > maxImages {
		return &Error{r.place(at, n), ErrManifestTooLarge}
	}
	return nil
}

// root reports a document that kubectl would reject, such as a compose file. An empty document is fine.
func (r *reader) root(document *yaml.Node) {
	if len(document.Content) == 0 {
		return
	}
	n := resolve(document.Content[0])
	switch {
	case n == nil || n.Kind == yaml.SequenceNode || n.Kind == yaml.ScalarNode && n.Tag == "!!null":
	case text(field(n, "kind")) != "" && text(field(n, "apiVersion")) != "":
	case field(n, "services") != nil && field(n, "kind") == nil:
		r.errs = append(r.errs, &Error{r.place(Place{}, n), errCompose})
	default:
		r.errs = append(r.errs, &Error{r.place(Place{}, n), errNoObject})
	}
}

// isPodSpec reports whether a node of a custom resource is the spec of a pod: all of its containers have a name, or one
// has an image. In a custom resource definition there is none, because containers is the name of a property.
func isPodSpec(n *yaml.Node) bool {
	named, withImage := 0, 0
	list := sequence(field(n, "containers"))
	for _, c := range list {
		if text(field(c, "name")) != "" {
			named++
		}
		if text(field(c, "image")) != "" {
			withImage++
		}
	}
	return len(list) > 0 && (named == len(list) || withImage > 0)
}

// pod reads the spec of a pod. If strict, a container without a name or an image is an error. In a custom resource, an
// operator may set them.
func (r *reader) pod(n *yaml.Node, at Place, strict bool) Pod {
	p := Pod{Place: r.place(at, n), ServiceAccount: text(field(n, "serviceAccountName"))}
	if p.ServiceAccount == "" {
		p.ServiceAccount = text(field(n, "serviceAccount")) // The former name, which Kubernetes still accepts.
	}
	for _, s := range sequence(field(n, "imagePullSecrets")) {
		if name := text(field(s, "name")); name != "" {
			p.PullSecrets = append(p.PullSecrets, name)
		}
	}
	for _, list := range []string{"initContainers", "containers", "ephemeralContainers"} {
		for i, c := range sequence(field(n, list)) {
			place := r.index(under(at, list), i)
			if strict && text(field(c, "name")) == "" {
				r.errs = append(r.errs, &Error{r.place(place, c), errNoName})
			}
			if !r.image(&p, field(c, "image"), under(place, "image")) && strict {
				r.errs = append(r.errs, &Error{r.place(place, c), errNoImage})
			}
		}
	}
	for i, v := range sequence(field(n, "volumes")) {
		source := field(v, "image")
		place := under(under(r.index(under(at, "volumes"), i), "image"), "reference")
		if !r.image(&p, field(source, "reference"), place) && source != nil && strict {
			r.errs = append(r.errs, &Error{r.place(place, v), errNoReference})
		}
	}
	return p
}

// image reads the name of an image, and reports whether there is one, valid or not.
func (r *reader) image(p *Pod, n *yaml.Node, at Place) bool {
	r.images++
	if n == nil || n.Kind == yaml.ScalarNode && (n.Value == "" || n.Tag == "!!null") {
		return false
	}
	at = r.place(at, n)
	if n.Kind != yaml.ScalarNode {
		r.errs = append(r.errs, &Error{at, errors.New("is not the name of an image")})
		return true
	}
	image, err := registry.ParseImage(n.Value)
	if err != nil {
		r.errs = append(r.errs, &Error{at, err})
		return true
	}
	p.Images = append(p.Images, Image{n.Value, image, at})
	return true
}

func (r *reader) place(at Place, n *yaml.Node) Place {
	at.Document, at.Line = r.document, r.offset+n.Line
	return at
}

func (r *reader) index(at Place, i int) Place {
	at.Path += "[" + strconv.Itoa(i) + "]"
	return at
}

func under(at Place, name string) Place {
	if at.Path != "" {
		at.Path += "."
	}
	at.Path += name
	return at
}

// field returns the value of a mapping under the name, directly or by a merge key (<<); nil if there is none.
func field(n *yaml.Node, name string) *yaml.Node {
	return fieldAt(n, name, 0)
}

func fieldAt(n *yaml.Node, name string, depth int) *yaml.Node {
	if n = resolve(n); n == nil || n.Kind != yaml.MappingNode || depth > 8 {
		return nil
	}
	var merged *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch key := n.Content[i]; {
		case key.Value == name:
			return resolve(n.Content[i+1])
		case key.Tag == "!!merge" && merged == nil:
			from := resolve(n.Content[i+1])
			if from == nil || from.Kind != yaml.SequenceNode {
				merged = fieldAt(from, name, depth+1)
				continue
			}
			for _, c := range from.Content[:min(len(from.Content), 8)] {
				if merged == nil {
					merged = fieldAt(c, name, depth+1)
				}
			}
		}
	}
	return merged
}

// resolve returns the node that an alias refers to.
func resolve(n *yaml.Node) *yaml.Node {
	for range 8 {
		if n == nil || n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return nil
}

func sequence(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}
