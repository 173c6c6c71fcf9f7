package ecr_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/subjects"
	"github.com/regcred/regcred/registry"
)

// The provider accepts the profiles in the guide.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/ecr.md")
	require.NoError(t, err)
	const rest = `{"name": "a", "kind": "ecr", `
	const login = `, "login": {"ambient": true}`
	const endpoint = `"endpoint": "123456789012.dkr.ecr.eu-central-1.amazonaws.com", `
	profiles := 0
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(guide), -1) {
		text := strings.NewReplacer("AKIA...", "AKIA0000", `": "..."`, `": "secret"`).Replace(block[1])
		switch {
		case strings.HasPrefix(text, `"login"`):
			text = rest + endpoint + text + "}"
		case strings.HasPrefix(text, `"endpoint"`):
			text = rest + text + login + "}"
		case !strings.HasPrefix(text, `{"name"`):
			continue // A policy.
		}
		list, err := registry.DecodeProfiles([]byte(text))
		require.NoError(t, err, text)
		require.NoError(t, providers.Validate(ecr.Provider{SubjectTokens: []string{"/var/run/secrets/token"}, Subjects: subjects.Set{}}, list[0]), text)
		profiles++
	}
	require.Greater(t, profiles, 5)
}
