package systemregistry_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/accounts"
)

// An admin's program manages a robot through the API. Each change of its rights takes effect at the next pull.
func TestLifeOfARobot(t *testing.T) {
	r := start(t, systemregistry.Server{})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	call := func(method, path, body string, want int) (answer struct{ Name, Secret, Key string }) {
		t.Helper()
		resp, text := r.do(t, method, "/api/v1/accounts"+path, body, basic("root", password("root")), asJSON)
		require.Equal(t, want, resp.StatusCode, text)
		if text != "" {
			require.NoError(t, json.Unmarshal([]byte(text), &answer))
		}
		return answer
	}
	const name = "team+ci"
	query := "?name=" + url.QueryEscape(name)
	pulls := func(secret credentials.Secret) bool {
		_, err := r.tryToken(t, name, secret, "repository:team/app:pull")
		return err == nil && r.pull(t, name, secret, "team/app", "1") == http.StatusOK
	}

	made := call("POST", "", `{"name":"ci","robot":true,"tenant":"team","rules":[{"repositories":"team/**","actions":["pull"]}]}`, 201)
	require.Equal(t, name, made.Name)
	first := credentials.NewSecret(made.Secret)
	require.True(t, pulls(first))
	call("POST", "", `{"name":"ci","robot":true,"tenant":"team"}`, 409)

	second := credentials.NewSecret(call("POST", "/secret"+query, `{}`, 201).Secret)
	require.False(t, pulls(first), "the secret before")
	require.True(t, pulls(second))

	call("PUT", query, `{"rules":[{"repositories":"team/other","actions":["pull"]}]}`, 200)
	require.False(t, pulls(second), "without the right")
	call("PUT", query, `{"rules":[{"repositories":"team/app","actions":["pull"]}],"description":"of the pipeline"}`, 200)
	require.True(t, pulls(second))

	minted, err := system.Provider{}.Credential(t.Context(), registry.Profile{
		Name: "p", Kind: registry.System, Endpoint: r.Host + "/team",
		Login: credentials.Login{Fields: map[string]credentials.Secret{
			"key": credentials.NewSecret(call("POST", "/key"+query, "", 201).Key),
		}},
	})
	require.NoError(t, err)
	require.True(t, pulls(minted.Password))
	call("PUT", query, `{"keys":["another"]}`, 200)
	require.False(t, pulls(minted.Password), "without the key")
	require.True(t, pulls(second), "its secret has nothing to do with keys")

	call("PUT", query, `{"disabled":true}`, 200)
	require.False(t, pulls(second), "while disabled")
	call("PUT", query, `{"disabled":false,"expiresAt":"2001-01-01T00:00:00Z"}`, 200)
	require.False(t, pulls(second), "after its end")
	call("PUT", query, `{"expiresAt":"0001-01-01T00:00:00Z"}`, 200)
	require.True(t, pulls(second), "without an end")
	call("DELETE", query, "", 204)
	require.False(t, pulls(second), "after it was deleted")
	call("DELETE", query, "", 404)
}

// While an admin of a tenant sends a request, the account is deleted, and created again for another tenant. The request
// fails.
func TestAccountOfAnotherTenantMeanwhile(t *testing.T) {
	r := open(t, systemregistry.Server{})
	create := func(name, tenant string, admin bool) {
		a := accounts.Account{Name: name, Tenant: tenant, Admin: admin}
		if a.Robot() {
			_, err := r.Accounts().CreateRobot(t.Context(), a)
			require.NoError(t, err)
			return
		}
		require.NoError(t, r.Accounts().Create(t.Context(), a, password(name)))
	}
	create("boss", "a", true)
	for name, tt := range map[string]struct {
		account, method, path, body string
		as                          func(*http.Request)
	}{
		"password":     {"bob", "POST", "/api/v1/accounts/secret", `{"password":"mine from now on"}`, basic("boss", password("boss"))},
		"own password": {"own", "POST", "/api/v1/accounts/secret", `{"password":"mine from now on","current":"password of own"}`, basic("own", password("own"))},
		"key":          {"eve", "POST", "/api/v1/accounts/key", `{"current":"password of boss"}`, r.session(t, "boss")},
		"rights":       {"dan", "PUT", "/api/v1/accounts", `{"admin":true}`, basic("boss", password("boss"))},
	} {
		t.Run(name, func(t *testing.T) {
			create(tt.account, "a", false)
			body, client := io.Pipe()
			done := make(chan int, 1)
			go func() {
				resp, _, err := r.try(t, tt.method, tt.path+"?name="+tt.account, "", tt.as, asJSON, func(req *http.Request) { req.Body = body })
				if err != nil {
					t.Error(err)
				}
				done <- resp.StatusCode
			}()
			_, err := io.WriteString(client, tt.body[:1]) // The server has found the account once it reads this.
			require.NoError(t, err)
			require.NoError(t, r.Accounts().Delete(t.Context(), tt.account))
			create(tt.account, "b", false)
			before, err := r.Accounts().Account(t.Context(), tt.account)
			require.NoError(t, err)
			_, err = io.WriteString(client, tt.body[1:])
			require.NoError(t, err)
			require.NoError(t, client.Close())
			require.Equal(t, http.StatusNotFound, <-done)
			after, err := r.Accounts().Account(t.Context(), tt.account)
			require.NoError(t, err)
			require.Equal(t, before, after)
		})
	}
}

// A new account does not list the sessions of a deleted account with the same name, nor those before a new password.
func TestSessionsEndWithTheAccount(t *testing.T) {
	r := open(t, systemregistry.Server{})
	sessions := func() (list struct{ Sessions []struct{ ID string } }) {
		_, body := r.do(t, "GET", "/api/v1/sessions?name=ann", "", basic("root", password("root")))
		require.NoError(t, json.Unmarshal([]byte(body), &list))
		return list
	}
	r.session(t, "ann")
	require.Len(t, sessions().Sessions, 1)
	resp, body := r.do(t, "POST", "/api/v1/accounts/secret?name=ann", `{"password":"password of ann"}`, basic("root", password("root")), asJSON)
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	require.Empty(t, sessions().Sessions)

	r.session(t, "ann")
	resp, body = r.do(t, "DELETE", "/api/v1/accounts?name=ann", "", basic("root", password("root")))
	require.Equal(t, http.StatusNoContent, resp.StatusCode, body)
	r.person(t, "ann", "")
	require.Empty(t, sessions().Sessions)
}

func TestOwnPassword(t *testing.T) {
	r := start(t, systemregistry.Server{})
	change := func(body string) int {
		resp, _ := r.do(t, "POST", "/api/v1/accounts/secret?name=ann", body, basic("ann", password("ann")), asJSON)
		return resp.StatusCode
	}
	require.Equal(t, http.StatusUnauthorized, change(`{"current":"a wrong one","password":"another password"}`))
	require.Equal(t, http.StatusBadRequest, change(`{"current":"password of ann","password":"short"}`))
	require.Equal(t, http.StatusCreated, change(`{"current":"password of ann","password":"another password"}`))
	_, err := r.tryToken(t, "ann", password("ann"))
	require.Error(t, err)
	_, err = r.tryToken(t, "ann", credentials.NewSecret("another password"))
	require.NoError(t, err)
}
