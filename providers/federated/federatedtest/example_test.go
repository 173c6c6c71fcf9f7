package federatedtest_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/regcred/regcred/providers/federated/federatedtest"
	"github.com/regcred/regcred/providers/issuertest"
)

// A server verifies tokens as its vendor does. Quay does not accept the keys of every cluster.
func Example() {
	const subject = "system:serviceaccount:shop:puller"
	for _, algorithm := range []issuertest.Algorithm{issuertest.RS256, issuertest.ES256} {
		cluster := issuertest.New("https://oidc.example.com/cluster", algorithm)
		quay := &federatedtest.Server{Trust: issuertest.Trust{Issuer: cluster.URL, Keys: cluster.JWKS, Subject: subject}, Name: "acme+shop"}
		request, err := http.NewRequest(http.MethodGet, "https://quay.io/oauth2/federation/robot/token", nil)
		if err != nil {
			panic(err)
		}
		request.SetBasicAuth("acme+shop", cluster.Token(subject, "https://quay.io", 10*time.Minute))
		response, err := (&http.Client{Transport: quay.RoundTripper()}).Do(request)
		if err != nil {
			panic(err)
		}
		_ = response.Body.Close()
		fmt.Println(algorithm, response.StatusCode, quay.Log())
	}
	// Output:
	// RS256 200 [GET quay.io/oauth2/federation/robot/token 200]
	// ES256 400 [GET quay.io/oauth2/federation/robot/token 400]
}
