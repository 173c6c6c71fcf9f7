package pullsecret_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/pullsecret"
)

const goodConfig = `{"auths":{"h.example.com":{"auth":"dTpw"}}}`

// An API server accepts these configs, a kubelet finds no login in them, and Lint used to report nothing. Threads:
// kubernetes/kubernetes#499 and #12626 (the old form under the new key), distribution of whole manifests.
func TestLintOfNoAuths(t *testing.T) {
	for name, text := range map[string]string{
		"the older form":         `{"https://index.docker.io/v1/":{"auth":"dTpw","email":"a@b.c"}}`,
		"the older form, host":   `{"h.example.com":{"auth":"dTpw"}}`,
		"a whole manifest":       `{"apiVersion":"v1","kind":"Secret","data":{".dockerconfigjson":"e30="}}`,
		"the data of a manifest": `{".dockerconfigjson":"` + base64.StdEncoding.EncodeToString([]byte(goodConfig)) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := pullsecret.Parse([]byte(text))
			require.NoError(t, err)
			require.NotEmpty(t, c.Lint(time.Now()))
		})
	}
}

// The usual ways to damage the text used to be reported as "not JSON, at byte 1". Threads:
// hashicorp/terraform-provider-kubernetes#145, SparebankenVest/azure-key-vault-to-kubernetes#90,
// zakkg3/ClusterSecret#44.
func TestParseSaysWhatItLooksLike(t *testing.T) {
	for name, tc := range map[string]struct{ text, says string }{
		"base64 twice":    {base64.StdEncoding.EncodeToString([]byte(goodConfig)), "base64"},
		"byte order mark": {"\ufeff" + goodConfig, "byte order mark"},
		"UTF-16":          {"\xff\xfe{\x00}\x00", "UTF-16"},
		"JSON in quotes":  {`"` + strings.ReplaceAll(goodConfig, `"`, `\"`) + `"`, "quotes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pullsecret.Parse([]byte(tc.text))
			require.ErrorContains(t, err, tc.says)
		})
	}
}

// No image can have these hosts, so the keys never match.
func TestLintOfHostsThatNoImageHas(t *testing.T) {
	for _, key := range []string{"ghcr.io.", "my_registry:5000", "my_registry.example.com", "bücher.example", "-a.example.com"} {
		c, err := pullsecret.Parse([]byte(`{"auths":{"` + key + `":{"auth":"dTpw"}}}`))
		require.NoError(t, err)
		findings := c.Lint(time.Now())
		if len(findings) == 0 || findings[0].Rule != pullsecret.NeverMatches {
			t.Errorf("%s: %v", key, findings)
		}
	}
}

// A star within a label does not match a dot: this key matches foomy-registry.io, and neither sub-domains of
// my-registry.io nor my-registry.io itself, as the documentation of Kubernetes once claimed. Thread:
// kubernetes/kubernetes#119941.
func TestLintOfAStarThatSpansDots(t *testing.T) {
	c, err := pullsecret.Parse([]byte(`{"auths":{"*my-registry.io":{"auth":"dTpw"}}}`))
	require.NoError(t, err)
	require.NotEmpty(t, c.Lint(time.Now()))
}

// White space and marks at an end of the user name break a login, like those of the password.
func TestLintOfUsernames(t *testing.T) {
	for _, pair := range []string{"u\n:p", " u:p", "u :p", "\ufeffu:p", "u:\ufeffp", "u:p\x00"} {
		c, err := pullsecret.Parse([]byte(`{"auths":{"h.example.com":{"auth":"` + base64.StdEncoding.EncodeToString([]byte(pair)) + `"}}}`))
		require.NoError(t, err)
		if len(c.Lint(time.Now())) == 0 {
			t.Errorf("%q: nothing found", pair)
		}
	}
}

// Line breaks within base64 do not count as missing padding: docker's decoder skips them too. Threads:
// sse-secure-systems/connaisseur#546, #550 (base64 of a long token, wrapped at 76).
func TestUnpaddedOfWrapped(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("u:" + strings.Repeat("x", 100)))
	require.Zero(t, len(auth)%4)
	c, err := pullsecret.Parse([]byte(`{"auths":{"h.example.com":{"auth":"` + auth[:76] + `\n` + auth[76:] + `"}}}`))
	require.NoError(t, err)
	for _, f := range c.Lint(time.Now()) {
		require.NotEqual(t, pullsecret.Unpadded, f.Rule, "%s", f)
	}
}

// The hint for the most frequent mistake must not lead to docker.io/v1. Thread: buildpacks/lifecycle#608.
func TestHintOfHubWithoutSlash(t *testing.T) {
	c, err := pullsecret.Parse([]byte(`{"auths":{"https://index.docker.io/v1":{"auth":"dTpw"}}}`))
	require.NoError(t, err)
	require.NotContains(t, c.Lint(time.Now())[0].Hint, "docker.io/v1 for a part")
}
