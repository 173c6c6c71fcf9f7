package credentials_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
)

func ExampleLogin_Validate() {
	login := credentials.Login{
		Password: credentials.NewSecret("s3cret\n"),
		AWS:      &credentials.AWSLogin{Roles: []credentials.AWSRole{{ARN: "pull"}}},
	}
	fmt.Println(login.Validate())
	// Output:
	// 4 problems:
	// 	says username and password and aws: expected only one of them
	// 	username is missing: expected the name that goes with the password (with a token, often any text will do: see the registry's guide)
	// 	password has a line break or another control character: expected printable text (was it read from a file with its line end?)
	// 	aws.roles[0].arn is "pull": expected the ARN of a role, such as arn:aws:iam::123456789012:role/pull
}

const role = "arn:aws:iam::123456789012:role/pull"

func TestLoginValidate(t *testing.T) {
	secret := credentials.NewSecret(canary)
	aws := func(l credentials.AWSLogin) credentials.Login { return credentials.Login{AWS: &l} }
	google := func(l credentials.GoogleLogin) credentials.Login { return credentials.Login{Google: &l} }
	azure := func(l credentials.AzureLogin) credentials.Login { return credentials.Login{Azure: &l} }
	federated := func(s credentials.Subject, e credentials.Exchange) credentials.Login {
		return credentials.Login{Federated: &credentials.FederatedLogin{Subject: s, Exchange: e}}
	}
	puller := credentials.Subject{Kubernetes: &credentials.ServiceAccount{Name: "puller"}}
	basic := func(name, password string) credentials.Login {
		return credentials.Login{Username: name, Password: credentials.NewSecret(password)}
	}
	tests := map[string]struct {
		login credentials.Login
		want  []string // The fields with a problem; empty if the login is valid.
	}{
		"nothing":              {credentials.Login{}, []string{""}},
		"only empty fields":    {credentials.Login{Fields: map[string]credentials.Secret{}}, []string{""}},
		"anonymous":            {credentials.Login{Anonymous: true}, nil},
		"ambient":              {credentials.Login{Ambient: true}, nil},
		"fields":               {credentials.Login{Fields: map[string]credentials.Secret{"a": secret}}, nil},
		"two ways":             {credentials.Login{Anonymous: true, Ambient: true}, []string{""}},
		"all ways":             {credentials.Login{Anonymous: true, Ambient: true, Username: "jo", Password: secret, AWS: &credentials.AWSLogin{}, Google: &credentials.GoogleLogin{}, Fields: map[string]credentials.Secret{"a": secret}}, []string{""}},
		"user":                 {basic("jo", canary), nil},
		"robot":                {basic("acme+robot", canary), nil},
		"only a user name":     {basic("jo", ""), []string{"password"}},
		"only a password":      {basic("", canary), []string{"username"}},
		"colon":                {basic("jo:s3cret", canary), []string{"username"}},
		"line end, in both":    {basic("jo\r", canary+"\n"), []string{"username", "password"}},
		"delete":               {basic("jo", canary+"\x7f"), []string{"password"}},
		"other letters":        {basic("josé", "пароль"), nil},
		"expiry":               {credentials.Login{Username: "jo", Password: secret, ExpiresAt: time.Now()}, nil},
		"expiry in 9 years":    {credentials.Login{Username: "jo", Password: secret, ExpiresAt: time.Now().AddDate(9, 0, 0)}, nil},
		"expiry in 11 years":   {credentials.Login{Username: "jo", Password: secret, ExpiresAt: time.Now().AddDate(11, 0, 0)}, []string{"expiresAt"}},
		"expiry of others":     {credentials.Login{Anonymous: true, ExpiresAt: time.Now()}, []string{"expiresAt"}},
		"expiry of nothing":    {credentials.Login{ExpiresAt: time.Now()}, []string{"", "expiresAt"}},
		"AWS, ambient":         {aws(credentials.AWSLogin{}), nil},
		"AWS, key":             {aws(credentials.AWSLogin{AccessKeyID: "AKIA", SecretAccessKey: secret}), nil},
		"AWS, no secret":       {aws(credentials.AWSLogin{AccessKeyID: "AKIA"}), []string{"aws.secretAccessKey"}},
		"AWS, no ID":           {aws(credentials.AWSLogin{SecretAccessKey: secret}), []string{"aws.accessKeyID"}},
		"AWS, only session":    {aws(credentials.AWSLogin{SessionToken: secret}), []string{"aws.accessKeyID"}},
		"AWS, temporary":       {aws(credentials.AWSLogin{AccessKeyID: "ASIA", SecretAccessKey: secret, SessionToken: secret}), nil},
		"AWS, no session":      {aws(credentials.AWSLogin{AccessKeyID: "ASIA", SecretAccessKey: secret}), []string{"aws.sessionToken"}},
		"AWS, line end":        {aws(credentials.AWSLogin{AccessKeyID: "AKIA", SecretAccessKey: credentials.NewSecret("a\n")}), []string{"aws.secretAccessKey"}},
		"AWS, web, line end":   {aws(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: role, Token: credentials.NewSecret("e30\n")}}), []string{"aws.webIdentity.token"}},
		"AWS, web identity":    {aws(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: role, TokenFile: "/token"}}), nil},
		"AWS, web and key":     {aws(credentials.AWSLogin{AccessKeyID: "AKIA", SecretAccessKey: secret, WebIdentity: &credentials.AWSWebIdentity{RoleARN: role, Token: secret}}), []string{"aws.webIdentity"}},
		"AWS, both tokens":     {aws(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: role, TokenFile: "/token", Token: secret}}), []string{"aws.webIdentity"}},
		"AWS, no token":        {aws(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{}}), []string{"aws.webIdentity.roleARN", "aws.webIdentity"}},
		"AWS, roles":           {aws(credentials.AWSLogin{Roles: []credentials.AWSRole{{ARN: role}, {ARN: "arn:aws-cn:iam::123456789012:role/a/b", ExternalID: "x"}}}), nil},
		"AWS, not a role":      {aws(credentials.AWSLogin{Roles: []credentials.AWSRole{{ARN: role}, {ARN: "arn:aws:iam::123456789012:user/jo"}, {}}}), []string{"aws.roles[1].arn", "aws.roles[2].arn"}},
		"Google, ambient":      {google(credentials.GoogleLogin{}), nil},
		"Google, key":          {google(credentials.GoogleLogin{Credentials: secret, AccessToken: true}), nil},
		"Google, no address":   {google(credentials.GoogleLogin{Impersonate: "puller"}), []string{"google.impersonate"}},
		"Google, federation":   {google(credentials.GoogleLogin{Federation: &credentials.GoogleFederation{Provider: "projects/1", Subject: puller}}), nil},
		"Google, two ways":     {google(credentials.GoogleLogin{Credentials: secret, Federation: &credentials.GoogleFederation{GKE: "projects/1", Subject: puller}}), []string{"google.federation"}},
		"Google, no provider":  {google(credentials.GoogleLogin{Federation: &credentials.GoogleFederation{Subject: puller}}), []string{"google.federation"}},
		"AWS, subject":         {aws(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: role, Subject: &puller}}), nil},
		"AWS, subject, file":   {aws(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: role, Subject: &puller, TokenFile: "/token"}}), []string{"aws.webIdentity"}},
		"Azure, secret":        {azure(credentials.AzureLogin{TenantID: "t", ClientID: "c", ClientSecret: secret}), nil},
		"Azure, subject":       {azure(credentials.AzureLogin{TenantID: "t", ClientID: "c", Subject: &puller}), nil},
		"Azure, managed":       {azure(credentials.AzureLogin{ManagedIdentity: true}), nil},
		"Azure, nothing":       {azure(credentials.AzureLogin{}), []string{"azure", "azure.tenantID", "azure.clientID"}},
		"Azure, two ways":      {azure(credentials.AzureLogin{TenantID: "t", ClientID: "c", ClientSecret: secret, Certificate: secret}), []string{"azure"}},
		"Azure, tenant climbs": {azure(credentials.AzureLogin{TenantID: "../t", ClientID: "c", ClientSecret: secret}), []string{"azure.tenantID"}},
		"Azure, managed, more": {azure(credentials.AzureLogin{ManagedIdentity: true, TenantID: "t"}), []string{"azure.tenantID"}},
		"federated":            {federated(puller, credentials.Exchange{Password: &credentials.PasswordExchange{}}), nil},
		"federated, none":      {federated(puller, credentials.Exchange{}), []string{"federated.exchange"}},
		"federated, two":       {federated(puller, credentials.Exchange{Password: &credentials.PasswordExchange{}, Quay: &credentials.QuayExchange{Robot: "a+b"}}), []string{"federated.exchange"}},
		"federated, robot":     {federated(puller, credentials.Exchange{Quay: &credentials.QuayExchange{Robot: "acme"}}), []string{"federated.exchange.quay.robot"}},
		"federated, missing":   {federated(puller, credentials.Exchange{Artifactory: &credentials.ArtifactoryExchange{}}), []string{"federated.exchange.artifactory.provider"}},
		"subject, none":        {federated(credentials.Subject{Audience: "a"}, credentials.Exchange{Password: &credentials.PasswordExchange{}}), []string{"federated.subject"}},
		"subject, two":         {federated(credentials.Subject{File: "/a", Source: "b"}, credentials.Exchange{Password: &credentials.PasswordExchange{}}), []string{"federated.subject"}},
		"subject, no name":     {federated(credentials.Subject{Kubernetes: &credentials.ServiceAccount{}}, credentials.Exchange{Password: &credentials.PasswordExchange{}}), []string{"federated.subject.kubernetes.name"}},
		"subject, a colon":     {federated(credentials.Subject{Kubernetes: &credentials.ServiceAccount{Namespace: "a:b", Name: "c/d"}}, credentials.Exchange{Password: &credentials.PasswordExchange{}}), []string{"federated.subject.kubernetes.namespace", "federated.subject.kubernetes.name"}},
		"subject, audience":    {federated(credentials.Subject{File: "/a", Audience: " a"}, credentials.Exchange{Password: &credentials.PasswordExchange{}}), []string{"federated.subject.audience"}},
		"Google, delegates":    {google(credentials.GoogleLogin{Delegates: []string{"a@b"}}), []string{"google.delegates"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := test.login.Validate()
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			invalid, ok := errors.AsType[*field.Errors](err)
			require.True(t, ok, "%T", err)
			var got []string
			for _, f := range invalid.Fields {
				got = append(got, f.Field)
				require.NotEmpty(t, f.Problem)
				require.NotEmpty(t, f.Want)
			}
			require.Equal(t, test.want, got, "%v", err)
			requireNoLeak(t, err.Error())
			requireNoLeak(t, fmt.Sprintf("%+v", err))
		})
	}
}

func TestRoleARNs(t *testing.T) {
	for arn, want := range map[string]bool{
		role: true, "arn:aws-us-gov:iam::123456789012:role/path/pull": true, "arn:aws-iso-b:iam::123456789012:role/pull": true,
		"": false, "arn:aws:iam::123456789012:role": false, "arn:aws:iam::123456789012:role/": false, "arn:aws:iam:::role/pull": false,
		"arn:aws:sts::123456789012:assumed-role/pull/me": false, "arn:gcp:iam::123456789012:role/pull": false, role + "\n": false, " " + role: false,
	} {
		err := credentials.Login{AWS: &credentials.AWSLogin{Roles: []credentials.AWSRole{{ARN: arn}}}}.Validate()
		require.Equal(t, want, err == nil, "%q: %v", arn, err)
	}
}

func FuzzLoginJSON(f *testing.F) {
	for _, seed := range []string{
		`{"username":"jo","password":"` + strings.Repeat("a", 70) + `"}`, `{"anonymous":true}`, `{"aws":{"roles":[{"arn":"arn:aws:iam::1:role/a"}]}}`,
		`{"google":{"credentials":"{}","delegates":["a"]}}`, `{"fields":{"a":"b","":null}}`, `{"aws":null,"expiresAt":"2027-01-31T00:00:00Z"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var login credentials.Login
		if json.Unmarshal(data, &login) != nil {
			return
		}
		err := login.Validate()
		if p := login.Password.Reveal(); err != nil && len(p) > 16 && strings.Contains(err.Error(), p) {
			t.Errorf("the password is in the error: %v", err)
		}
		var again credentials.Login
		require.NoError(t, json.Unmarshal(data, &again))
		require.Equal(t, login.Fingerprint(), again.Fingerprint())
	})
}
