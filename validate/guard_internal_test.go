package validate

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/egress"
)

// The guard checks the address of the connection: a harmless name may resolve to this machine.
func TestGuardedTransport(t *testing.T) {
	var asked atomic.Int32
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer victim.Close()
	var c Checker
	defer c.CloseIdleConnections()
	way := &http.Transport{}
	for from, want := range map[egress.Zone]int32{egress.Public: 0, egress.Private: 0, egress.LinkLocal: 0, egress.Loopback: 1} {
		asked.Store(0)
		// localhost represents any name here: the guard does not check it.
		req := httptest.NewRequest(http.MethodGet, strings.Replace(victim.URL, "127.0.0.1", "localhost", 1), nil)
		req.RequestURI = ""
		res, err := c.guardedTransport(way, nil, from).RoundTrip(req)
		if err == nil {
			require.NoError(t, res.Body.Close())
		} else {
			require.ErrorIs(t, err, errForbiddenAddress)
		}
		require.Equal(t, want, asked.Load())
	}
}

func TestSameSite(t *testing.T) {
	for pair, want := range map[string]bool{
		"registry-1.docker.io auth.docker.io": true,
		"registry.gitlab.com gitlab.com":      true,
		"gitlab.com registry.gitlab.com":      true,
		"a.example.co.uk b.example.co.uk":     true,
		"example.co.uk evil.co.uk":            false,
		"example.com evil.com":                false,
		"a.com com":                           false,
		"a.b.example.com c.example.com":       false,
		"10.0.0.1 11.0.0.1":                   false,
		"10.0.0.1 10.0.0.1":                   true,
		"registry.example.com notexample.com": false,
		"a.k12.ca.us b.k12.ca.us":             false,
		"ann.github.io eve.github.io":         false,
		"ann.azurecr.io eve.azurecr.io":       false,
		"ann.jfrog.io eve.jfrog.io":           false,
		"ann.azurecr.io azurecr.io":           false,
		"a.ann.jfrog.io b.ann.jfrog.io":       true,
		"111111111111.dkr.ecr.us-east-1.amazonaws.com 222222222222.dkr.ecr.us-east-1.amazonaws.com": false,
		"111111111111.dkr.ecr.us-east-1.amazonaws.com api.ecr.us-east-1.amazonaws.com":              false,
		"111111111111.dkr-ecr.us-east-1.on.aws 222222222222.dkr-ecr.us-east-1.on.aws":               false,
		"ann.gra7.container-registry.ovh.net eve.gra7.container-registry.ovh.net":                   false,
		"ann-registry.cn-hangzhou.cr.aliyuncs.com eve-registry.cn-hangzhou.cr.aliyuncs.com":         false,
		"r.10.0.0.1.nip.io evil.nip.io":                   false,
		"registry.example.co.uk auth.example.co.uk":       true,
		"registry.company.internal auth.company.internal": true,
		"registry.internal evil.internal":                 false,
		"registry.corp auth.corp":                         false,
	} {
		a, b, _ := strings.Cut(pair, " ")
		require.Equal(t, want, SameSite(a, b), pair)
	}
}
