package runtimes

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
	"github.com/regcred/regcred/validate/mirrors"
)

// A mirrorRow is a situation of docs/mirrors.md: an origin with the account "origin" and its mirror with the account
// "mirror". The pull secret has the key of the origin.
type mirrorRow struct {
	name   string
	secret string   // The user name in the pull secret; empty for none.
	node   []string // The hosts for which the node has a login of its own: "origin", "mirror".
	origin string   // The user name that the origin accepts.
	mirror string   // The user name that the mirror accepts.

	containerd, library string // The host that serves the image; empty if the pull fails.
}

var mirrorRows = []mirrorRow{
	{"no secret", "", nil, "origin", "mirror", "", ""},
	{"no secret, the node's login at the mirror", "", []string{"mirror"}, "origin", "mirror", "mirror", "mirror"},
	{"the origin's login", "origin", nil, "origin", "mirror", "origin", "origin"},
	{"the origin's login, and the node's login at the mirror", "origin", []string{"mirror"}, "origin", "mirror", "origin", "mirror"},
	{"the mirror's login under the origin's key", "mirror", nil, "origin", "mirror", "mirror", ""},
	{"the mirror accepts the origin's login", "origin", nil, "origin", "origin", "mirror", "origin"},
	{"a wrong login, and the node's login at the mirror", "wrong", []string{"mirror"}, "origin", "mirror", "", "mirror"},
	{"a wrong login, and the node's logins at both", "wrong", []string{"mirror", "origin"}, "none", "none", "", ""},
}

// TestMirrorRows pulls in each situation with real runtimes, and checks it with mirrors.Checker. All must agree, with
// Basic challenges and with tokens.
func TestMirrorRows(t *testing.T) {
	f := newFleet(t, 2)
	names := map[string]string{f.hosts[0]: "origin", f.hosts[1]: "mirror"}
	hostOf := map[string]string{"origin": f.hosts[0], "mirror": f.hosts[1]}
	each := func(t *testing.T, runtime mirrors.Runtime, want func(mirrorRow) string, node func(mirrorRow) *mirrors.Node,
		pull func(ctx context.Context, row mirrorRow, image registry.Image) error) {
		for _, scheme := range []string{"basic", "bearer"} {
			for _, row := range mirrorRows {
				t.Run(scheme+"/"+row.name, func(t *testing.T) {
					open := func() registry.Image {
						f.reset(scheme, 0, 1)
						f.accounts = []string{row.origin, row.mirror}
						return f.image(t, false)
					}
					ctx, cancel := context.WithTimeout(t.Context(), pullTime)
					defer cancel()
					err := pull(ctx, row, open())
					require.Equal(t, want(row) != "", err == nil, "%v %v", err, f.requests())
					served := ""
					for _, s := range f.requests() {
						if strings.Contains(s.path, "/manifests/") && s.ok {
							served = names[f.hosts[s.host]]
						}
					}
					require.Equal(t, want(row), served, "%v", f.requests())

					route := node(row).Route(runtime, open(), row.secret != "")
					var candidates []validate.Candidate
					if row.secret != "" {
						login := credentials.Credential{Username: row.secret, Password: credentials.NewSecret("password")}
						candidates = []validate.Candidate{{Name: "secret", Source: credentials.Static(login)}}
					}
					checker := mirrors.Checker{NodeLogins: true, SkipVerify: true, Trusted: []string{"127.0.0.1"}}
					result, err := checker.Check(ctx, node(row), route, candidates...)
					require.Equal(t, want(row), names[result.Host], "the check: %v %v", err, f.requests())
				})
			}
		}
	}
	for _, line := range []mirrors.Runtime{mirrors.Containerd16, mirrors.Containerd2} {
		t.Run(string(line), func(t *testing.T) {
			daemons := make(map[string]*mirrorDaemon) // By the hosts for which they have logins.
			for _, row := range mirrorRows {
				key := strings.Join(row.node, " ")
				if daemons[key] != nil {
					continue
				}
				var settings strings.Builder
				settings.WriteString("[registry]\nconfig_path = \"${DIR}/certs.d\"\n")
				for _, host := range row.node {
					fmt.Fprintf(&settings, "[registry.configs.%q.auth]\nusername = %q\npassword = \"password\"\n", hostOf[host], host)
				}
				daemons[key] = startMirrorDaemon(t, line, registrySection(line, settings.String()))
				write(t, daemons[key].dir, nodeFiles{"certs.d/_default/hosts.toml": fmt.Sprintf("[host.\"http://%s\"]\n", f.hosts[1])})
			}
			of := func(row mirrorRow) *mirrorDaemon { return daemons[strings.Join(row.node, " ")] }
			each(t, line, func(row mirrorRow) string { return row.containerd },
				func(row mirrorRow) *mirrors.Node { return of(row).node(t) },
				func(ctx context.Context, row mirrorRow, image registry.Image) error {
					return of(row).pullAs(ctx, image, row.secret)
				})
		})
	}
	t.Run("skopeo", func(t *testing.T) {
		dirs := make(map[string]string)
		for _, row := range mirrorRows {
			auths := make([]string, len(row.node))
			for i, host := range row.node {
				auths[i] = fmt.Sprintf("%q:{\"auth\":%q}", hostOf[host], base64.StdEncoding.EncodeToString([]byte(host+":password")))
			}
			dir := t.TempDir()
			write(t, dir, nodeFiles{
				"etc/containers/registries.conf": fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n[[registry.mirror]]\nlocation = %q\ninsecure = true\n", f.hosts[0], f.hosts[1]),
				"run/containers/0/auth.json":     `{"auths":{` + strings.Join(auths, ",") + `}}`,
			})
			dirs[row.name] = dir
		}
		each(t, mirrors.Podman, func(row mirrorRow) string { return row.library },
			func(row mirrorRow) *mirrors.Node {
				node, err := mirrors.Read(os.DirFS(dirs[row.name]))
				require.NoError(t, err)
				return node
			},
			func(ctx context.Context, row mirrorRow, image registry.Image) error {
				return skopeo(t, dirs[row.name])(ctx, image, row.secret)
			})
	})
}

// TestMirrorWithoutLayers has a mirror that has the manifest and no layers. containerd gets them from the next host; the
// library of CRI-O does not.
func TestMirrorWithoutLayers(t *testing.T) {
	f := newFleet(t, 2)
	open := func() registry.Image {
		f.reset("open", 0, 1)
		f.noBlobs = map[int]bool{1: true}
		return f.image(t, false)
	}
	check := func(node *mirrors.Node, runtime mirrors.Runtime) validate.Answer {
		checker := mirrors.Checker{SkipVerify: true, Deep: true}
		result, _ := checker.Check(t.Context(), node, node.Route(runtime, open(), false))
		return result.Pulls
	}
	d := startMirrorDaemon(t, mirrors.Containerd2, registrySection(mirrors.Containerd2, "[registry]\nconfig_path = \"${DIR}/certs.d\"\n"))
	write(t, d.dir, nodeFiles{"certs.d/_default/hosts.toml": fmt.Sprintf("[host.\"http://%s\"]\n", f.hosts[1])})
	require.NoError(t, d.pullAs(t.Context(), open(), ""))
	require.Equal(t, validate.Yes, check(d.node(t), mirrors.Containerd2))

	dir := t.TempDir()
	write(t, dir, nodeFiles{"etc/containers/registries.conf": fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n[[registry.mirror]]\nlocation = %q\ninsecure = true\n", f.hosts[0], f.hosts[1])})
	output, err := testtool.Run(t, nil, testtool.Need(t, "skopeo"), "--registries-conf", filepath.Join(dir, "etc/containers/registries.conf"), "copy",
		"docker://"+open().String(), "dir:"+t.TempDir())
	require.Error(t, err, output)
	node, err := mirrors.Read(os.DirFS(dir))
	require.NoError(t, err)
	require.Equal(t, validate.No, check(node, mirrors.Podman))
}

// skopeo reads manifests with the program, which has the library of podman and CRI-O, with the files below a folder.
func skopeo(t *testing.T, dir string) func(ctx context.Context, image registry.Image, username string) error {
	t.Helper()
	program := testtool.Need(t, "skopeo")
	return func(ctx context.Context, image registry.Image, username string) error {
		args := []string{"--registries-conf", filepath.Join(dir, "etc/containers/registries.conf"), "inspect", "--raw"}
		if username != "" {
			args = append(args, "--creds", username+":password")
		}
		_, err := testtool.Run(t, []string{"REGISTRY_AUTH_FILE=" + filepath.Join(dir, "run/containers/0/auth.json")}, program, append(args, "docker://"+image.String())...)
		return err
	}
}
