package regcred_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/acr"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/subjects"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilestore"
	"github.com/regcred/regcred/registry/registrytest"
)

// The canaries have characters that JSON, URLs and base64 escape.
const (
	canaryUser  = "robot$canary"
	canaryLogin = `ca/na+ry "l&gin" é<1>`
	canaryProxy = `ca/na+ry "pr&xy" é<2>`
)

// forms returns the encodings of the canary that must not be found anywhere.
func forms(canary string) []string {
	quoted, _ := json.Marshal(canary)
	found := []string{
		canary, strings.Trim(string(quoted), `"`), fmt.Sprintf("%q", canary), fmt.Sprint([]byte(canary)),
		url.QueryEscape(canary), url.PathEscape(canary), url.UserPassword("", canary).String()[1:],
		hex.EncodeToString([]byte(canary)),
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		found = append(found, e.EncodeToString([]byte(canaryUser+":"+canary)))
		for offset := range 3 { // Where the canary begins in an encoded text; its ends depend on their neighbors.
			encoded := e.EncodeToString(append(make([]byte, offset), canary...))
			found = append(found, encoded[4:len(encoded)-4])
		}
	}
	return found
}

func requireNoCanary(t *testing.T, where, text string) {
	t.Helper()
	for _, canary := range []string{canaryLogin, canaryProxy} {
		for _, form := range forms(canary) {
			require.NotContains(t, text, form, "in %s", where)
		}
	}
}

// prints returns every text form that a program is likely to make of a value.
func prints(v any) map[string]string {
	texts := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts[verb] = fmt.Sprintf(verb, v)
	}
	if text, err := json.Marshal(v); err != nil {
		texts["error of JSON"] = err.Error()
	} else {
		texts["JSON"] = string(text)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", "value", v)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "value", v)
	texts["log"] = log.String()
	var failed failure
	assert.Equal(&failed, v, nil) // It follows pointers, into fields that are not exported.
	texts["failed test"] = string(failed)
	texts["YAML"] = inYAML(v)
	return texts
}

// inYAML returns the value as YAML, or the reason why it cannot be written: its encoder panics at a function.
func inYAML(v any) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprint(r)
		}
	}()
	written, err := yaml.Marshal(v)
	return fmt.Sprint(string(written), err)
}

type failure string

func (f *failure) Errorf(format string, args ...any) { *f += failure(fmt.Sprintf(format, args...)) }

// No text that the library returns has a secret in it, in success and in failure.
func TestNothingLeaks(t *testing.T) {
	newRegistry := func(d registrytest.Dialect) *registrytest.Registry {
		r := &registrytest.Registry{
			Dialect:  d,
			Accounts: []registrytest.Account{{Username: canaryUser, Password: credentials.NewSecret(canaryLogin), Pull: []string{"team/*"}}},
		}
		_, err := r.Add("team/app:1", registrytest.Image{})
		require.NoError(t, err)
		return r
	}
	good := credentials.Login{Username: canaryUser, Password: credentials.NewSecret(canaryLogin)}
	swapped := credentials.Login{Username: canaryUser, Password: credentials.NewSecret(canaryProxy)}
	echo := registrytest.Answer{
		Status: 403,
		Header: map[string]string{"X-Echo": canaryLogin, "Location": "/?password=" + url.QueryEscape(canaryLogin)},
		Body:   `{"errors":[{"code":"DENIED","message":"no entry with ` + base64.StdEncoding.EncodeToString([]byte(canaryUser+":"+canaryLogin)) + ` or ` + strings.ReplaceAll(canaryLogin, `"`, `\"`) + `"}]}`,
	}
	// A registry can leak only what it received.
	loggedIn := func(q registrytest.Request) bool { return q.Scheme != "" }
	tests := map[string]struct {
		login  credentials.Login
		images []string
		fault  *registrytest.Fault
	}{
		"all is well":     {login: good, images: []string{"registry.test/team/app:1"}},
		"wrong password":  {login: swapped, images: []string{"registry.test/team/app:1"}},
		"missing image":   {login: good, images: []string{"registry.test/team/app:2", "registry.test/other/app:1"}},
		"an echo":         {login: good, images: []string{"registry.test/team/app:1"}, fault: &registrytest.Fault{Match: loggedIn, Answer: echo}},
		"a cut":           {login: good, images: []string{"registry.test/team/app:1"}, fault: &registrytest.Fault{Cut: true}},
		"not a registry":  {login: good, images: []string{"registry.test/team/app:1"}, fault: &registrytest.Fault{Match: loggedIn, Answer: registrytest.Answer{Status: 200, Body: "<html>" + canaryLogin}}},
		"server error":    {login: good, images: []string{"registry.test/team/app:1"}, fault: &registrytest.Fault{Match: loggedIn, Answer: registrytest.Answer{Status: 500, Body: canaryLogin}}},
		"invalid profile": {login: credentials.Login{Anonymous: true, Username: canaryUser, Password: credentials.NewSecret(canaryLogin + "\n")}},
		"no such host":    {login: good, images: []string{"nowhere.test/team/app:1"}},
	}
	dialects := append(registrytest.Dialects(), registrytest.Dialect{Name: "plain"})
	for name, test := range tests {
		run := func(t *testing.T) {
			for _, d := range dialects {
				r := newRegistry(d)
				if test.fault != nil {
					r.Inject(*test.fault)
				}
				p := newPipeline(hosts{"registry.test": r, "auth.registry.test": r})
				request := regcred.Request{
					Name: "pull", Namespace: "shop",
					Profiles: []registry.Profile{{
						Name: "canary", Kind: registry.Custom, Endpoint: "registry.test", Login: test.login,
						Transport: registry.TransportConfig{Proxy: "http://127.0.0.1:1", ProxyUsername: canaryUser, ProxyPassword: credentials.NewSecret(canaryProxy)},
					}},
					Images: test.images,
				}
				outcome, err := p.Run(t.Context(), request)
				for what, v := range map[string]any{
					"pipeline": p, "request": request, "outcome": outcome, "error": err,
					"key": providers.Key(providers.Static{}, request.Profiles[0]), "snapshot": p.Cache.Snapshot(),
				} {
					for how, text := range prints(v) {
						requireNoCanary(t, d.Name+": "+what+" by "+how, text)
					}
				}
				for _, result := range append(outcome.Logins, outcome.Images...) {
					for _, attempt := range result.Attempts {
						for _, exchange := range attempt.Exchanges {
							requireNoCanary(t, d.Name+": exchange", fmt.Sprintf("%s %+v", exchange, exchange))
						}
					}
				}
			}
		}
		t.Run(name, func(t *testing.T) { synctest.Test(t, run) }) // In synctest, waiting for a failing server takes no time.
	}
}

// mistakes are profiles and images with a login in the wrong place. Each is rejected, and no text shows the login.
func mistakes(t *testing.T) map[string]regcred.Request {
	t.Helper()
	const canary = `canary:c4n4ry-l0gin`
	good := func() registry.Profile {
		return registry.Profile{
			Name: "canary", Kind: registry.Custom, Endpoint: "registry.test",
			Login: credentials.Login{Username: canaryUser, Password: credentials.NewSecret(canaryLogin)},
		}
	}
	requests := make(map[string]regcred.Request)
	add := func(name string, change func(p *registry.Profile, images *[]string)) {
		p, images := good(), []string{"registry.test/team/app:1"}
		change(&p, &images)
		requests[name] = regcred.Request{Namespace: "shop", Profiles: []registry.Profile{p}, Images: images}
	}
	for _, text := range []string{"https://" + canary + "@registry.test", canary + "@registry.test/team", "https://registry.test/?token=c4n4ry-l0gin", "https://registry.test#c4n4ry-l0gin"} {
		add("endpoint "+text, func(p *registry.Profile, _ *[]string) { p.Endpoint = text })
		add("host "+text, func(p *registry.Profile, _ *[]string) { p.Hosts = []string{"other.test", text} })
		add("image "+text, func(_ *registry.Profile, images *[]string) {
			*images = []string{text, text + "/app:1", text + "@sha256:0"}
		})
		add("anonymous, endpoint "+text, func(p *registry.Profile, _ *[]string) {
			p.Endpoint, p.Login = text, credentials.Login{Anonymous: true}
		})
	}
	add("proxy", func(p *registry.Profile, _ *[]string) { p.Transport.Proxy = "http://" + canary + "@proxy.test:3128" })
	add("proxy that is no URL", func(p *registry.Profile, _ *[]string) { p.Transport.Proxy = canary + "@proxy.test:3128" })
	google := func(text string) func(p *registry.Profile, _ *[]string) {
		return func(p *registry.Profile, _ *[]string) {
			p.Kind, p.Endpoint = registry.GCR, "gcr.io"
			p.Login = credentials.Login{Google: &credentials.GoogleLogin{Credentials: credentials.NewSecret(text)}}
		}
	}
	cloud := func(login credentials.GoogleLogin) func(p *registry.Profile, _ *[]string) {
		return func(p *registry.Profile, _ *[]string) {
			p.Kind, p.Endpoint, p.Login = registry.GCR, "gcr.io", credentials.Login{Google: &login}
		}
	}
	const external = `{"type":"external_account","audience":"x","token_url":"%s","service_account_impersonation_url":"%s","credential_source":{"url":"%s"}}`
	url := "https://" + canary + "@googleapis.test/token?key=c4n4ry-l0gin"
	add("token_url", google(fmt.Sprintf(external, url, url, url)))
	add("credential_source.file", google(`{"type":"external_account","credential_source":{"file":"`+url+`"}}`))
	add("token_uri", google(`{"type":"service_account","client_email":"`+url+`","private_key":"c4n4ry-l0gin","token_uri":"`+url+`"}`))
	add("universe_domain", google(`{"type":"`+url+`","universe_domain":"`+url+`"}`))
	add("tokenFile", func(p *registry.Profile, _ *[]string) {
		p.Kind, p.Endpoint = registry.ECR, "123456789012.dkr.ecr.us-east-1.amazonaws.com"
		p.Login = credentials.Login{AWS: &credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: "arn:aws:iam::123456789012:role/x", TokenFile: url}}}
	})
	workloads := map[string]credentials.Subject{
		"file": {File: url}, "environment": {Environment: url}, "source": {Source: url}, "audience": {Source: "ci", Audience: url},
		"two": {File: url, Source: url}, "account": {Kubernetes: &credentials.ServiceAccount{Cluster: url, Namespace: url, Name: url}},
		"cluster": {Kubernetes: &credentials.ServiceAccount{Cluster: url, Name: "puller"}},
	}
	for name, subject := range workloads {
		add("federated "+name, func(p *registry.Profile, _ *[]string) {
			p.Login = credentials.Login{Federated: &credentials.FederatedLogin{Subject: subject, Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}}}}
		})
		add("Azure "+name, func(p *registry.Profile, _ *[]string) {
			p.Kind, p.Endpoint = registry.ACR, "ann.azurecr.io"
			p.Login = credentials.Login{Azure: &credentials.AzureLogin{TenantID: "t", ClientID: "c", Subject: &subject}}
		})
		add("AWS "+name, func(p *registry.Profile, _ *[]string) {
			p.Kind, p.Endpoint = registry.ECR, "123456789012.dkr.ecr.us-east-1.amazonaws.com"
			p.Login = credentials.Login{AWS: &credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: "arn:aws:iam::123456789012:role/x", Subject: &subject}}}
		})
		add("Google "+name, func(p *registry.Profile, _ *[]string) {
			p.Kind, p.Endpoint = registry.GCR, "gcr.io"
			p.Login = credentials.Login{Google: &credentials.GoogleLogin{Federation: &credentials.GoogleFederation{
				Provider: "projects/1/locations/global/workloadIdentityPools/a/providers/b", Subject: subject,
			}}}
		})
	}
	add("Azure tenant and client", func(p *registry.Profile, _ *[]string) {
		p.Kind, p.Endpoint = registry.ACR, "ann.azurecr.io"
		p.Login = credentials.Login{Azure: &credentials.AzureLogin{TenantID: url, ClientID: url, ClientSecret: credentials.NewSecret(canaryLogin)}}
	})
	add("Google provider", cloud(credentials.GoogleLogin{Federation: &credentials.GoogleFederation{Provider: url, Subject: credentials.Subject{Source: "ci"}}}))
	add("Google cluster", cloud(credentials.GoogleLogin{Federation: &credentials.GoogleFederation{GKE: url, Subject: credentials.Subject{Source: "ci"}}}))
	add("Google impersonation", cloud(credentials.GoogleLogin{Impersonate: url, Delegates: []string{url}}))
	add("AWS role", func(p *registry.Profile, _ *[]string) {
		p.Kind, p.Endpoint = registry.ECR, "123456789012.dkr.ecr.us-east-1.amazonaws.com"
		p.Login = credentials.Login{AWS: &credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: url, SessionName: url, Token: credentials.NewSecret(canaryLogin)}, Roles: []credentials.AWSRole{{ARN: url, ExternalID: url, SessionName: url}}}}
	})
	for name, exchange := range map[string]credentials.Exchange{
		"password":    {Password: &credentials.PasswordExchange{Username: url}},
		"Quay":        {Quay: &credentials.QuayExchange{Robot: url}},
		"Artifactory": {Artifactory: &credentials.ArtifactoryExchange{Provider: url, Mapping: url, Project: url}},
		"Cloudsmith":  {Cloudsmith: &credentials.CloudsmithExchange{Organization: url, Service: url}},
		"Chainguard":  {Chainguard: &credentials.ChainguardExchange{Identity: url}},
		"Docker Hub":  {DockerHub: &credentials.DockerHubExchange{Organization: url, Connection: url}},
		"IBM":         {IBM: &credentials.IBMExchange{Profile: url}},
	} {
		add("exchange "+name, func(p *registry.Profile, _ *[]string) {
			p.Login = credentials.Login{Federated: &credentials.FederatedLogin{Subject: credentials.Subject{Source: "ci"}, Exchange: exchange}}
		})
	}
	add("system", func(p *registry.Profile, _ *[]string) { p.Kind, p.Endpoint = registry.System, url })
	return requests
}

// A login in the wrong field is in no text that the library makes: neither by any function that takes a profile or the
// name of an image, nor by any print of its input.
func TestNoLoginInTheWrongFieldLeaks(t *testing.T) {
	told := subjects.Set{} // It provides none.
	set := providers.Set{
		registry.DockerHub: dockerhub.Provider{}, registry.Custom: federated.Provider{Subjects: told, Fallback: custom.Provider{}}, registry.System: system.Provider{},
		registry.ECR: ecr.Provider{Subjects: told}, registry.GCR: gcr.Provider{Subjects: told}, registry.ACR: acr.Provider{Subjects: told},
	}
	for name, request := range mistakes(t) {
		t.Run(name, func(t *testing.T) {
			p := newPipeline(hosts{})
			p.Provider = set
			profile := request.Profiles[0]
			texts := make(map[string]string)
			keep := func(what string, values ...any) {
				for _, v := range values {
					for how, text := range prints(v) {
						if how == "failed test" && what == "profile" {
							continue // The printers of test libraries call no method of a value, and show its fields.
						}
						texts[what+" by "+how] += text
					}
				}
			}
			outcome, err := p.Run(t.Context(), request)
			require.Error(t, err)
			keep("Run", outcome, err, p)
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
				texts["request by "+verb] = fmt.Sprintf(verb, request) + fmt.Sprintf(verb, &request)
			}
			keep("request in a log", request.LogValue())
			report, marshalErr := json.Marshal(registry.IssuesOf(err))
			require.NoError(t, marshalErr)
			texts["Report"] = string(report) + registry.HintOf(err)
			result, err := p.CheckLogin(t.Context(), profile)
			keep("CheckLogin", result, err)
			c, err := p.Credential(t.Context(), profile)
			keep("Credential", c, err)
			candidate, err := p.Candidate(profile)
			keep("Candidate", candidate, err)
			c, err = p.Source(profile).Credential(t.Context())
			keep("Source", c, err)
			keep("Lookup", p.Lookup(profile), providers.Key(set, profile))
			found, err := p.Repositories(t.Context(), profile, regcred.Search{})
			keep("Repositories", found, err)
			results, err := p.CheckSecrets(t.Context(), request.Images)
			keep("CheckSecrets", results, err)
			for _, image := range request.Images {
				found, err := p.Tags(t.Context(), profile, image, regcred.Search{})
				keep("Tags", found, err)
				parsed, err := registry.ParseImage(image)
				if err != nil {
					keep("ParseImage", parsed, err)
				}
			}
			texts["Redacted"] = string(profilestore.Redacted(profile))
			stored, err := profilestore.Encode(t.Context(), profile, func(context.Context, profilestore.Place, credentials.Secret) (string, error) { return "sealed", nil })
			keep("Encode", string(stored), err)
			keep("Misplaced", profile.Misplaced())
			keep("Validate", providers.Validate(set, profile), profile.Validate(), profile.Warnings())
			endpoints, err := profile.Endpoints()
			keep("Endpoints", endpoints, err)
			keep("profile", profile, &profile, []registry.Profile{profile}, map[string]registry.Profile{"a": profile}, profile.Transport)
			config, err := pullsecret.Build(pullsecret.Entry{Profile: profile, Credential: credentials.Credential{Anonymous: true}})
			keep("Build", config, err)
			func() {
				defer func() { keep("panic", fmt.Sprint(recover())) }()
				panic(profile)
			}()
			for where, text := range texts {
				require.NotContains(t, text, "c4n4ry-l0gin", "in %s", where)
				requireNoCanary(t, where, text)
			}
		})
	}
}
