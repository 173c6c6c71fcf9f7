package workload

import (
	"errors"
	"fmt"
	"strings"

	"github.com/regcred/regcred/registry"
)

// An Image is the name of an image, and the place where it stands.
type Image struct {
	// Name is the name as it stands there. Image is the same, read.
	Name  string
	Image registry.Image
	Place Place
}

// A Pod is the spec of a pod, or of the pods that something makes.
type Pod struct {
	// Place is where the spec stands.
	Place Place
	// Images are those of its init containers, containers, ephemeral containers and image volumes.
	Images []Image
	// ServiceAccount is the name that the spec has; empty means "default".
	ServiceAccount string
	// PullSecrets are the names of the imagePullSecrets of the spec. Those of the service account are not among them.
	PullSecrets []string
}

// A Place is a place in a manifest.
type Place struct {
	// Document is the number of the document and Line the line in the whole manifest; both count from one. A zero Line
	// is not known.
	Document, Line int
	// Kind, Namespace and Name are those of the object. An object without a name has its generateName, and a namespace
	// that is not written is empty.
	Kind, Namespace, Name string
	// Path is where in the object: "spec.template.spec.initContainers[0].image".
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

// An Error is what is wrong at a place of a manifest. It quotes nothing of the manifest but the name of an image.
type Error struct {
	Place Place
	Err   error
}

// Error returns both in one line.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Place, e.Err) }

// Unwrap returns what is wrong, and [registry.ErrInvalid], which is the code of a manifest that cannot be used.
func (e *Error) Unwrap() []error { return []error{e.Err, registry.ErrInvalid} }

// Limits for a manifest. Kubernetes itself takes no object beyond some 3 MiB.
const (
	maxSize  = 64 << 20
	maxNodes = 2 << 20 // With what aliases repeat: a few lines of YAML can stand for billions.
	maxDepth = 200
	// maxImages is as many as the containers of the largest cluster that Kubernetes is made for: 150,000 pods of two.
	maxImages = 300_000
)

// ErrManifestTooLarge is a manifest that is larger, or stands for more, than any honest one. It is a
// [registry.ErrInvalid].
var ErrManifestTooLarge error = tooLarge{}

type tooLarge struct{}

func (tooLarge) Error() string { return "manifest is too large" }
func (tooLarge) Unwrap() error { return registry.ErrInvalid }

// Images returns all images of a manifest, in the order in which they stand there; one that stands in several places is
// there several times.
//
// The error joins an [Error] for each thing that is wrong: text that is not YAML, a document that is no object of
// Kubernetes, such as a compose file, a workload of Kubernetes itself without containers, a container of it without a
// name or an image, a name that is not that of an image. What could be read is returned beside it.
//
// A manifest without any image is no error: a program that checks what it was given should treat it as one, because it
// is what a template that failed leaves.
func Images(manifest []byte) ([]Image, error) {
	pods, err := Pods(manifest)
	var images []Image
	for _, p := range pods {
		images = append(images, p.Images...)
	}
	return images, err
}

// Pods returns all specs of pods of a manifest, in the order in which they stand there. The error is as for [Images].
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
