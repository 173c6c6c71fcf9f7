// Package v1alpha1 has the custom resource of the operator: RegistryProfile.
//
// +kubebuilder:object:generate=true
// +groupName=regcred.github.io
package v1alpha1

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/scheme"
)

//go:generate go tool controller-gen object crd paths=. output:crd:dir=../../config/crd

// GroupVersion is that of the resources here.
var GroupVersion = schema.GroupVersion{Group: "regcred.github.io", Version: "v1alpha1"}

// AddToScheme makes the resources known to a client.
func AddToScheme(s *runtime.Scheme) error {
	builder := scheme.Builder{GroupVersion: GroupVersion}
	return builder.Register(&RegistryProfile{}, &RegistryProfileList{}).AddToScheme(s)
}
