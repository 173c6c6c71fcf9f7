package issuertest_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/regcred/regcred/providers/issuertest"
)

// A server in a test verifies tokens for real: a token for another recipient is rejected.
func Example() {
	cluster := issuertest.New("https://oidc.example.com/cluster", issuertest.ES256)
	trust := issuertest.Trust{
		Issuer: cluster.URL, Keys: cluster.JWKS, Audiences: []string{"https://zot.example.com"}, Subject: "system:serviceaccount:shop:*",
	}
	token, err := trust.Verify(cluster.Token("system:serviceaccount:shop:puller", "https://zot.example.com", time.Hour))
	fmt.Println(token.Subject, err)
	_, err = trust.Verify(cluster.Token("system:serviceaccount:shop:puller", "https://quay.io", time.Hour))
	fmt.Println(errors.Is(err, issuertest.ErrAudience))

	// The cluster's keys change, and the old ones are withdrawn.
	old := cluster.Token("system:serviceaccount:shop:puller", "https://zot.example.com", time.Hour)
	cluster.Rotate()
	_, err = trust.Verify(old)
	fmt.Println(err)
	cluster.Forget()
	_, err = trust.Verify(old)
	fmt.Println(err)
	// Output:
	// system:serviceaccount:shop:puller <nil>
	// true
	// <nil>
	// the signature is wrong
}
