package field_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/field"
)

func TestRedact(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for text, want := range map[string]string{
		"":                              "",
		"ghcr.io/app:1":                 "ghcr.io/app:1",
		"https://ghcr.io:443/v2/":       "https://ghcr.io:443/v2/",
		"ghcr.io/app@" + digest:         "ghcr.io/app@" + digest,
		"https://ann:pw@ghcr.io/app":    "https://***@ghcr.io/app",
		"ann:pw@ghcr.io/app":            "***@ghcr.io/app",
		"ann@ghcr.io":                   "***@ghcr.io",
		"https://ann:p@ss/w@rd@ghcr.io": "https://***@ghcr.io",
		"https://ann:p://w@ghcr.io":     "https://***@ghcr.io",
		"ann:p://w@ghcr.io":             "***@ghcr.io",
		"SOCKS5://ann:pw@proxy:1080":    "SOCKS5://***@proxy:1080",
		"ann:pw@ghcr.io/app@" + digest:  "***@ghcr.io/app@" + digest,
		"ann:pw@sha256:short":           "***@sha256:short",
		"ann:pw@sha256:123":             "***@sha256:123",
		"https://ann:pw@sha256:123":     "https://***@sha256:123",
		"ann:pw@ghcr.io/app@sha256:123": "***@sha256:123",
		"ghcr.io/app@sha256:123":        "ghcr.io/app@sha256:123",
		"ghcr.io/app@sha256:":           "ghcr.io/app@sha256:",
		"ann@ghcr.io/app@sha256:12":     "***@ghcr.io/app@sha256:12",
		"token@shared:5000":             "***@shared:5000",
		"https://h/v2/?token=pw":        "https://h/v2/?***",
		"https://h/#pw":                 "https://h/#***",
		"https://ann:p?w@h/":            "https://***@h/",
		"https://ann:pw@h/?a=pw":        "https://***@h/?***",
	} {
		require.Equal(t, want, field.Redact(text), text)
	}
	require.Equal(t, `"***@h"`, field.Quote("ann:pw@h"))
	require.Less(t, len(field.Quote(strings.Repeat("é", 10_000))), 2000)
}

// Text before an @ is not in the result.
func FuzzRedact(f *testing.F) {
	f.Add("https://ann:", "@ghcr.io/app")
	f.Add("", "@x")
	f.Fuzz(func(t *testing.T, before, after string) {
		const canary = "c4n4ry"
		text := before + canary + "@" + after
		if strings.Contains(before+after, canary) || strings.Count(text, "@") > 1 {
			t.Skip("not one login")
		}
		got := field.Redact(text)
		if rest, ok := strings.CutPrefix(after, "sha"); ok && (len(rest) > 32 || !strings.Contains(before, ":")) {
			t.Skip("a digest")
		}
		if i := strings.Index(text, "://"); i >= 0 && strings.Contains(text[:i], canary) {
			t.Skip("a scheme")
		}
		require.NotContains(t, got, canary)
	})
}
