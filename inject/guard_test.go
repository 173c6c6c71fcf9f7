package inject_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/registry"
)

// A panic of a function of the program is a problem, and does not end the process.
func TestPanicsAreProblems(t *testing.T) {
	for who, breaks := range map[string]func(s *inject.Syncer){
		"Syncer.OnChange": func(s *inject.Syncer) { s.OnChange = func(inject.Change, error) { panic("out of paper") } },
		"Syncer.Lookup":   func(s *inject.Syncer) { s.Lookup = func(registry.Profile) credentials.Entry { panic("out of paper") } },
		"Syncer.Adopt": func(s *inject.Syncer) {
			s.Adopt = func(registry.Profile, credentials.Credential) bool { panic("out of paper") }
		},
		"Syncer.OnAdopt": func(s *inject.Syncer) { s.OnAdopt = func(registry.Profile, string, string) { panic("out of paper") } },
		"Syncer.InUse": func(s *inject.Syncer) {
			s.InUse = func(context.Context, string, string) (bool, error) { panic("out of paper") }
		},
	} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, _, _, _ := cached(t, "a")
				w.syncer.AdoptionKey = sharedKey
				w.clean(in("one", "a"))
				time.Sleep(time.Second)
				lookup, credential := w.syncer.Lookup, w.syncer.Credential
				w.syncer = &inject.Syncer{
					Cluster: w.Cluster, AdoptionKey: sharedKey, Credential: credential, CompleteLists: true,
					Lookup: func(p registry.Profile) credentials.Entry { return credentials.Entry{Key: lookup(p).Key} },
					Adopt:  func(registry.Profile, credentials.Credential) bool { return true },
				}
				breaks(w.syncer)
				renamed := in("two", "a") // With the same profile, so that it is taken for a new name of the target.
				renamed.Profiles = in("one", "a").Profiles
				list := []inject.Target{in("one", "a"), in("more", "a")}
				if who == "Syncer.InUse" {
					list = []inject.Target{renamed, in("more", "a")}
				}
				result := w.sync(list...)
				require.ErrorContains(t, result.Err(), who+" panicked")
				require.NotNil(t, w.secret("a", "more"), "the pass goes on")
				require.NotNil(t, w.secret("a", "one"))
			})
		})
	}
}
