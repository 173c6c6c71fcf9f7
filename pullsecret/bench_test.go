package pullsecret_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// BenchmarkBuild compares Build with the shortest code that could write the JSON and with the types that other programs
// use. A password is as long as a cloud's token.
func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{1, 100} {
		password := strings.Repeat("x", 2000)
		entries := make([]pullsecret.Entry, n)
		for i := range entries {
			entries[i] = entry("AWS", password, fmt.Sprintf("registry-%03d.example.com", i))
		}
		want := build(b, entries...).Reveal()
		run := func(name string, exact bool, write func() []byte) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				if exact {
					require.Equal(b, string(want), string(write()))
				}
				b.ReportAllocs()
				for b.Loop() {
					write()
				}
			})
		}
		run("Build", true, func() []byte {
			c, err := pullsecret.Build(entries...)
			if err != nil {
				b.Fatal(err)
			}
			return c.Reveal()
		})
		built := build(b, entries...)
		run("Reveal", true, built.Reveal)
		run("limit", true, func() []byte {
			text := append(make([]byte, 0, 3000*n), `{"auths":{`...)
			for i := range entries {
				text = append(append(append(text, '"'), entries[i].Profile.Endpoint...), `":{"auth":"`...)
				text = append(base64.StdEncoding.AppendEncode(text, []byte("AWS:"+password)), `"},`...)
			}
			return append(text[:len(text)-1], "}}"...)
		})
		run("docker", true, func() []byte {
			auths := make(map[string]types.AuthConfig, n)
			for i := range entries {
				auths[entries[i].Profile.Endpoint] = types.AuthConfig{Auth: base64.StdEncoding.EncodeToString([]byte("AWS:" + password))}
			}
			text, err := json.Marshal(map[string]any{"auths": auths})
			if err != nil {
				b.Fatal(err)
			}
			return text
		})
		run("ggcr", false, func() []byte { // It writes username and password too.
			auths := make(map[string]authn.AuthConfig, n)
			for i := range entries {
				auths[entries[i].Profile.Endpoint] = authn.AuthConfig{Username: "AWS", Password: password}
			}
			text, err := json.Marshal(map[string]any{"auths": auths})
			if err != nil {
				b.Fatal(err)
			}
			return text
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			entries := make([]pullsecret.Entry, n)
			for i := range entries {
				entries[i] = entry("u", "p", fmt.Sprintf("registry.example.com/team-%05d", i))
			}
			c := build(b, entries...)
			image := registry.Image{Host: "registry.example.com", Repository: fmt.Sprintf("team-%05d/app", n/2), Tag: "1"}
			b.ReportAllocs()
			for b.Loop() {
				if len(c.Match(image)) != 1 {
					b.Fatal("no match")
				}
			}
		})
	}
}
