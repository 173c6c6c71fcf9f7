package credentials_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

// everything returns a login with all fields set.
func everything() credentials.Login {
	secret := credentials.NewSecret("a")
	subject := credentials.Subject{
		Kubernetes: &credentials.ServiceAccount{Cluster: "a", Namespace: "b", Name: "c"},
		File:       "a", Environment: "b", Source: "c", Audience: "d",
	}
	return credentials.Login{
		Anonymous: true, Ambient: true, Username: "jo", Password: secret, ExpiresAt: time.Unix(1, 0),
		AWS: &credentials.AWSLogin{
			AccessKeyID: "AKIA", SecretAccessKey: secret, SessionToken: secret,
			WebIdentity: &credentials.AWSWebIdentity{RoleARN: "a", Subject: &subject, TokenFile: "b", Token: secret, SessionName: "c", SessionPolicy: "d"},
			Roles:       []credentials.AWSRole{{ARN: "a", ExternalID: "b", SessionName: "c"}}, NoInstanceMetadata: true,
		},
		Google: &credentials.GoogleLogin{
			Credentials: secret, AccessToken: true, Impersonate: "a", Delegates: []string{"b"},
			Federation: &credentials.GoogleFederation{Provider: "a", GKE: "b", Subject: subject},
		},
		Azure: &credentials.AzureLogin{TenantID: "a", ClientID: "b", ClientSecret: secret, Certificate: secret, Subject: &subject, ManagedIdentity: true},
		Federated: &credentials.FederatedLogin{Subject: subject, Exchange: credentials.Exchange{
			Password: &credentials.PasswordExchange{Username: "a"}, Quay: &credentials.QuayExchange{Robot: "a"},
			Artifactory: &credentials.ArtifactoryExchange{Provider: "a", Mapping: "b", Project: "c"},
			Cloudsmith:  &credentials.CloudsmithExchange{Organization: "a", Service: "b"},
			Chainguard:  &credentials.ChainguardExchange{Identity: "a"},
			DockerHub:   &credentials.DockerHubExchange{Organization: "a", Connection: "b"},
			IBM:         &credentials.IBMExchange{Profile: "a"},
		}},
		Fields: map[string]credentials.Secret{"key": secret}, Settings: map[string]string{"key": "value"},
	}
}

// TestFingerprintKnowsEveryField finds the fields by reflection, so that it fails if a new field is forgotten.
func TestFingerprintKnowsEveryField(t *testing.T) {
	before := everything().Fingerprint()
	require.Equal(t, before, everything().Fingerprint())
	var count int
	// change changes each part of the login root in turn, including the values that it points to.
	var change func(path string, root *credentials.Login, v reflect.Value)
	check := func(path string, root *credentials.Login, v, other reflect.Value) {
		count++
		require.False(t, v.IsZero(), "%s is not set by everything()", path)
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		v.Set(other)
		require.NotEqual(t, before, root.Fingerprint(), "%s is not in the fingerprint", path)
		v.Set(old)
	}
	change = func(path string, root *credentials.Login, v reflect.Value) {
		switch x := v.Interface().(type) {
		case credentials.Secret:
			check(path, root, v, reflect.ValueOf(credentials.NewSecret(x.Reveal()+"x")))
			return
		case time.Time:
			check(path, root, v, reflect.ValueOf(x.Add(time.Nanosecond)))
			return
		}
		switch v.Kind() {
		case reflect.Bool:
			check(path, root, v, reflect.ValueOf(false))
		case reflect.String:
			check(path, root, v, reflect.ValueOf(v.String()+"x"))
		case reflect.Pointer:
			check(path, root, v, reflect.Zero(v.Type()))
			change(path, root, v.Elem())
		case reflect.Struct:
			for i := range v.NumField() {
				change(path+"."+v.Type().Field(i).Name, root, v.Field(i))
			}
		case reflect.Slice:
			check(path, root, v, reflect.AppendSlice(v, v))
			change(path+"[0]", root, v.Index(0))
		case reflect.Map:
			if v.Type() == reflect.TypeFor[map[string]string]() {
				check(path, root, v, reflect.ValueOf(map[string]string{"key": "b"}))
				check(path, root, v, reflect.ValueOf(map[string]string{"other": "value"}))
				return
			}
			require.Equal(t, reflect.TypeFor[map[string]credentials.Secret](), v.Type(), path)
			check(path, root, v, reflect.ValueOf(map[string]credentials.Secret{"key": credentials.NewSecret("b")}))
			check(path, root, v, reflect.ValueOf(map[string]credentials.Secret{"other": credentials.NewSecret("a")}))
		default:
			t.Fatalf("%s is of a kind that this test does not know: %s", path, v.Type())
		}
	}
	login := everything()
	change("Login", &login, reflect.ValueOf(&login).Elem())
	require.Greater(t, count, 25)
}

func TestFingerprintKeepsThingsApart(t *testing.T) {
	secret := credentials.NewSecret
	seen := make(map[credentials.Fingerprint]string)
	for name, login := range map[string]credentials.Login{
		"nothing":              {},
		"name":                 {Username: "ab"},
		"name and password":    {Username: "a", Password: secret("b")},
		"password":             {Password: secret("ab")},
		"empty AWS":            {AWS: &credentials.AWSLogin{}},
		"empty Google":         {Google: &credentials.GoogleLogin{}},
		"empty Azure":          {Azure: &credentials.AzureLogin{}},
		"empty federated":      {Federated: &credentials.FederatedLogin{}},
		"empty exchange":       {Federated: &credentials.FederatedLogin{Exchange: credentials.Exchange{Quay: &credentials.QuayExchange{}}}},
		"one field":            {Fields: map[string]credentials.Secret{"a": secret("b")}},
		"a longer field":       {Fields: map[string]credentials.Secret{"ab": {}}},
		"two fields":           {Fields: map[string]credentials.Secret{"a": {}, "b": {}}},
		"one delegate":         {Google: &credentials.GoogleLogin{Delegates: []string{"ab"}}},
		"two delegates":        {Google: &credentials.GoogleLogin{Delegates: []string{"a", "b"}}},
		"impersonates":         {Google: &credentials.GoogleLogin{Impersonate: "a", Delegates: []string{"b"}}},
		"two roles":            {AWS: &credentials.AWSLogin{Roles: []credentials.AWSRole{{ARN: "a"}, {ARN: "b"}}}},
		"a role with an ID":    {AWS: &credentials.AWSLogin{Roles: []credentials.AWSRole{{ARN: "a", ExternalID: "b"}}}},
		"empty web identity":   {AWS: &credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{}}},
		"a role without a web": {AWS: &credentials.AWSLogin{Roles: []credentials.AWSRole{{}}}},
	} {
		f := login.Fingerprint()
		require.Empty(t, seen[f], "%s", name)
		seen[f] = name
	}
	at := time.Unix(1, 0)
	require.Equal(t, credentials.Login{ExpiresAt: at}.Fingerprint(), credentials.Login{ExpiresAt: at.In(time.FixedZone("x", 3600))}.Fingerprint())
	require.Equal(t, credentials.Login{Fields: map[string]credentials.Secret{}}.Fingerprint(), credentials.Login{}.Fingerprint())
}

func TestDigestKeepsPurposesApart(t *testing.T) {
	a, b := credentials.NewHasher("a"), credentials.NewHasher("b")
	require.NotEqual(t, a.Sum(), b.Sum())
	require.Equal(t, a.Sum(), credentials.NewHasher("a").Sum())
	before := a.Sum()
	a.Text("")
	require.NotEqual(t, before, a.Sum(), "an empty text counts")
	require.Len(t, fmt.Sprint(before), 32)
}

func TestDigestReadsLongTextsToTheirEnd(t *testing.T) {
	long := strings.Repeat("x", 1000)
	sum := func(text string, secret bool) credentials.Fingerprint {
		d := credentials.NewHasher("")
		if secret {
			d.Secret(credentials.NewSecret(text))
		} else {
			d.Text(text)
		}
		return d.Sum()
	}
	for _, secret := range []bool{false, true} {
		require.Equal(t, sum(long, secret), sum(long, secret))
		require.NotEqual(t, sum(long+"a", secret), sum(long+"b", secret))
	}
	require.Equal(t, sum(long, false), sum(long, true))
}

func TestDigestPrintsNoSecret(t *testing.T) {
	d := credentials.NewHasher("")
	d.Secret(credentials.NewSecret(canary))
	d.Text(canary)
	requireNoLeak(t, fmt.Sprintf("%s %+v %#v", d, *d, *d))
}

func TestKeyPrintsNoSecret(t *testing.T) {
	login := everything()
	login.Password = credentials.NewSecret(canary)
	key := credentials.Key{Tenant: "acme", Issuer: "ecr", Scope: "aws/eu-west-1", Login: login.Fingerprint()}
	require.Regexp(t, `^acme/ecr/aws/eu-west-1#[0-9a-f]{8}$`, key.String())
	key.Tenant = ""
	require.Regexp(t, `^ecr/aws/eu-west-1#[0-9a-f]{8}$`, key.String())
	requireNoLeak(t, fmt.Sprintf("%v %+v %#v", key, key, key))
}

func TestFingerprintOf(t *testing.T) {
	long := []byte(strings.Repeat("x", 3000))
	for _, data := range [][]byte{nil, []byte("a"), long} {
		d := credentials.NewHasher("purpose")
		d.Text(string(data))
		require.Equal(t, d.Sum(), credentials.FingerprintOf("purpose", data))
		require.NotEqual(t, d.Sum(), credentials.FingerprintOf("other", data))
	}
	if !raceDetector { // With it, a pool drops values at random.
		require.Zero(t, testing.AllocsPerRun(100, func() { credentials.FingerprintOf("purpose", long) }))
	}
}
