package mirrors_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
	"github.com/regcred/regcred/validate/mirrors"
)

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// plainOnly answers TLS as a server does that speaks plain HTTP only, and records the URLs that it serves.
func plainOnly(h http.Handler, served *[]string) http.RoundTripper {
	inner := registrytest.NewRoundTripper(h)
	return roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Scheme == "https" {
			return nil, tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake", RecordHeader: [5]byte([]byte("HTTP/"))}
		}
		*served = append(*served, req.URL.String())
		return inner.RoundTrip(req)
	})
}

// TestCheckSendsNoLoginInClearText has hosts at which the runtime would send a login over plain HTTP.
func TestCheckSendsNoLoginInClearText(t *testing.T) {
	const certs = "--- etc/containerd/certs.d/origin.example.com/hosts.toml\n"
	for _, test := range []struct {
		name, files string
		runtime     mirrors.Runtime
		candidates  []validate.Candidate
	}{
		{"http in hosts.toml", containerd2Conf + certs + "server = \"http://origin.example.com\"", mirrors.Containerd2, []validate.Candidate{candidate("ann", "origin")}},
		{"http after TLS", containerd2Conf + certs + "server = \"http://origin.example.com:5000\"\nskip_verify = true", mirrors.Containerd2, []validate.Candidate{candidate("ann", "origin")}},
		{"insecure", "--- etc/containers/registries.conf\n[[registry]]\nlocation = \"origin.example.com\"\ninsecure = true", mirrors.CRIO, []validate.Candidate{candidate("ann", "origin")}},
		{"insecure-registries", "--- etc/docker/daemon.json\n{\"insecure-registries\": [\"origin.example.com\"]}", mirrors.Docker, []validate.Candidate{candidate("ann", "origin")}},
		{"a login of the node", "--- etc/containers/registries.conf\n[[registry]]\nlocation = \"origin.example.com\"\ninsecure = true\n" +
			"--- run/containers/0/auth.json\n{\"auths\":{\"origin.example.com\":{\"auth\":\"YW5uOm9yaWdpbg==\"}}}", mirrors.CRIO, nil},
		{"a header", containerd2Conf + certs + "server = \"http://origin.example.com\"\n[header]\nAuthorization = \"Basic YW5uOm9yaWdpbg==\"", mirrors.Containerd2, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var served []string
			checker := mirrors.Checker{NodeLogins: true, RoundTripper: plainOnly(site(t, registrytest.Dialect{}, "ann", "origin"), &served)}
			node := read(t, test.files)
			route := node.Route(test.runtime, image(t, "origin.example.com/team/app:1"), test.candidates != nil)
			result, err := checker.Check(t.Context(), node, route, test.candidates...)
			require.ErrorIs(t, err, registry.ErrInsecure)
			require.ErrorContains(t, err, "Checker.PlainHTTP")
			require.Equal(t, validate.Unknown, result.Pulls)
			require.False(t, result.Hops[0].Checked)
			require.Empty(t, served)

			checker.PlainHTTP = true
			result, err = checker.Check(t.Context(), node, route, test.candidates...)
			require.NoError(t, err)
			require.Equal(t, validate.Yes, result.Pulls)
		})
	}
}

// TestCheckWithoutLoginOverPlainHTTP has a host without a login, which needs no permission.
func TestCheckWithoutLoginOverPlainHTTP(t *testing.T) {
	closed := site(t, registrytest.Dialect{}, "ann", "origin")
	open := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.SetBasicAuth("ann", "origin")
		closed.ServeHTTP(w, req)
	})
	var served []string
	checker := mirrors.Checker{RoundTripper: plainOnly(open, &served)}
	node := read(t, "--- etc/containers/registries.conf\n[[registry]]\nlocation = \"origin.example.com\"\ninsecure = true")
	result, err := checker.Check(t.Context(), node, node.Route(mirrors.CRIO, image(t, "origin.example.com/team/app:1"), false))
	require.NoError(t, err)
	require.Equal(t, validate.Yes, result.Pulls)
	require.NotEmpty(t, served)
}

// TestCheckHonorsTimeout has a host that never responds, and that the runtime would try without TLS too.
func TestCheckHonorsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, context.Cause(req.Context())
		})
		checker := mirrors.Checker{Timeout: time.Second, RoundTripper: silent}
		node := read(t, "--- etc/containers/registries.conf\n[[registry]]\nlocation = \"origin.example.com\"\ninsecure = true")
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		_, err := checker.Check(ctx, node, node.Route(mirrors.CRIO, image(t, "origin.example.com/team/app:1"), false))
		require.ErrorIs(t, err, registry.ErrTimeout)
		require.Less(t, time.Since(start), time.Minute)
	})
}

// TestLoopbackHostNamesPlainTokenServer has a host of this machine with a token server elsewhere, over plain HTTP.
func TestLoopbackHostNamesPlainTokenServer(t *testing.T) {
	n := &network{hosts: map[string]http.Handler{"127.0.0.1:5000": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://auth.example.com/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	})}}
	var served []string
	checker := mirrors.Checker{RoundTripper: plainOnly(n, &served), Trusted: []string{"auth.example.com"}}
	node := read(t, "")
	route := node.Route(mirrors.Containerd2, image(t, "127.0.0.1:5000/team/app:1"), true)
	result, err := checker.Check(t.Context(), node, route, candidate("ann", "origin"))
	require.ErrorIs(t, err, registry.ErrInsecure)
	require.Equal(t, validate.Unknown, result.Pulls)
	require.NotEmpty(t, served)
	require.NotContains(t, strings.Join(n.log, "\n"), "auth.example.com")

	checker.NodeLogins = true
	node = read(t, containerd2Conf+"--- etc/containerd/certs.d/127.0.0.1_5000_/hosts.toml\nserver = \"http://127.0.0.1:5000\"\n[header]\nAuthorization = \"Basic YW5uOm9yaWdpbg==\"")
	result, err = checker.Check(t.Context(), node, node.Route(mirrors.Containerd2, image(t, "127.0.0.1:5000/team/app:1"), false))
	require.ErrorIs(t, err, registry.ErrInsecure)
	require.Equal(t, validate.Unknown, result.Pulls)
	require.NotContains(t, strings.Join(n.log, "\n"), "auth.example.com")
}
