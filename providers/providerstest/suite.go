// Package providerstest tests implementations of [providers.Provider], and has a fake provider for the tests of
// programs that use one.
//
// [TestProvider] tests the contract, rule by rule: call it from the test of a custom provider. [Fake] is a provider
// with configurable credentials, delays and failures.
//
// The package has no issuers: set the fields of [Fixture] to providers with test issuers. Packages ecr/ecrtest and
// gcr/gcrtest simulate the issuers of AWS and Google Cloud.
package providerstest

import (
	"testing"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// A Fixture is a provider under test, with the data that the test needs.
type Fixture struct {
	// Provider is the provider under test.
	Provider providers.Provider

	// Profiles are profiles that the provider issues a credential for: at least one, preferably one for each form of
	// login, and two that differ only in the login. Each of their secrets is empty or has at least 8 bytes, so that the
	// test can recognize it in the text of an error.
	Profiles []registry.Profile

	// Invalid are profiles that the provider rejects without a network call, although [registry.Profile.Validate]
	// accepts them. May be empty.
	Invalid []registry.Profile

	// Failing is the same provider with an issuer that rejects every login. If nil, the provider makes no network call.
	Failing providers.Provider

	// Stalled is the same provider with an issuer that accepts requests and never responds. If nil, the provider makes
	// no network call.
	Stalled providers.Provider

	// Check returns an error if a credential is wrong for the profile: because it belongs to another login, or its
	// ExpiresAt is not the expiry that the issuer reported. If nil, each valid credential is accepted.
	Check func(p registry.Profile, c credentials.Credential) error
}

// TestProvider tests that a provider follows the contract of [providers.Provider] and, if it implements them, the
// contracts of [providers.Scoper] and [providers.Validator]. Each rule is a subtest that is named after it. Run it
// with the race detector.
func TestProvider(t *testing.T, fx Fixture) {
	t.Helper()
	if err := fx.check(); err != nil {
		t.Fatalf("the subject of the test: %v", err)
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if err := r.broken(t.Context(), fx); err != nil {
				t.Error(err)
			}
		})
	}
}
