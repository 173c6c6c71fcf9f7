// Package providerstest holds implementations of [providers.Provider] to its contract, and has a provider for the tests
// of programs that use one.
//
// [TestProvider] is the contract, rule by rule: call it from a test of a provider of one's own. [Fake] is a provider
// whose answers, delays and failures a test chooses.
//
// It does not know what an issuer would answer: [Subject] has a function for that. Stand-ins for issuers are in
// packages ecr/ecrtest and gcr/gcrtest.
package providerstest

import (
	"testing"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// A Subject is a provider under test, with what the test must know about it.
type Subject struct {
	// Provider is what is tested.
	Provider providers.Provider

	// Profiles are profiles that it issues a credential for: one at least, better one for each form of login, and two
	// that differ in nothing but the login. Their secrets have 8 bytes or more, or none, so that one is
	// recognised in the text of an error.
	Profiles []registry.Profile

	// Refused are profiles that it refuses as such, without asking anybody, though [registry.Profile.Validate] does
	// not. Empty means that there are none.
	Refused []registry.Profile

	// Failing is a provider like the first whose issuer refuses every login. Nil means that it asks nobody.
	Failing providers.Provider

	// Stalled is a provider like the first whose issuer takes the question and never answers. Nil means that it asks
	// nobody.
	Stalled providers.Provider

	// Check reports what is wrong with a credential that was issued for one of the profiles: that it belongs to another
	// login, or that its ExpiresAt is not the issuer's own instant. Nil means that each valid one is right.
	Check func(p registry.Profile, c credentials.Credential) error
}

// TestProvider tests that a provider keeps the contract of [providers.Provider], and those of [providers.Scoper] and
// [providers.Validator] if it has them. Each rule is a subtest with its name. Run it with the race detector.
func TestProvider(t *testing.T, s Subject) {
	t.Helper()
	if err := s.check(); err != nil {
		t.Fatalf("the subject of the test: %v", err)
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if err := r.broken(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
}
