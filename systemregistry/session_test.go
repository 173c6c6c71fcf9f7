package systemregistry_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/accounts"
)

// session logs in to the console, and returns a function that adds the browser's cookie to a request.
func (r *running) session(t *testing.T, name string) func(*http.Request) {
	t.Helper()
	resp, body := r.do(t, "POST", "/api/v1/session", `{"username":"`+name+`","password":"password of `+name+`"}`, asJSON)
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	c := resp.Cookies()[0]
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value}) }
}

// An attacker uses a browser that was left logged in. Changes that outlast the session require the password.
func TestOpenSessionIsNotEnough(t *testing.T) {
	everywhere(t, systemregistry.Server{}, testOpenSessionIsNotEnough)
}

func testOpenSessionIsNotEnough(t *testing.T, r *running) {
	browser := r.session(t, "root")
	resp, body := r.do(t, "POST", "/api/v1/logins", `{"repositories":["team/**"],"actions":["pull"]}`, browser, asJSON)
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	var minted struct{ Password string }
	require.NoError(t, json.Unmarshal([]byte(body), &minted))
	robot, secret := r.robot(t, "team", "ci", rule("team/**", "pull"))

	for name, tt := range map[string]struct{ method, path, body string }{
		"change one's own password":    {"POST", "/api/v1/accounts/secret?name=root", `{"password":"mine from now on"}`},
		"change another's password":    {"POST", "/api/v1/accounts/secret?name=ann", `{"password":"mine from now on"}`},
		"make another admin":           {"POST", "/api/v1/accounts", `{"name":"eve","admin":true,"password":"mine from now on"}`},
		"make another person":          {"POST", "/api/v1/accounts", `{"name":"eve","password":"mine from now on"}`},
		"make an admin of a person":    {"PUT", "/api/v1/accounts?name=ann", `{"admin":true}`},
		"give a person rights":         {"PUT", "/api/v1/accounts?name=ann", `{"rules":[{"repositories":"**","actions":["pull"]}]}`},
		"make a key for a person":      {"POST", "/api/v1/accounts/key?name=ann", `{}`},
		"make a key for oneself":       {"POST", "/api/v1/accounts/key?name=root", `{}`},
		"make a key without any body":  {"POST", "/api/v1/accounts/key?name=root", ``},
		"change a person's expiration": {"PUT", "/api/v1/accounts?name=ann", `{"expiresAt":"2999-01-01T00:00:00Z"}`},
	} {
		for what, current := range map[string]string{
			"nothing": "", "a wrong password": "a wrong one", "a login that was minted with the session": minted.Password, "a robot's secret": secret.Reveal(),
		} {
			with := tt.body
			if current != "" && with != "" {
				text, err := json.Marshal(current)
				require.NoError(t, err)
				with = strings.Replace(strings.TrimSuffix(with, "}")+`,"current":`+string(text)+"}", "{,", "{", 1)
			}
			resp, body := r.do(t, tt.method, tt.path, with, browser, asJSON)
			require.Contains(t, []int{400, 401, 403, 429}, resp.StatusCode, "%s with %s: %s", name, what, body)
		}
	}
	for _, name := range []string{"root", "ann"} {
		require.NoError(t, func() error { _, err := r.tryToken(t, name, password(name)); return err }())
		got, err := r.Accounts().Account(t.Context(), name)
		require.NoError(t, err)
		require.Empty(t, got.Keys)
	}
	_, err := r.Accounts().Account(t.Context(), "eve")
	require.ErrorIs(t, err, accounts.ErrAccountNotFound)

	t.Run("with the password", func(t *testing.T) {
		resp, body := r.do(t, "POST", "/api/v1/accounts", `{"name":"eve","password":"long enough","current":"password of root"}`, browser, asJSON)
		require.Equal(t, http.StatusCreated, resp.StatusCode, body)
		resp, body = r.do(t, "POST", "/api/v1/accounts/secret?name="+strings.ReplaceAll(robot, "+", "%2B"), `{}`, browser, asJSON)
		require.Equal(t, http.StatusCreated, resp.StatusCode, "for robots, the session is enough: %s", body)
		resp, body = r.do(t, "POST", "/api/v1/accounts/secret?name=root", `{"password":"another password","current":"password of root"}`, browser, asJSON)
		require.Equal(t, http.StatusCreated, resp.StatusCode, body)
		_, err := r.Accounts().Verify(t.Context(), "root", credentials.NewSecret("another password"))
		require.NoError(t, err)
	})
}

// Logging out ends the session, and not only the browser's copy of it.
func TestEndSession(t *testing.T) {
	everywhere(t, systemregistry.Server{}, testEndSession)
}

func testEndSession(t *testing.T, r *running) {
	me := func(browser func(*http.Request)) int {
		resp, _ := r.do(t, "GET", "/api/v1/me", "", browser)
		return resp.StatusCode
	}
	first, second := r.session(t, "ann"), r.session(t, "ann")
	other := r.session(t, "mallory")
	resp, _ := r.do(t, "DELETE", "/api/v1/session", "", first)
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	require.Equal(t, http.StatusUnauthorized, me(first), "a copy of the cookie")
	require.Equal(t, http.StatusOK, me(second))

	for range 30 {
		r.session(t, "ann")
	}
	require.Equal(t, http.StatusUnauthorized, me(second), "the oldest of too many")
	third := r.session(t, "ann")
	var list struct {
		Sessions []struct {
			ID      string
			Current bool
		}
	}
	_, body := r.do(t, "GET", "/api/v1/sessions", "", third)
	require.NoError(t, json.Unmarshal([]byte(body), &list))
	require.Len(t, list.Sessions, 20)
	current := 0
	for _, s := range list.Sessions {
		if s.Current {
			current++
		}
	}
	require.Equal(t, 1, current)

	resp, _ = r.do(t, "DELETE", "/api/v1/sessions?name=ann", "", other)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	resp, _ = r.do(t, "DELETE", "/api/v1/sessions", "", third)
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	require.Equal(t, http.StatusUnauthorized, me(third))
	require.Equal(t, http.StatusOK, me(other))
	resp, _ = r.do(t, "DELETE", "/api/v1/sessions?name=mallory", "", r.session(t, "root"))
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	require.Equal(t, http.StatusUnauthorized, me(other))
}
