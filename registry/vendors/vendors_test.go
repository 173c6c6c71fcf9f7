package vendors_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilestore"
	"github.com/regcred/regcred/registry/vendors"
)

func ExampleAll() {
	for _, v := range vendors.All()[:3] {
		fmt.Println(v.ID, "|", v.Name, "|", v.Format, "|", v.Logins[0].Name, v.Logins[0].Fields)
	}
	// Output:
	// system | System registry | HOST[:PORT][/PATH] | Account [login.username login.password]
	// dockerhub | Docker Hub | docker.io[/ORGANIZATION] | Access token [login.username login.password]
	// ecr | Amazon ECR | ACCOUNT.dkr.ecr.REGION.amazonaws.com[/PATH] | Identity of this program [login.ambient]
}

func TestVendors(t *testing.T) {
	ids, kinds := make(map[string]bool), make(map[registry.Kind]bool)
	for _, v := range vendors.All() {
		require.False(t, ids[v.ID], v.ID)
		ids[v.ID], kinds[v.Kind] = true, true
		require.NotEmpty(t, v.Name)
		require.NotEmpty(t, v.Format)

		for _, endpoint := range []string{v.Endpoint, v.Example} {
			if endpoint == "" {
				continue
			}
			e, err := registry.ParseEndpoint(endpoint)
			require.NoError(t, err, v.ID)
			if v.Kind != registry.System {
				require.Equal(t, v.Kind, registry.KindOf(e.Host), v.ID)
			}
			if v.Endpoint != "" {
				main, err := registry.ParseEndpoint(v.Endpoint)
				require.NoError(t, err)
				require.Equal(t, main.Host, e.Host, "the example is at the endpoint")
			}
		}

		// Each field is in the schema of the kind.
		require.NotEmpty(t, v.Logins)
		var schema map[string]any
		require.NoError(t, json.Unmarshal(profilestore.Schema(v.Kind), &schema))
		for _, l := range v.Logins {
			require.NotEmpty(t, l.Fields)
			for _, path := range l.Fields {
				require.True(t, has(schema, strings.Split(path, ".")), "%s: %s", v.ID, path)
			}
		}

		// The guide exists, with its section.
		file, anchor, _ := strings.Cut(strings.TrimPrefix(v.Guide, "https://github.com/regcred/regcred/blob/main/"), "#")
		text, err := os.ReadFile("../../" + file)
		require.NoError(t, err, v.ID)
		if anchor != "" {
			require.True(t, bytes.Contains(text, []byte("](#"+anchor+")")), "%s has no section %s", file, anchor)
		}
	}
	for _, kind := range []registry.Kind{registry.DockerHub, registry.ECR, registry.GCR, registry.System, registry.Custom} {
		require.True(t, kinds[kind], kind)
	}

	// Every vendor in the guide for custom registries is in the list.
	text, err := os.ReadFile("../../docs/custom.md")
	require.NoError(t, err)
	var all []string
	for _, v := range vendors.All() {
		all = append(all, v.Guide)
	}
	for _, m := range regexp.MustCompile(`\]\((#[a-z-]+)\)`).FindAllStringSubmatch(strings.SplitN(string(text), "\n## ", 2)[0], -1) {
		if m[1] != "#a-pull-through-cache" { // It is no vendor.
			require.Contains(t, strings.Join(all, " ")+" ", "custom.md"+m[1]+" ")
		}
	}
}

// has reports whether a schema has the field at the path.
func has(schema map[string]any, path []string) bool {
	if len(path) == 0 {
		return true
	}
	properties, _ := schema["properties"].(map[string]any)
	if sub, ok := properties[path[0]].(map[string]any); ok && has(sub, path[1:]) {
		return true
	}
	if sub, ok := schema["additionalProperties"].(map[string]any); ok && has(sub, path[1:]) {
		return true
	}
	forms, _ := schema["oneOf"].([]any)
	for _, form := range forms {
		if has(form.(map[string]any), path) {
			return true
		}
	}
	return false
}
