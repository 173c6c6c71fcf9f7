package kube_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

func TestTrustBundle(t *testing.T) {
	authority := httptest.NewTLSServer(nil)
	defer authority.Close()
	bundle := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate().Raw}))
	served, forbidden, text := "v1beta1", false, bundle
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := func(code int, reason string) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)
		}
		switch {
		case forbidden:
			status(http.StatusForbidden, "Forbidden")
		case !strings.HasPrefix(r.URL.Path, "/apis/certificates.k8s.io/"+served+"/clustertrustbundles/acme:ca:1"):
			status(http.StatusNotFound, "NotFound")
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"kind": "ClusterTrustBundle", "spec": map[string]string{"trustBundle": text}})
		}
	}))
	defer api.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: api.URL})
	require.NoError(t, err)

	for _, served = range []string{"v1", "v1beta1", "v1alpha1"} {
		got, err := kube.TrustBundle(t.Context(), client, "acme:ca:1")
		require.NoError(t, err, served)
		require.Equal(t, bundle, got)
	}
	_, err = kube.TrustBundle(t.Context(), client, "other")
	require.ErrorIs(t, err, registry.ErrNotYet)
	text = bundle[:len(bundle)/2] + "\n" + bundle
	_, err = kube.TrustBundle(t.Context(), client, "acme:ca:1")
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.ErrorContains(t, err, "cut off")
	forbidden = true
	_, err = kube.TrustBundle(t.Context(), client, "acme:ca:1")
	require.ErrorIs(t, err, registry.ErrDenied)
	require.Contains(t, registry.HintOf(err), "clustertrustbundles")
	api.Close()
	_, err = kube.TrustBundle(t.Context(), client, "acme:ca:1")
	require.ErrorIs(t, err, registry.ErrClusterUnavailable)
}
