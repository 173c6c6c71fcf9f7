// Package helper measures examples/node beside the two programs that serve ECR's logins today: Amazon's credential helper
// of docker, and the kubelet plugin of cloud-provider-aws.
package helper

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

var rounds = flag.Int("rounds", 3, "how often each call is made; the table has the medians")

const (
	host    = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
	request = `{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"` + host + `/team/app"}`
)

// The programs, all built with the same flags.
var programs = []struct{ name, path, tags string }{
	{"docker-credential-regcred", "github.com/regcred/regcred/examples/node", ""},
	{"docker-credential-regcred, with ECR", "github.com/regcred/regcred/examples/node", "ecr"},
	{"docker-credential-ecr-login", "github.com/awslabs/amazon-ecr-credential-helper/ecr-login/cli/docker-credential-ecr-login", ""},
	{"ecr-credential-provider", "k8s.io/cloud-provider-aws/cmd/ecr-credential-provider", ""},
}

// TestProcesses prints the sizes of the programs and the times of whole processes, from start to exit. Calls are
// interleaved. Each get must return the login that an AWS on the loopback address issued.
//
//	go test -run TestProcesses -v . -rounds 100
func TestProcesses(t *testing.T) {
	dir := t.TempDir()
	sizes, paths := make(map[string]int64), make(map[string]string)
	for i, p := range programs {
		// Its name decides what regcred's program does.
		path := filepath.Join(dir, fmt.Sprint(i), strings.TrimSuffix(p.name, ", with ECR"))
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-tags", p.tags, "-o", path, p.path)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		output, err := build.CombinedOutput()
		require.NoError(t, err, string(output))
		info, err := os.Stat(path)
		require.NoError(t, err)
		sizes[p.name], paths[p.name] = info.Size(), path
	}
	plugin := filepath.Join(dir, "1", "regcred-credential-provider")
	require.NoError(t, os.Link(paths["docker-credential-regcred, with ECR"], plugin))
	require.Less(t, sizes["docker-credential-regcred"], int64(8_000_000))

	network, err := fakenet.New()
	require.NoError(t, err)
	defer network.Close()
	secret := credentials.NewSecret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	aws := &ecrtest.AWS{Rate: 1000, Burst: 1_000_000, Users: []ecrtest.User{{
		ARN: "arn:aws:iam::123456789012:user/node", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: secret, Allow: ecrtest.PullActions(),
	}}}
	aws.Attach(network)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	environment := []string{
		"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "HTTPS_PROXY=" + network.URL, "SSL_CERT_FILE=" + write("ca.crt", network.CA),
		"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=" + secret.Reveal(), "AWS_EC2_METADATA_DISABLED=true",
		"REGCRED_PROFILES=" + write("ecr.json", `[{"name":"ecr","kind":"ecr","endpoint":"`+host+`","login":{"ambient":true}}]`),
	}
	basic := "REGCRED_PROFILES=" + write("basic.json", `[{"name":"a","kind":"custom","endpoint":"registry.example.com","login":{"username":"u","password":"stored"}}]`)

	type call struct {
		name, program, stdin string
		args, environment    []string
		password             func(output []byte) string // Of the response. Nil for a call that returns none.
		spent                []time.Duration
	}
	docker := func(output []byte) string {
		var r struct{ Secret string }
		_ = json.Unmarshal(output, &r)
		return r.Secret
	}
	kubelet := func(output []byte) string {
		var r struct {
			Auth map[string]struct{ Password string }
		}
		_ = json.Unmarshal(output, &r)
		return r.Auth[host].Password
	}
	const (
		start  = "start: version"
		stored = "get, a password of the profile"
		cached = "get, a token cached on disk"
		issued = "get, a token issued on loopback"
	)
	small, withECR, amazon, cloud := paths[programs[0].name], paths[programs[1].name], paths[programs[2].name], paths[programs[3].name]
	calls := []*call{
		{name: start, program: small, args: []string{"version"}},
		{name: start, program: withECR, args: []string{"version"}},
		{name: start, program: amazon, args: []string{"version"}},
		{name: start, program: cloud, args: []string{"--help"}},
		{name: stored, program: small, args: []string{"get"}, stdin: "registry.example.com", environment: []string{basic}, password: docker},
		{name: cached, program: withECR, args: []string{"get"}, stdin: host, password: docker},
		{name: cached, program: plugin, stdin: request, password: kubelet},
		{name: cached, program: amazon, args: []string{"get"}, stdin: host, password: docker},
		{name: issued, program: withECR, args: []string{"get"}, stdin: host, environment: []string{"REGCRED_CACHE=off"}, password: docker},
		{name: issued, program: plugin, stdin: request, environment: []string{"REGCRED_CACHE=off"}, password: kubelet},
		{name: issued, program: amazon, args: []string{"get"}, stdin: host, environment: []string{"AWS_ECR_DISABLE_CACHE=true"}, password: docker},
		{name: issued, program: cloud, stdin: request, password: kubelet},
	}
	for round := range *rounds + 1 { // The first one fills caches, and does not count.
		for _, c := range calls {
			before := len(aws.Calls())
			command := exec.CommandContext(t.Context(), c.program, c.args...)
			command.Env = append(slices.Clone(environment), c.environment...)
			command.Stdin = strings.NewReader(c.stdin)
			var out, log bytes.Buffer
			command.Stdout, command.Stderr = &out, &log
			began := time.Now()
			err := command.Run()
			spent := time.Since(began)
			require.NoError(t, err, "%s: %s %s%s", c.name, c.program, out.Bytes(), log.Bytes())
			if c.password != nil {
				require.NotEmpty(t, c.password(out.Bytes()), "%s: %s", c.name, c.program)
			}
			if round == 0 {
				continue
			}
			c.spent = append(c.spent, spent)
			asked := len(aws.Calls()) - before
			require.Equal(t, c.name == issued, asked == 1, "%s: %s made %d calls to AWS", c.name, c.program, asked)
		}
	}

	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, p := range programs {
		fmt.Fprintf(w, "%s\t%.1f MB\n", p.name, float64(sizes[p.name])/1e6)
	}
	fmt.Fprintln(w, "\ncall\tprogram\tmedian\tleast")
	for _, c := range calls {
		slices.SortFunc(c.spent, cmp.Compare[time.Duration])
		name := filepath.Base(c.program)
		if c.program == withECR {
			name = programs[1].name
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f ms\t%.1f ms\n", c.name, name, ms(c.spent[len(c.spent)/2]), ms(c.spent[0]))
	}
	require.NoError(t, w.Flush())
	t.Logf("%d rounds\n%s", *rounds, table.String())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
