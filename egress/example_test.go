package egress_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/regcred/regcred/egress"
)

// A policy of a platform whose own registry is in the network 10.20.0.0/16.
func ExamplePolicy() {
	policy := &egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}}
	for _, address := range []string{"203.0.114.7:443", "10.20.0.5:443", "10.0.0.1:443", "127.0.0.1:443", "169.254.169.254:80"} {
		to := netip.MustParseAddrPort(address)
		fmt.Printf("%s (%s): allowed %t\n", address, egress.ZoneOf(to.Addr()), policy.CheckAddr(to) == nil)
	}
	// Output:
	// 203.0.114.7:443 (public): allowed true
	// 10.20.0.5:443 (private): allowed true
	// 10.0.0.1:443 (private): allowed false
	// 127.0.0.1:443 (loopback): allowed false
	// 169.254.169.254:80 (link-local): allowed false
}

// The policy is evaluated when a connection is made, with the address that the host name has at that time.
func ExamplePolicy_Apply() {
	server := httptest.NewTLSServer(http.NotFoundHandler()) // Something that listens on this machine.
	defer server.Close()

	transport := &http.Transport{}
	(&egress.Policy{}).Apply(transport)
	_, err := (&http.Client{Transport: transport}).Get(server.URL)
	fmt.Println(errors.Is(err, egress.ErrForbidden))
	// Output:
	// true
}
