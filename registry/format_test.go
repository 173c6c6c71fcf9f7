package registry_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
)

// A URL with a login is found in every text of a login, and the profile itself stays as it is.
func TestMisplacedInLogin(t *testing.T) {
	const url, policy = "https://ann:hunter2@example.com/x", `{"Condition":{"StringLike":{"a":"https://x@y/?z"}}}`
	profile := func() registry.Profile {
		return registry.Profile{Name: "a", Kind: registry.ECR, Login: credentials.Login{
			AWS: &credentials.AWSLogin{
				Roles:       []credentials.AWSRole{{ARN: "arn"}, {ARN: "arn", ExternalID: url}},
				WebIdentity: &credentials.AWSWebIdentity{Subject: &credentials.Subject{File: url}, SessionPolicy: policy},
			},
			Azure:     &credentials.AzureLogin{Subject: &credentials.Subject{File: "/var/run/a@b#c", Audience: "api://AzureADTokenExchange"}},
			Federated: &credentials.FederatedLogin{Exchange: credentials.Exchange{Quay: &credentials.QuayExchange{Robot: url}}},
			Password:  credentials.NewSecret(url),
		}}
	}
	p := profile()
	var problems *field.Errors
	require.ErrorAs(t, p.Misplaced(), &problems)
	var fields []string
	for _, problem := range problems.Fields {
		fields = append(fields, problem.Field)
	}
	require.Equal(t, []string{"login.aws.webIdentity.subject.file", "login.aws.roles[1].externalID", "login.federated.exchange.quay.robot"}, fields)

	r := p.WithoutMisplaced()
	require.Equal(t, "https://***@example.com/x", r.Login.AWS.WebIdentity.Subject.File)
	require.Equal(t, "https://***@example.com/x", r.Login.AWS.Roles[1].ExternalID)
	require.Equal(t, policy, r.Login.AWS.WebIdentity.SessionPolicy)
	require.Equal(t, p.Login.Azure, r.Login.Azure)
	require.Equal(t, url, r.Login.Password.Reveal())
	require.NoError(t, r.Misplaced())
	p.Login.Password, r.Login.Password = credentials.Secret{}, credentials.Secret{}
	want := profile()
	want.Login.Password = credentials.Secret{}
	require.Equal(t, want, p, "it was changed in place")
}

// A private key that was pasted with its certificate is neither printed nor stored in plain text.
func TestMisplacedKeys(t *testing.T) {
	certificate, key := newAuthority(t).pair()
	for path, transport := range map[string]registry.TransportConfig{
		"transport.clientCertificate": {ClientCertificate: certificate + key, ClientKey: credentials.NewSecret(key)},
		"transport.caBundle":          {CABundle: key},
	} {
		p := registry.Profile{Name: "a", Transport: transport}
		var problems *field.Errors
		require.ErrorAs(t, p.Misplaced(), &problems)
		require.Len(t, problems.Fields, 1)
		require.Equal(t, path, problems.Fields[0].Field)
		for _, v := range []any{p, p.Transport} {
			_, err := json.Marshal(v)
			require.ErrorContains(t, err, "private key")
			require.NotContains(t, fmt.Sprintf("%+v %#v", v, v), strings.Split(key, "\n")[1])
		}
	}
	require.NoError(t, registry.Profile{Transport: registry.TransportConfig{ClientCertificate: certificate, CABundle: certificate}}.Misplaced())
}

// Settings may be printed, so a login in a URL is rejected. The URL of an issuer may have a query.
func TestMisplacedInSettings(t *testing.T) {
	valid := map[string]string{
		"a": "https://idp.example/token?login_hint=ann@example.com#x", "b": "ann@example.com", "c": `{"url": "https://x@y"}`,
	}
	p := registry.Profile{Name: "a", Login: credentials.Login{Settings: maps.Clone(valid)}}
	require.NoError(t, p.Misplaced())
	require.Equal(t, p, p.WithoutMisplaced())

	p.Login.Settings["issuer"] = "https://ann:hunter2@idp.example"
	p.Login.Settings["database"] = "postgres://ann:hunter%2@db.example" // Not a valid URL.
	var problems *field.Errors
	require.ErrorAs(t, p.Misplaced(), &problems)
	require.Len(t, problems.Fields, 2)
	require.Equal(t, "login.settings.database", problems.Fields[0].Field)
	require.Equal(t, "login.settings.issuer", problems.Fields[1].Field)
	_, err := json.Marshal(p)
	require.Error(t, err)
	require.NotContains(t, fmt.Sprintf("%+v", p), "hunter")

	r := p.WithoutMisplaced()
	require.Equal(t, "https://***@idp.example", r.Login.Settings["issuer"])
	require.Equal(t, "https://ann:hunter2@idp.example", p.Login.Settings["issuer"], "it was changed in place")
}
