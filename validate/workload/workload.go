package workload

import (
	"errors"
	"fmt"
	"strings"

	"github.com/regcred/regcred/registry"
)

// An Image is the name of an image, and its place.
type Image struct {
	// Name is the name as written in the manifest. Image is the parsed name.
	Name  string
	Image registry.Image
	Place Place
}

// A Pod is the spec of a pod, or of the pods that a workload creates.
type Pod struct {
	// Place is the place of the spec.
	Place Place
	// Images are the images of its init containers, containers, ephemeral containers and image volumes.
	Images []Image
	// ServiceAccount is the name in the spec; empty means "default".
	ServiceAccount string
	// PullSecrets are the names of the imagePullSecrets of the spec. The service account's pull secrets are not included.
	PullSecrets []string
}

// A Place is a place in a manifest.
type Place struct {
	// Document is the number of the document and Line the line in the whole manifest; both count from one. A zero Line
	// means that the line is not known.
	Document, Line int
	// Kind, Namespace and Name identify the object. For an object without a name, Name is its generateName. Namespace
	// is empty if the manifest has none.
	Kind, Namespace, Name string
	// Path is the path in the object: "spec.template.spec.initContainers[0].image".
	Path string
}

// String returns the place in one line: "Deployment shop/web, spec.template.spec.containers[0].image, line 12".
func (p Place) String() string {
	var parts []string
	if p.Kind != "" {
		object := p.Kind
		switch {
		case p.Namespace != "" && p.Name != "":
			object += " " + p.Namespace + "/" + p.Name
		case p.Name != "":
			object += " " + p.Name
		}
		parts = append(parts, object)
	}
	if p.Path != "" {
		parts = append(parts, p.Path)
	}
	if p.Line > 0 {
		parts = append(parts, fmt.Sprintf("line %d", p.Line))
	} else {
		parts = append(parts, fmt.Sprintf("document %d", p.Document))
	}
	return strings.Join(parts, ", ")
}

// An Error is a problem at a place of a manifest. It quotes nothing of the manifest except the name of an image.
type Error struct {
	Place Place
	Err   error
}

// Error returns the place and the problem in one line.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Place, e.Err) }

// Unwrap returns the problem, and [registry.ErrInvalid], which is the code of a manifest that cannot be used.
func (e *Error) Unwrap() []error { return []error{e.Err, registry.ErrInvalid} }

// Limits for a manifest. Kubernetes itself accepts no object larger than some 3 MiB.
const (
	maxSize  = 64 << 20
	maxNodes = 2 << 20 // Including nodes that aliases repeat: a few lines of YAML can expand to billions.
	maxDepth = 200
	// maxImages is the number of containers in the largest cluster that Kubernetes supports: 150,000 pods with two each.
	maxImages = 300_000
)

// ErrManifestTooLarge reports a manifest that is larger, or expands to more, than any honest one. It is a
// [registry.ErrInvalid].
var ErrManifestTooLarge error = tooLarge{}

type tooLarge struct{}

func (tooLarge) Error() string { return "manifest is too large" }
func (tooLarge) Unwrap() error { return registry.ErrInvalid }

// Images returns all images of a manifest, in the order of the manifest. An image in several places is returned several
// times.
//
// The error joins an [Error] for each problem: text that is not YAML, a document that is no Kubernetes object, such as
// a compose file, a workload of Kubernetes itself without containers, a container of such a workload without a name or
// an image, an invalid image name. The images that could be read are returned beside it.
//
// A manifest without any image is no error. A program that checks its input should treat it as one, because a failed
// template leaves an empty manifest.
func Images(manifest []byte) ([]Image, error) {
	pods, err := Pods(manifest)
	var images []Image
	for _, p := range pods {
		images = append(images, p.Images...)
	}
	return images, err
}

// Pods returns all pod specs of a manifest, in the order of the manifest. The errors are as for [Images].
func Pods(manifest []byte) ([]Pod, error) {
	if len(manifest) > maxSize {
		return nil, ErrManifestTooLarge
	}
	r := &reader{}
	for d, err := range documents(manifest) {
		if err != nil {
			r.errs = append(r.errs, err)
			break
		}
		r.document, r.offset = d.number, d.offset
		r.root(d.root)
		if err := r.walk(d.root, Place{}, 0); err != nil {
			r.errs = append(r.errs, err)
			break
		}
	}
	return r.pods, errors.Join(r.errs...)
}
