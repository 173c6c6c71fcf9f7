package kubeletmatch_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/stretchr/testify/require"
)

// BenchmarkMatch looks up the entries for an image in a kubelet's keyring and in a Config.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		var entries []string
		for i := range n {
			entries = append(entries, fmt.Sprintf(`"registry-%d.example.com/team":{"auth":"dTpw"}`, i))
		}
		s := source{`{"auths":{` + strings.Join(entries, ",") + `}}`, false}
		name := fmt.Sprintf("registry-%d.example.com/team/app", n/2)

		b.Run(fmt.Sprintf("kubelet/%d", n), func(b *testing.B) {
			k, err := keyring(s)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if found, _ := k.Lookup(name); len(found) != 1 {
					b.Fatal(found)
				}
			}
		})
		b.Run(fmt.Sprintf("Config/%d", n), func(b *testing.B) {
			c, err := pullsecret.Parse([]byte(s.text))
			require.NoError(b, err)
			image, err := registry.ParseImage(name)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if found := c.Match(image); len(found) != 1 {
					b.Fatal(found)
				}
			}
		})
	}
}
