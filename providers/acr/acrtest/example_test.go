package acrtest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/regcred/regcred/providers/acr/acrtest"
)

// Any client of Azure works with the simulation: here, the two requests of a login with a client secret.
func Example() {
	azure := &acrtest.Azure{Apps: []acrtest.App{{TenantID: "acme.example", ClientID: "puller", Secret: "value", Pull: []string{"acme.azurecr.io/*"}}}}
	client := &http.Client{Transport: azure.RoundTripper()}
	post := func(to string, form url.Values) string {
		response, err := client.PostForm(to, form)
		if err != nil {
			panic(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, _ := io.ReadAll(response.Body)
		return string(body)
	}
	login := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"puller"}, "client_secret": {"value"}, "scope": {"https://containerregistry.azure.net/.default"},
	}
	fmt.Println(strings.Contains(post("https://login.microsoftonline.com/acme.example/oauth2/v2.0/token", login), `"access_token"`))

	// An app's secret has an ID and a value, and the ID is often pasted.
	login.Set("client_secret", "the-id-of-the-secret")
	fmt.Println(strings.Contains(post("https://login.microsoftonline.com/acme.example/oauth2/v2.0/token", login), "AADSTS7000215"))
	for _, line := range azure.Log() {
		fmt.Println(line)
	}
	// Output:
	// true
	// true
	// POST login.microsoftonline.com/acme.example/oauth2/v2.0/token 200
	// POST login.microsoftonline.com/acme.example/oauth2/v2.0/token 401
}
