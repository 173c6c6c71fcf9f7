package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"

	"github.com/regcred/regcred/registry"
)

// trustBundleVersions are the versions of the API that have ClusterTrustBundles, in order of preference.
var trustBundleVersions = []string{"v1", "v1beta1", "v1alpha1"}

// TrustBundle returns the certificates of a ClusterTrustBundle in PEM, for [registry.TransportConfig.CABundle], so
// that pods and profiles of a cluster use the same certificate authorities. It reads the object once; call it again
// when profiles are read, so that changes are noticed. The program needs the right to get clustertrustbundles in the
// group certificates.k8s.io.
//
// The error is a [registry.Error]: [registry.ErrNotYet] if there is no such object, or the cluster serves no version
// of its API; [registry.ErrDenied]; [registry.ErrClusterUnavailable]; [registry.ErrInvalid] for a bundle that is not
// valid in a profile.
func TrustBundle(ctx context.Context, client kubernetes.Interface, name string) (string, error) {
	fail := func(code registry.Code, hint string, err error) (string, error) {
		return "", &registry.Error{Op: "read cluster trust bundle", Ref: fmt.Sprintf("%q", name), Code: code, Hint: hint, Err: err}
	}
	var err error
	for _, version := range trustBundleVersions {
		path := "/apis/certificates.k8s.io/" + version + "/clustertrustbundles/" + url.PathEscape(name)
		var data []byte
		if data, err = client.Discovery().RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json").DoRaw(ctx); err == nil {
			var object struct {
				Spec struct {
					TrustBundle string `json:"trustBundle"`
				} `json:"spec"`
			}
			if err := json.Unmarshal(data, &object); err != nil {
				return fail(registry.ErrClusterUnavailable, "", errors.New("the API responded with another object"))
			}
			if err := (registry.TransportConfig{CABundle: object.Spec.TrustBundle}).Validate(); err != nil || object.Spec.TrustBundle == "" {
				return fail(registry.ErrInvalid, "correct spec.trustBundle of the object: certificates in PEM", err)
			}
			return object.Spec.TrustBundle, nil
		}
		if !apierrors.IsNotFound(err) {
			break // A version that is not served is reported as not found.
		}
	}
	switch {
	case ctx.Err() != nil:
		return fail(registry.ErrCanceled, "", context.Cause(ctx))
	case apierrors.IsNotFound(err):
		return fail(registry.ErrNotYet, "create the ClusterTrustBundle, and check that the cluster serves certificates.k8s.io with it", nil)
	case apierrors.IsForbidden(err):
		return fail(registry.ErrDenied, "allow this program to get clustertrustbundles in the group certificates.k8s.io", err)
	}
	return fail(registry.ErrClusterUnavailable, "", err)
}
