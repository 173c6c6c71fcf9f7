package gcr_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/gcr/gcrtest"
	"github.com/regcred/regcred/registry"
)

const impersonatePuller = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + puller + ":generateAccessToken"

// external is the configuration that gcloud iam workload-identity-pools create-cred-config writes, with changes.
func external(source map[string]any, changes map[string]any) credentials.Login {
	config := map[string]any{
		"universe_domain":    "googleapis.com",
		"type":               "external_account",
		"audience":           provider,
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
		"token_url":          "https://sts.googleapis.com/v1/token",
		"credential_source":  source,
	}
	maps.Copy(config, changes)
	text, err := json.Marshal(config)
	if err != nil {
		panic(err)
	}
	return googleLogin(credentials.GoogleLogin{Credentials: credentials.NewSecret(string(text))})
}

func TestWorkloadIdentityFederation(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	token := cloud.SubjectToken(provider, "repo:team/app", 0).Reveal()
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "bearer of the job" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"value": token})
	}))
	t.Cleanup(issuer.Close)
	file := writeFile(t, token+"\n")
	jsonFile := writeFile(t, `{"id_token":"`+token+`"}`)
	source := map[string]any{"url": issuer.URL, "headers": map[string]string{"Authorization": "bearer of the job"},
		"format": map[string]string{"type": "json", "subject_token_field_name": "value"}}
	p := gcr.Provider{SubjectTokens: []string{file, jsonFile, issuer.URL}, NoAmbient: true}

	for name, login := range map[string]credentials.Login{
		"file":      external(map[string]any{"file": file}, nil),
		"JSON file": external(map[string]any{"file": jsonFile, "format": map[string]string{"type": "json", "subject_token_field_name": "id_token"}}, nil),
		"URL":       external(source, nil),
		"impersonation": external(map[string]any{"file": file}, map[string]any{
			"service_account_impersonation_url": impersonatePuller,
			"service_account_impersonation":     map[string]int{"token_lifetime_seconds": 1200},
		}),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := through(n, p).Credential(t.Context(), profile(n, login))
			require.NoError(t, err)
			require.Equal(t, "oauth2accesstoken", c.Username)
			want := time.Hour
			if name == "impersonation" {
				want = 20 * time.Minute
			}
			require.WithinDuration(t, time.Now().Add(want), c.ExpiresAt, time.Minute)
		})
	}
	require.Contains(t, cloud.Calls(), gcrtest.Call{Action: "exchange", Host: "sts.googleapis.com", Principal: subject})
	require.Contains(t, cloud.Calls(), gcrtest.Call{Action: "generateAccessToken", Host: "iamcredentials.googleapis.com", Principal: subject})
	require.NotContains(t, n.Dialed(), issuer.Listener.Addr().String(), "the profile's proxy must not see how the machine gets its token")

	t.Run("the file is read again", func(t *testing.T) {
		path := writeFile(t, cloud.SubjectToken(provider, "repo:team/app", -time.Second).Reveal())
		p := gcr.Provider{SubjectTokens: []string{path}}
		_, err := through(n, p).Credential(t.Context(), profile(n, external(map[string]any{"file": path}, nil)))
		require.ErrorIs(t, err, registry.ErrExpired)
		require.Contains(t, registry.HintOf(err), "the subject token expired")
	})
	t.Run("refused by the issuer", func(t *testing.T) {
		_, err := through(n, p).Credential(t.Context(), profile(n, external(map[string]any{"url": issuer.URL}, nil)))
		require.ErrorIs(t, err, registry.ErrNoIdentity)
	})
	t.Run("no file", func(t *testing.T) {
		p := gcr.Provider{SubjectTokens: []string{"/nonexistent/token"}}
		_, err := through(n, p).Credential(t.Context(), profile(n, external(map[string]any{"file": "/nonexistent/token"}, nil)))
		require.ErrorIs(t, err, registry.ErrNoIdentity)
		require.ErrorContains(t, err, "/nonexistent/token")
	})
	t.Run("wrong provider", func(t *testing.T) {
		_, err := through(n, p).Credential(t.Context(), profile(n, external(map[string]any{"file": file}, map[string]any{"audience": pool + "/providers/other"})))
		require.ErrorIs(t, err, registry.ErrInvalid)
		require.Contains(t, registry.HintOf(err), "check the audience")
	})
	t.Run("another account", func(t *testing.T) {
		_, err := through(n, p).Credential(t.Context(), profile(n, external(map[string]any{"file": file}, map[string]any{
			"service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + builder + ":generateAccessToken",
		})))
		require.ErrorIs(t, err, registry.ErrDenied)
	})
}

// The configuration of an external account can request to read files, call URLs and start programs: nothing is executed
// unless the program allowed it, and the data is sent only to Google.
func TestExternalAccountsAreChecked(t *testing.T) {
	cloud := newGoogle()
	n := attach(t, cloud)
	file := writeFile(t, cloud.SubjectToken(provider, "repo:team/app", 0).Reveal())
	good := map[string]any{"file": file}
	p := gcr.Provider{SubjectTokens: []string{file, "https://issuer.example/token"}}
	require.NoError(t, p.Validate(profile(n, external(good, nil))))

	for name, login := range map[string]credentials.Login{
		"another file":              external(map[string]any{"file": "/etc/shadow"}, nil),
		"the same file by a detour": external(map[string]any{"file": "/tmp/.." + file}, nil),
		"another URL":               external(map[string]any{"url": "http://169.254.169.254/latest/meta-data/"}, nil),
		"a URL below":               external(map[string]any{"url": "https://issuer.example/token/../secret"}, nil),
		"file and URL":              external(map[string]any{"file": file, "url": "https://issuer.example/token"}, nil),
		"program":                   external(map[string]any{"executable": map[string]any{"command": "/bin/sh -c id"}}, nil),
		"program beside a file":     external(map[string]any{"file": file, "executable": map[string]any{"command": "/bin/sh"}}, nil),
		"identity of AWS":           external(map[string]any{"environment_id": "aws1", "region_url": "http://169.254.169.254/x"}, nil),
		"certificate":               external(map[string]any{"certificate": map[string]any{"use_default_certificate_config": true}}, nil),
		"no source":                 external(nil, nil),
		"format without field":      external(map[string]any{"file": file, "format": map[string]string{"type": "json"}}, nil),
		"unknown format":            external(map[string]any{"file": file, "format": map[string]string{"type": "xml"}}, nil),
		"token URL":                 external(good, map[string]any{"token_url": "https://sts.googleapis.com.evil.example/v1/token"}),
		"token URL in clear":        external(good, map[string]any{"token_url": "http://sts.googleapis.com/v1/token"}),
		"token URL with a user":     external(good, map[string]any{"token_url": "https://sts.googleapis.com@evil.example/v1/token"}),
		"no token URL":              external(good, map[string]any{"token_url": ""}),
		"impersonation URL":         external(good, map[string]any{"service_account_impersonation_url": "https://evil.example/v1/projects/-/serviceAccounts/" + puller + ":generateAccessToken"}),
		"impersonation elsewhere":   external(good, map[string]any{"service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/../../x@y.gserviceaccount.com:generateAccessToken"}),
		"impersonation query":       external(good, map[string]any{"service_account_impersonation_url": impersonatePuller + "?x=y"}),
		"other method":              external(good, map[string]any{"service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + puller + ":signBlob"}),
		"audience":                  external(good, map[string]any{"audience": "https://evil.example"}),
		"universe":                  external(good, map[string]any{"universe_domain": "evil.example"}),
		"type in other letters":     external(good, map[string]any{"type": "External_Account"}),
		"no token type":             external(good, map[string]any{"subject_token_type": ""}),
		"negative lifetime":         external(good, map[string]any{"service_account_impersonation": map[string]int{"token_lifetime_seconds": -1}}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := through(n, p).Credential(t.Context(), profile(n, login))
			require.ErrorIs(t, err, registry.ErrInvalid)
			require.ErrorContains(t, err, "login.google.credentials")
		})
	}
	_, err := through(n, gcr.Provider{}).Credential(t.Context(), profile(n, external(good, nil)))
	require.ErrorIs(t, err, registry.ErrInvalid, "nothing is allowed unless it is named")
	require.Empty(t, n.Dialed())
	require.Empty(t, cloud.Calls())
}
