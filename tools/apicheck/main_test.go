package main

import (
	"io"
	"strings"
	"testing"
)

const (
	root    = "example.com/m"
	changes = `module example.com/m
- A: changed from func() to func(int)
- ./sub/deep.T.F: removed
- package example.com/m/gone: removed
module example.com/m/nested/kube
- (*Controller).Start: removed
`
	changelog = "# Changelog\n\n## Unreleased\n\n### Breaking\n\n- `m`: A takes a number.\n- `sub/deep`, `gone`: removed.\n" +
		"- `nested/kube`: no Start.\n\n### More\n\n- `other`\n\n## 0.1.0 - 2026-01-02\n\n### Breaking\n\n- `old`\n"
)

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct{ changes, last, next, changelog, want string }{
		"nothing":          {"module example.com/m\n", "v1.2.0", "", "", ""},
		"declared":         {changes, "v0.1.0", "", changelog, ""},
		"a minor version":  {changes, "v0.1.0", "v0.2.0", changelog, ""},
		"a patch":          {changes, "v0.1.0", "v0.1.1", changelog, "v0.1.1 has incompatible changes"},
		"stable":           {changes, "v1.0.0", "", changelog, "is stable"},
		"not declared":     {changes, "v0.1.0", "", "## Unreleased\n", "does not name `m`, `sub/deep`, `gone`, `nested/kube`"},
		"another section":  {"module example.com/m\n- ./other.X: removed\n", "v0.1.0", "", changelog, "does not name `other`"},
		"an older version": {"module example.com/m\n- ./old.X: removed\n", "v0.1.0", "", changelog, "does not name `old`"},
	} {
		err := check(strings.NewReader(c.changes), io.Discard, root, c.last, c.next, c.changelog)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v: expected %q", name, err, c.want)
		}
	}
}
