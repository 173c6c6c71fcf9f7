package workload

import (
	"errors"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/regcred/regcred/registry"
)

// A reader walks through the documents of a manifest.
type reader struct {
	document, offset int
	nodes, images    int // That were seen; a container without an image counts as one.
	pods             []Pod
	errs             []error
}

// walk looks for the specs of pods in a node and below. Its error is that of a limit.
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
		}
		switch at.Kind {
		case "Secret", "ConfigMap": // Text, whatever it looks like.
			return nil
		}
		if isPodSpec(n) {
			r.pods = append(r.pods, r.pod(n, at))
			if r.images > maxImages {
				return &Error{r.place(at, n), ErrManifestTooLarge}
			}
			return nil
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if err := r.walk(n.Content[i+1], under(at, n.Content[i].Value), depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// object is the place of an object: a new one, also within a list.
func (r *reader) object(n *yaml.Node, kind string) Place {
	metadata := field(n, "metadata")
	name := text(field(metadata, "name"))
	if name == "" {
		name = text(field(metadata, "generateName"))
	}
	return Place{Kind: kind, Namespace: text(field(metadata, "namespace")), Name: name}
}

// isPodSpec tells the spec of a pod by its containers. That of a custom resource definition is none: there, containers
// is the name of a property.
func isPodSpec(n *yaml.Node) bool {
	list := sequence(field(n, "containers"))
	if len(list) == 0 {
		return false
	}
	for _, c := range list {
		if text(field(c, "name")) == "" {
			return false
		}
	}
	return true
}

func (r *reader) pod(n *yaml.Node, at Place) Pod {
	p := Pod{Place: r.place(at, n), ServiceAccount: text(field(n, "serviceAccountName"))}
	if p.ServiceAccount == "" {
		p.ServiceAccount = text(field(n, "serviceAccount")) // Its name of old, which Kubernetes still takes.
	}
	for _, s := range sequence(field(n, "imagePullSecrets")) {
		if name := text(field(s, "name")); name != "" {
			p.PullSecrets = append(p.PullSecrets, name)
		}
	}
	for _, list := range []string{"initContainers", "containers", "ephemeralContainers"} {
		for i, c := range sequence(field(n, list)) {
			r.image(&p, field(c, "image"), under(r.index(under(at, list), i), "image"))
		}
	}
	for i, v := range sequence(field(n, "volumes")) {
		place := under(under(r.index(under(at, "volumes"), i), "image"), "reference")
		r.image(&p, field(field(v, "image"), "reference"), place)
	}
	return p
}

// image takes the name of an image. None is none: an admission webhook, or a controller, may set it.
func (r *reader) image(p *Pod, n *yaml.Node, at Place) {
	r.images++
	if n == nil || n.Kind == yaml.ScalarNode && (n.Value == "" || n.Tag == "!!null") {
		return
	}
	at = r.place(at, n)
	if n.Kind != yaml.ScalarNode {
		r.errs = append(r.errs, &Error{at, errors.New("is not the name of an image")})
		return
	}
	image, err := registry.ParseImage(n.Value)
	if err != nil {
		r.errs = append(r.errs, &Error{at, err})
		return
	}
	p.Images = append(p.Images, Image{n.Value, image, at})
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

// field returns what a mapping has under the name, directly or by a merge key (<<); nil if there is nothing.
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

// resolve returns what an alias stands for.
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
