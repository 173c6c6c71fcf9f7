package registry_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
)

func ExampleProfile_Validate() {
	profile := registry.Profile{
		Name:     "Team A",
		Kind:     registry.Custom,
		Endpoint: "registry/team-a",
		Login:    credentials.Login{Username: "jo"},
	}
	fmt.Println(profile.Validate())
	// Output:
	// profile "Team A": 3 problems:
	// 	name is "Team A": expected lower-case letters, digits, hyphens and dots, at most 63, with a letter or digit at both ends
	// 	endpoint "registry" has no dot and no port: images with this name would be pulled from Docker Hub: expected a host such as registry.example.com, optionally with a port or a path
	// 	login.password is missing: expected a password or token
}

// good returns a valid profile.
func good() registry.Profile {
	return registry.Profile{
		Name: "team-a", Kind: registry.Custom, Endpoint: "registry.example.com",
		Login: credentials.Login{Username: "jo", Password: credentials.NewSecret("hunter2")},
	}
}

func TestProfileValidate(t *testing.T) {
	tests := map[string]struct {
		change func(p *registry.Profile)
		want   []string // The fields that have a problem.
	}{
		"nothing":             {func(p *registry.Profile) { *p = registry.Profile{} }, []string{"name", "kind", "endpoint", "login"}},
		"good":                {func(*registry.Profile) {}, nil},
		"kind of one's own":   {func(p *registry.Profile) { p.Kind = "harbor" }, nil},
		"longest name":        {func(p *registry.Profile) { p.Name = strings.Repeat("a", 63) }, nil},
		"name with dots":      {func(p *registry.Profile) { p.Name = "0.team-a.9" }, nil},
		"too long a name":     {func(p *registry.Profile) { p.Name = strings.Repeat("a", 64) }, []string{"name"}},
		"upper-case name":     {func(p *registry.Profile) { p.Name = "Team" }, []string{"name"}},
		"name with a slash":   {func(p *registry.Profile) { p.Name = "a/b" }, []string{"name"}},
		"hyphen at an end":    {func(p *registry.Profile) { p.Name = "a-" }, []string{"name"}},
		"two dots":            {func(p *registry.Profile) { p.Name = "a..b" }, []string{"name"}},
		"hyphen at a dot":     {func(p *registry.Profile) { p.Name = "a.-b" }, []string{"name"}},
		"name not ASCII":      {func(p *registry.Profile) { p.Name = "équipe" }, []string{"name"}},
		"tenant":              {func(p *registry.Profile) { p.Tenant = "Acme Ltd." }, nil},
		"tenant on two lines": {func(p *registry.Profile) { p.Tenant = "a\nb" }, []string{"tenant"}},
		"endless tenant":      {func(p *registry.Profile) { p.Tenant = strings.Repeat("a", 254) }, []string{"tenant"}},
		"http":                {func(p *registry.Profile) { p.Endpoint = "http://registry.example.com" }, []string{"endpoint"}},
		"http in a host":      {func(p *registry.Profile) { p.Hosts = []string{"b.example.com", "http://c.example.com"} }, []string{"hosts[1]"}},
		"http of the same":    {func(p *registry.Profile) { p.Hosts = []string{"http://registry.example.com"} }, []string{"hosts[0]"}},
		"http, asked for":     {func(p *registry.Profile) { p.Endpoint, p.Transport.PlainHTTP = "http://registry.example.com", true }, nil},
		"bad hosts":           {func(p *registry.Profile) { p.Endpoint, p.Hosts = "", []string{"a.b", "a", "é.com"} }, []string{"endpoint", "hosts[1]", "hosts[2]"}},
		"Docker Hub":          {func(p *registry.Profile) { p.Kind, p.Endpoint = registry.DockerHub, "" }, nil},
		"Docker Hub, named":   {func(p *registry.Profile) { p.Kind, p.Endpoint = registry.DockerHub, "https://index.docker.io/v1/" }, nil},
		"Docker Hub, part":    {func(p *registry.Profile) { p.Kind, p.Endpoint = registry.DockerHub, "docker.io/acme" }, nil},
		"not Docker Hub":      {func(p *registry.Profile) { p.Kind = registry.DockerHub }, []string{"endpoint"}},
		"not only Docker Hub": {func(p *registry.Profile) {
			p.Kind, p.Endpoint, p.Hosts = registry.DockerHub, "", []string{"docker.io", "ghcr.io"}
		}, []string{"hosts[1]"}},
		"Docker Hub by http": {func(p *registry.Profile) {
			p.Kind, p.Endpoint, p.Transport.PlainHTTP = registry.DockerHub, "http://docker.io", true
		}, []string{"transport.plainHTTP"}},
		"login and transport": {func(p *registry.Profile) { p.Login.Username, p.Transport.Proxy = "a:b", "proxy" }, []string{"login.username", "transport.proxy"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := good()
			test.change(&p)
			err := p.Validate()
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			require.Equal(t, test.want, fieldsOf(t, err), "%v", err)
			require.NotContains(t, err.Error(), "hunter2")
			require.True(t, strings.HasPrefix(err.Error(), fmt.Sprintf("profile %q: ", p.Name)))
		})
	}
}

func fieldsOf(t *testing.T, err error) []string {
	t.Helper()
	invalid, ok := errors.AsType[*field.Errors](err)
	require.True(t, ok, "%v", err)
	var fields []string
	for _, f := range invalid.Fields {
		fields = append(fields, f.Field)
	}
	return fields
}

func TestEndpoints(t *testing.T) {
	p := good()
	p.Endpoint = "HTTPS://Registry.example.com:443/v2/"
	p.Hosts = []string{"registry.example.com/", "b.example.com:5000/team", "http://registry.example.com"}
	endpoints, err := p.Endpoints()
	require.NoError(t, err)
	require.Equal(t, []registry.Endpoint{{Host: "registry.example.com"}, {Host: "b.example.com:5000", Path: "team"}}, endpoints)

	p.Hosts = []string{"é.com"}
	main, err := p.MainEndpoint()
	require.NoError(t, err, "of the endpoint alone")
	require.Equal(t, "registry.example.com", main.Host)
	_, err = p.Endpoints()
	require.Equal(t, []string{"hosts[0]"}, fieldsOf(t, err))

	hub, err := registry.Profile{Kind: registry.DockerHub}.MainEndpoint()
	require.NoError(t, err)
	require.Equal(t, "docker.io", hub.Host)
	_, err = registry.Profile{Kind: registry.Custom}.MainEndpoint()
	require.ErrorContains(t, err, "endpoint is empty")
}

func TestWarnings(t *testing.T) {
	require.Empty(t, good().Warnings())
	tests := map[string]func(p *registry.Profile){
		"plain HTTP": func(p *registry.Profile) { p.Transport.PlainHTTP = true },
		"every node": func(p *registry.Profile) { p.Transport.CABundle = "x" },
		"123456789012.dkr.ecr.us-east-1.amazonaws.com is a registry of kind ecr": func(p *registry.Profile) { p.Endpoint = "123456789012.dkr.ecr.us-east-1.amazonaws.com" },
		"gcr.io is a registry of kind gcr":                                       func(p *registry.Profile) { p.Hosts = []string{"gcr.io"} },
		"1234567890123 of 1234567890123.dkr.ecr": func(p *registry.Profile) {
			p.Kind, p.Endpoint = registry.ECR, "1234567890123.dkr.ecr.us-east-1.amazonaws.com"
		},
	}
	for want, change := range tests {
		p := good()
		change(&p)
		require.Len(t, p.Warnings(), 1, want)
		require.Contains(t, p.Warnings()[0], want)
	}
	p := good()
	p.Endpoint, p.Login = "public.ecr.aws", credentials.Login{Anonymous: true}
	require.Empty(t, p.Warnings())
}

// TestFingerprintKnowsEveryField finds the fields by reflection, so that it fails for a new field that is not included.
func TestFingerprintKnowsEveryField(t *testing.T) {
	p := registry.Profile{Hosts: []string{"a"}}
	before := p.Fingerprint()
	require.Equal(t, before, p.Fingerprint())
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		switch {
		case v.Type() == reflect.TypeFor[*egress.Policy]():
			return // The program sets it, and it does not change the credential.
		case v.Type() == reflect.TypeFor[credentials.Secret]():
			v.Set(reflect.ValueOf(credentials.NewSecret("x")))
		case v.Type() == reflect.TypeFor[credentials.Login]():
			v.Set(reflect.ValueOf(credentials.Login{Ambient: true})) // Package credentials tests its fields.
		case v.Kind() == reflect.String:
			v.SetString(v.String() + "x")
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
		case v.Kind() == reflect.Slice:
			v.Set(reflect.AppendSlice(v, v))
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
			return
		default:
			t.Fatalf("%s is of a kind that this test does not know: %s", path, v.Type())
		}
		require.NotEqual(t, before, p.Fingerprint(), "%s is not in the fingerprint", path)
		v.Set(old)
	}
	walk("Profile", reflect.ValueOf(&p).Elem())
	require.Equal(t, before, p.Fingerprint())
	require.Zero(t, registry.TransportConfig{}.Fingerprint(), "the usual way")
}

func TestServing(t *testing.T) {
	named := func(name, endpoint string, hosts ...string) registry.Profile {
		kind := registry.Custom
		if endpoint == "" {
			kind = registry.DockerHub
		}
		return registry.Profile{Name: name, Kind: kind, Endpoint: endpoint, Hosts: hosts}
	}
	profiles := []registry.Profile{
		named("hub", ""), named("hub-team", "docker.io/acme"), named("ghcr", "ghcr.io"), named("ghcr-2", "https://GHCR.io/"), named("team", "ghcr.io/team"),
		named("app", "ghcr.io/team/app"), named("port", "ghcr.io:443"), named("broken", "ghcr.io/Team"), named("two", "a.example", "ghcr.io/team/app/x", "ghcr.io"),
	}
	for image, want := range map[string][]string{
		"nginx":                  {"hub"},
		"acme/app":               {"hub-team", "hub"},
		"acme-b/app":             {"hub"},
		"ghcr.io/team/app":       {"app", "team", "ghcr", "ghcr-2", "two"},
		"ghcr.io/team/app/x:1":   {"two", "app", "team", "ghcr", "ghcr-2"},
		"ghcr.io/team/app-2":     {"team", "ghcr", "ghcr-2", "two"},
		"ghcr.io/team-b/app":     {"ghcr", "ghcr-2", "two"},
		"ghcr.io:443/team/app":   {"port"},
		"quay.io/acme/app":       nil,
		"registry-1.docker.io/a": nil,
	} {
		parsed, err := registry.ParseImage(image)
		require.NoError(t, err)
		var got []string
		for _, p := range registry.Serving(profiles, parsed) {
			got = append(got, p.Name)
		}
		require.Equal(t, want, got, image)
	}
}
