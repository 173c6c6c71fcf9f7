package gcr_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/subjects"
	"github.com/regcred/regcred/registry"
)

// The provider accepts the profiles in the guide.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/gcr.md")
	require.NoError(t, err)
	const rest = `{"name": "a", "kind": "gcr", "endpoint": "gcr.io", `
	key, err := json.Marshal(newGoogle().NewKey(puller).Reveal())
	require.NoError(t, err)
	federation, err := json.Marshal(external(map[string]any{"file": "/var/run/secrets/token"}, nil).Google.Credentials.Reveal())
	require.NoError(t, err)
	profiles := 0
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(guide), -1) {
		text := strings.NewReplacer(
			`"{\"type\": \"service_account\", ...}"`, string(key), `"{\"type\": \"external_account\", ...}"`, string(federation),
		).Replace(block[1])
		if strings.HasPrefix(text, `"login"`) {
			text = rest + text + "}"
		}
		list, err := registry.DecodeProfiles([]byte(text))
		require.NoError(t, err, text)
		require.NoError(t, providers.Validate(gcr.Provider{SubjectTokens: []string{"/var/run/secrets/token"}, Subjects: subjects.Set{}}, list[0]), text)
		profiles++
	}
	require.Greater(t, profiles, 5)
}
