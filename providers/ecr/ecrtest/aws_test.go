package ecrtest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/registry/registrytest"
)

const (
	host   = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
	userID = "AKIAEXAMPLE000000000"
)

func newAWS() *ecrtest.AWS {
	return &ecrtest.AWS{Users: []ecrtest.User{{
		ARN: "arn:aws:iam::123456789012:user/ci", AccessKeyID: userID, SecretAccessKey: credentials.NewSecret("secret"), Allow: ecrtest.PullActions(),
	}}}
}

// ask sends a request for a token that AWS's own signer signs, after the change.
func ask(t *testing.T, cloud *ecrtest.AWS, key aws.Credentials, region string, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	body := []byte("{}")
	req := httptest.NewRequest(http.MethodPost, "https://api.ecr."+region+".amazonaws.com/", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken")
	sum := sha256.Sum256(body)
	require.NoError(t, v4.NewSigner().SignHTTP(context.Background(), key, req, hex.EncodeToString(sum[:]), "ecr", region, time.Now()))
	change(req)
	w := httptest.NewRecorder()
	cloud.ServeHTTP(w, req)
	return w
}

func code(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var answer struct {
		Type string `json:"__type"`
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer), w.Body.String())
	return answer.Type
}

// A signature is valid for one request: any change to the request makes it invalid.
func TestSignatures(t *testing.T) {
	good := aws.Credentials{AccessKeyID: userID, SecretAccessKey: "secret"}
	for name, test := range map[string]struct {
		key    aws.Credentials
		change func(*http.Request)
		want   string
	}{
		"good":   {good, func(*http.Request) {}, ""},
		"body":   {good, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"registryIds":["1"]}`)) }, "InvalidSignatureException"},
		"target": {good, func(r *http.Request) { r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.PutImage") }, "InvalidSignatureException"},
		"query":  {good, func(r *http.Request) { r.URL.RawQuery = "a=b" }, "InvalidSignatureException"},
		"path":   {good, func(r *http.Request) { r.URL.Path = "/x" }, "InvalidSignatureException"},
		"region": {good, func(r *http.Request) { r.Host = "api.ecr.eu-west-1.amazonaws.com" }, "InvalidSignatureException"},
		"date": {good, func(r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().UTC().Add(time.Minute).Format("20060102T150405Z"))
		}, "InvalidSignatureException"},
		"no signature":     {good, func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException"},
		"another secret":   {aws.Credentials{AccessKeyID: userID, SecretAccessKey: "other"}, func(*http.Request) {}, "InvalidSignatureException"},
		"unknown key":      {aws.Credentials{AccessKeyID: "AKIAX", SecretAccessKey: "secret"}, func(*http.Request) {}, "UnrecognizedClientException"},
		"a session's key":  {aws.Credentials{AccessKeyID: userID, SecretAccessKey: "secret", SessionToken: "x"}, func(*http.Request) {}, "UnrecognizedClientException"},
		"another method":   {good, func(r *http.Request) { r.Method = http.MethodGet }, "UnknownOperationException"},
		"unsigned session": {good, func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, "UnrecognizedClientException"},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(t, newAWS(), test.key, "us-east-1", test.change)
			require.Equal(t, test.want, code(t, w), w.Body.String())
			require.Equal(t, test.want == "", w.Code == http.StatusOK)
		})
	}
}

func tokenIn(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var answer struct {
		AuthorizationData []struct {
			AuthorizationToken string `json:"authorizationToken"`
		} `json:"authorizationData"`
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	require.Len(t, answer.AuthorizationData, 1, w.Body.String())
	pair, err := base64.StdEncoding.DecodeString(answer.AuthorizationData[0].AuthorizationToken)
	require.NoError(t, err)
	_, password, _ := strings.Cut(string(pair), ":")
	return password
}

func pull(cloud *ecrtest.AWS, host, password string) int {
	req := httptest.NewRequest(http.MethodGet, "https://"+host+"/v2/team/app/manifests/1", nil)
	req.SetBasicAuth("AWS", password)
	w := httptest.NewRecorder()
	cloud.ServeHTTP(w, req)
	return w.Code
}

// Tokens are valid for twelve hours, in their region.
func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newAWS()
		for _, h := range []string{host, strings.Replace(host, "us-east-1", "eu-west-1", 1)} {
			_, err := cloud.Registry(h).Add("team/app:1", registrytest.Image{})
			require.NoError(t, err)
		}
		token := tokenIn(t, ask(t, cloud, aws.Credentials{AccessKeyID: userID, SecretAccessKey: "secret"}, "us-east-1", func(*http.Request) {}))
		require.Equal(t, http.StatusOK, pull(cloud, host, token))
		require.Equal(t, http.StatusForbidden, pull(cloud, "123456789012.dkr.ecr.eu-west-1.amazonaws.com", token))
		require.Equal(t, http.StatusUnauthorized, pull(cloud, host, token+"x"))
		time.Sleep(12*time.Hour - time.Second)
		require.Equal(t, http.StatusOK, pull(cloud, host, token))
		time.Sleep(time.Second)
		require.Equal(t, http.StatusForbidden, pull(cloud, host, token))
	})
}

// An account may request 200 tokens at once in a region, and 20 per second from then on.
func TestThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newAWS()
		key := aws.Credentials{AccessKeyID: userID, SecretAccessKey: "secret"}
		served := func(region string, calls int) (served int) {
			for range calls {
				if w := ask(t, cloud, key, region, func(*http.Request) {}); w.Code == http.StatusOK {
					served++
				} else {
					require.Equal(t, "ThrottlingException", code(t, w))
				}
			}
			return served
		}
		require.Equal(t, 200, served("us-east-1", 250))
		require.Equal(t, 10, served("eu-west-1", 10), "each region by itself")
		time.Sleep(time.Second)
		require.Equal(t, 20, served("us-east-1", 50))
	})
}
