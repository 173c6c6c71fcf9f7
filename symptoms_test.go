package regcred_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/dockerconfig"
	"github.com/regcred/regcred/internal/testcert"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

var updateSymptoms = flag.Bool("update", false, "write docs/symptoms.md")

// A symptom is a mistake that was reported in public, and the library's response to it.
type symptom struct {
	done string // The user's mistake.
	// says returns the issues that the library reports, one for each problem, with their hints.
	says func(t *testing.T) []registry.Issue
	want string // A part of the issues' text.
}

// The chapters of docs/symptoms.md.
var symptoms = []struct {
	title, intro string
	rows         []symptom
}{
	{"Pull secrets that others wrote", "`pullsecret.Parse` and `Config.Lint` report this about the content of `.dockerconfigjson`.", []symptom{
		{"the JSON is encoded twice: base64 in `stringData`, or base64 of base64", parsing(base64.StdEncoding.EncodeToString([]byte(goodSecret))), "encoded twice"},
		{"the file was saved with a byte order mark", parsing("\ufeff" + goodSecret), "byte order mark"},
		{"PowerShell wrote the file", parsing("\xff\xfe{\x00}\x00"), "UTF-16"},
		{"the JSON is in quotes: `jsonencode` of a text", parsing(`"` + strings.ReplaceAll(goodSecret, `"`, `\"`) + `"`), "quotes"},
		{"the file is YAML", parsing("apiVersion: v1\nkind: Secret\n"), "YAML"},
		{"the file is empty", parsing(""), "empty"},
		{"the entries have no `auths` around them", linting(`{"h.example.com":{"auth":"dTpw"}}`), "older type"},
		{"the whole manifest is under the key", linting(`{"apiVersion":"v1","kind":"Secret","data":{".dockerconfigjson":"e30="}}`), "whole manifest"},
		{"`echo user:password | base64`", linting(secretFor("h.example.com", "u:p\n")), "line break"},
		{"the user name was pasted with a space", linting(secretFor("h.example.com", "u :p")), "user name"},
		{"the login is under `docker.io`", linting(secretFor("docker.io", "u:p")), "another key"},
		{"the login is under `https://index.docker.io/v1`", linting(secretFor("https://index.docker.io/v1", "u:p")), "path"},
		{"the host ends in a dot", linting(secretFor("ghcr.io.", "u:p")), "no image"},
		{"the host has an underscore", linting(secretFor("my_registry:5000", "u:p")), "no image"},
		{"`*my-registry.io`, for all hosts below", linting(secretFor("*my-registry.io", "u:p")), "star"},
		{"the key has a port that images do not name", linting(secretFor("ghcr.io:443", "u:p")), "443"},
		{"`az acr login` wrote the login", linting(`{"auths":{"a.azurecr.io":{"auth":"MDAwOg==","identitytoken":"t"}}}`), "identitytoken"},
		{"the file names a credential helper", linting(`{"credsStore":"desktop"}`), "helper"},
	}},
	{"Logins", "`Validate` and `Warnings` of a profile report this.", []symptom{
		{"the password was saved with a byte order mark", profileWith(func(p *registry.Profile) { p.Login.Password = credentials.NewSecret("\ufeffp") }), "byte order mark"},
		{"the password was pasted with a space", profileWith(func(p *registry.Profile) { p.Login.Password = credentials.NewSecret("p ") }), "white space"},
		{"the user name has a colon", profileWith(func(p *registry.Profile) { p.Login.Username = "u:p" }), "colon"},
		{"the login ends in two days", profileWith(func(p *registry.Profile) { p.Login.ExpiresAt = time.Now().Add(50 * time.Hour) }), "expires in 2 days"},
		{"a fine-grained token of GitHub", profileWith(func(p *registry.Profile) {
			p.Endpoint, p.Login.Password = "ghcr.io/acme", credentials.NewSecret("github_pat_x")
		}), "fine-grained"},
		{"a token of `aws ecr get-login-password` as a password", profileWith(func(p *registry.Profile) { p.Login.Username = "AWS" }), "twelve hours"},
		{"the private key in Google's file has real line breaks", profileWith(func(p *registry.Profile) {
			p.Kind, p.Endpoint = registry.GCR, "europe-docker.pkg.dev/p/r"
			p.Login = credentials.Login{Google: &credentials.GoogleLogin{Credentials: credentials.NewSecret("{\"private_key\": \"-----BEGIN\nx\"}")}}
		}), "line break"},
	}},
	{"Endpoints", "`Validate` and `Warnings` of a profile report this.", []symptom{
		{"the address of GitHub's web site", at("https://github.com/acme/app"), "ghcr.io/acme"},
		{"the address of GitLab's web site", at("https://gitlab.com/group/app"), "registry.gitlab.com/group"},
		{"a page of Docker Hub's web site", at("https://hub.docker.com/u/acme"), "web site"},
		{"a page of Quay's console", at("https://quay.io/organization/acme"), "quay.io/acme"},
		{"a page of Harbor's console", at("https://harbor.example.com/harbor/projects"), "harbor.example.com"},
		{"the API of Artifactory", at("https://a.example.com/artifactory/api/docker/local"), "Artifactory"},
		{"the web server of Nexus", at("https://n.example.com/repository/docker-hosted"), "connector"},
		{"a console of AWS", at("https://eu-west-1.console.aws.amazon.com/ecr/repositories"), "dkr.ecr"},
		{"an endpoint of a VPC", profileWith(func(p *registry.Profile) {
			p.Kind, p.Endpoint, p.Login = registry.ECR, "vpce-0a1b-2c.dkr.ecr.eu-west-1.vpce.amazonaws.com", credentials.Login{Ambient: true}
		}), "private DNS"},
		{"an AWS account with 13 digits", profileWith(func(p *registry.Profile) {
			p.Kind, p.Endpoint, p.Login = registry.ECR, "1234567890123.dkr.ecr.eu-west-1.amazonaws.com", credentials.Login{Ambient: true}
		}), "13 digits"},
		{"one word", at("registry"), "no dot"},
	}},
	{"Certificate authorities", "`Validate` and `Warnings` of a profile report this about `transport.caBundle`.", []symptom{
		{"a certificate in the bundle is cut off", bundle(func(ca string) string { return ca[:len(ca)/2] + "\n" + ca }), "cut off"},
		{"the line breaks are `\\n`", bundle(func(ca string) string { return strings.ReplaceAll(ca, "\n", `\n`) }), "two characters"},
		{"the bundle is base64", bundle(func(ca string) string { return base64.StdEncoding.EncodeToString([]byte(ca)) }), "base64"},
		{"the path of the file is in the profile", bundle(func(string) string { return "/etc/ssl/ca.pem" }), "path"},
		{"the private key is in the bundle", bundle(func(ca string) string { return strings.ReplaceAll(ca, "CERTIFICATE", "PRIVATE KEY") }), "PRIVATE KEY"},
	}},
	{"Docker's configuration", "`dockerconfig.File` and `dockerconfig.Helper` report this.", []symptom{
		{"there is no login for the host", docker(`{"auths":{"quay.io":{"auth":"dTpw"}}}`, ""), "no login"},
		{"the file has an identity token", docker(`{"auths":{"ghcr.io":{"identitytoken":"t"}}}`, ""), "token"},
		{"the file is no JSON", docker(`auths:`, ""), "malformed"},
		{"the credential helper fails", docker(`{"credsStore":"broken"}`, "exit 3"), "exit status 3"},
		{"the credential helper is not installed", docker(`{"credsStore":"missing"}`, ""), "not found"},
	}},
}

// events are texts of the events of a pod that cannot pull, from the kubelet's and containerd's sources and Go's packages
// net and crypto/x509, with the codes that a check reports in the same situation. The remedy of a row is the hint of its
// first code, or the given one if there is no code.
var events = []struct {
	text, meaning, remedy string
	codes                 []registry.Code
}{
	{"`Back-off pulling image`, `ImagePullBackOff`", "the kubelet waits before the next attempt", "read the event `Failed to pull image` before it", nil},
	{"`FailedToRetrieveImagePullSecret`", "a secret that the pod names does not exist in its namespace",
		"create it there, or remove its name from the pod and the service account", nil},
	{"`failed to fetch anonymous token`", "the token server requires a login, and the kubelet found none for the image", "compare the name of the image with the keys of the secrets that the pod names", nil},
	{"`failed to fetch oauth token`, with `401 Unauthorized`", "the token server rejects the login", "", []registry.Code{registry.ErrUnauthorized, registry.ErrExpired}},
	{"`pull access denied, repository does not exist or may require authorization`", "the registry rejects the login or the token, or hides that the image is missing", "",
		[]registry.Code{registry.ErrHidden, registry.ErrUnauthorized, registry.ErrDenied, registry.ErrRepositoryNotFound}},
	{"`403 Forbidden`", "the registry denies this image to the login, or to a client without one", "", []registry.Code{registry.ErrDenied}},
	{"the name of the image, then `not found`", "the registry does not have the image", "", []registry.Code{registry.ErrImageNotFound, registry.ErrRepositoryNotFound}},
	{"`no match for platform in manifest`", "the image was not built for the platform of the node", "", []registry.Code{registry.ErrPlatformNotFound}},
	{"`429 Too Many Requests`", "the registry limits the rate", "", []registry.Code{registry.ErrRateLimited}},
	{"`certificate signed by unknown authority`", "the node does not trust the registry's certificate authority", "", []registry.Code{registry.ErrTLSUnknownIssuer}},
	{"`certificate has expired or is not yet valid`", "the registry's certificate, or the clock of the node", "", []registry.Code{registry.ErrTLSExpired}},
	{"`no such host`", "the host in the name of the image does not exist for the node", "", []registry.Code{registry.ErrHostNotFound}},
	{"`connection refused`, `i/o timeout`", "the node does not reach the registry", "", []registry.Code{registry.ErrUnreachable, registry.ErrTimeout}},
}

const eventsIntro = `
## A pod in ImagePullBackOff

The reason is in the events of the pod. The check sends the requests of the node with the logins of the pod's secrets, and
reports a code with a hint:

    kubectl describe pod POD -n shop
    kubectl get secret regcred -n shop -o 'jsonpath={.data.\.dockerconfigjson}' | base64 -d > secret.json
    go run ./examples/pipeline -json -docker-config secret.json -image ghcr.io/team/app:1.4

In Go, ` + "`Pipeline.CheckPod`" + ` takes the images and all secrets that a pod names, in their order. Its requests come from your
machine: a node may have other routes, authorities and [mirrors](mirrors.md).

| Event of the pod | Meaning | Code | Remedy |
|---|---|---|---|
`

const goodSecret = `{"auths":{"h.example.com":{"auth":"dTpw"}}}`

func secretFor(key, pair string) string {
	return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, key, base64.StdEncoding.EncodeToString([]byte(pair)))
}

func parsing(text string) func(*testing.T) []registry.Issue {
	return func(*testing.T) []registry.Issue {
		_, err := pullsecret.Parse([]byte(text))
		return registry.IssuesOf(err)
	}
}

func linting(text string) func(*testing.T) []registry.Issue {
	return func(t *testing.T) []registry.Issue {
		config, err := pullsecret.Parse([]byte(text))
		require.NoError(t, err)
		var issues []registry.Issue
		for _, f := range config.Lint(time.Now()) {
			issues = append(issues, registry.Issue{Code: registry.Code(f.Rule), Problem: f.Message, Hint: f.Hint})
		}
		return issues
	}
}

func at(endpoint string) func(*testing.T) []registry.Issue {
	return profileWith(func(p *registry.Profile) { p.Endpoint = endpoint })
}

func bundle(change func(ca string) string) func(*testing.T) []registry.Issue {
	return func(t *testing.T) []registry.Issue {
		ca, err := testcert.New("Example Root")
		require.NoError(t, err)
		return profileWith(func(p *registry.Profile) { p.Transport.CABundle = change(ca.PEM) })(t)
	}
}

// profileWith returns the problems and warnings of a profile that was valid before the change.
func profileWith(change func(p *registry.Profile)) func(*testing.T) []registry.Issue {
	return func(*testing.T) []registry.Issue {
		p := profile("a", "h.example.com", "u", "p")
		change(&p)
		set := providers.Set{registry.Custom: custom.Provider{}, registry.ECR: ecr.Provider{}, registry.GCR: gcr.Provider{}, registry.DockerHub: dockerhub.Provider{}}
		issues := registry.IssuesOf(set.Validate(p))
		for _, warning := range p.Warnings() {
			if !strings.HasPrefix(warning, "the registry's certificate authority is trusted by this program only") {
				issues = append(issues, registry.Issue{Code: "warning", Problem: warning})
			}
		}
		return issues
	}
}

func docker(config, helper string) func(*testing.T) []registry.Issue {
	return func(t *testing.T) []registry.Issue {
		dir := t.TempDir()
		t.Setenv("PATH", dir)
		require.NoError(t, os.WriteFile(dir+"/docker-credential-broken", []byte("#!/bin/sh\n"+helper+"\n"), 0o700))
		require.NoError(t, os.WriteFile(dir+"/config.json", []byte(config), 0o600))
		_, err := dockerconfig.File{Path: dir + "/config.json", Server: "ghcr.io"}.Credential(t.Context())
		issues := registry.IssuesOf(err)
		for i := range issues {
			issues[i].Problem = strings.ReplaceAll(issues[i].Problem, dir+"/", "")
		}
		return issues
	}
}

// TestSymptoms checks the response to each mistake, and that docs/symptoms.md has the same text. With -update it writes
// that page.
func TestSymptoms(t *testing.T) {
	var page bytes.Buffer
	page.WriteString("<!-- Made by go test . -run TestSymptoms -update. -->\n\n# What you see, what it is, what to do\n\n" +
		"Mistakes that people made and reported in public, and how this module reports each. The responses of registries, and\n" +
		"what that means, is in [verdicts.md](verdicts.md). Mistakes in the files of nodes with mirrors are in\n" +
		"[mirrors.md](mirrors.md#findings).\n")
	page.WriteString(eventsIntro)
	for _, e := range events {
		remedy, codes := e.remedy, make([]string, len(e.codes))
		for i, code := range e.codes {
			codes[i] = "`" + string(code) + "`"
		}
		if remedy == "" {
			remedy = e.codes[0].Hint()
		}
		require.NotEmpty(t, remedy)
		fmt.Fprintf(&page, "| %s | %s | %s | %s |\n", cell(e.text), e.meaning, strings.Join(codes, ", "), cell(remedy))
	}
	for _, chapter := range symptoms {
		fmt.Fprintf(&page, "\n## %s\n\n%s\n\n| Mistake | Message | Remedy |\n|---|---|---|\n", chapter.title, chapter.intro)
		for _, s := range chapter.rows {
			t.Run(s.done, func(t *testing.T) {
				issues := s.says(t)
				require.NotEmpty(t, issues, "nothing is said about it")
				issue := issues[0]
				said := strings.TrimSpace(issue.Field + " " + issue.Problem)
				advice := issue.Hint
				if issue.Want != "" {
					advice = "expected: " + issue.Want
				}
				require.Contains(t, said+advice, s.want)
				if issue.Code == "warning" { // A warning has the problem and the fix in one sentence.
					said, advice, _ = cutLast(said, ": ")
				}
				fmt.Fprintf(&page, "| %s | %s | %s |\n", cell(s.done), cell(datesRemoved(said)), cell(advice))
			})
		}
	}
	if t.Failed() {
		return
	}
	if *updateSymptoms {
		require.NoError(t, os.WriteFile("docs/symptoms.md", page.Bytes(), 0o644))
	}
	have, err := os.ReadFile("docs/symptoms.md")
	require.False(t, errors.Is(err, os.ErrNotExist), "write it with -update")
	require.NoError(t, err)
	require.Equal(t, page.String(), string(have), "write it with -update")
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// datesRemoved removes the expiry of a login that ends soon, which differs in each run.
func datesRemoved(s string) string {
	if before, after, ok := strings.Cut(s, ", at "); ok {
		if _, rest, ok := strings.Cut(after, ","); ok {
			return before + ", at ...," + rest
		}
	}
	return s
}

func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }
