package subjects_test

import (
	"context"
	"fmt"
	"os"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/subjects"
	"github.com/regcred/regcred/registry"
)

// A program lists which of its tokens a profile may use. All else is denied.
func ExampleSet() {
	_ = os.Setenv("REGISTRY_ID_TOKEN", "eyJhbGciOi...") // A CI job has it.
	tokens := subjects.Set{
		Environment: []string{"REGISTRY_ID_TOKEN"},
		Sources: map[string]subjects.Func{
			"spiffe": func(_ context.Context, audience string) (credentials.Secret, error) {
				return credentials.NewSecret("a JWT-SVID for " + audience), nil
			},
		},
	}
	for _, s := range []credentials.Subject{{Environment: "REGISTRY_ID_TOKEN"}, {Source: "spiffe"}, {Environment: "AWS_SECRET_ACCESS_KEY"}, {File: "/etc/shadow"}} {
		token, err := tokens.SubjectToken(context.Background(), providers.SubjectRequest{Subject: s, Audience: "https://quay.io"})
		fmt.Printf("%s: %t %q\n", s, token.Len() > 0, registry.CodeOf(err))
	}
	// What the Set returns is the identity of the program, and not of a tenant.
	_, err := tokens.SubjectToken(context.Background(), providers.SubjectRequest{
		Profile: registry.Profile{Tenant: "acme"}, Subject: credentials.Subject{Source: "spiffe"}, Audience: "https://quay.io",
	})
	fmt.Println(err)
	// Output:
	// environment variable REGISTRY_ID_TOKEN: true ""
	// source spiffe: true ""
	// environment variable AWS_SECRET_ACCESS_KEY: false "denied"
	// file /etc/shadow: false "denied"
	// get subject token of source spiffe: denied: tenant "acme" may not use the identity of this program; hint: use a subject that this program provides
}
