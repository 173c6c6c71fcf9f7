package scenario_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/scenario"
)

func TestGenerate(t *testing.T) {
	distinct := make(map[string]bool)
	for seed := range uint64(2000) {
		s := scenario.Generate(seed)
		require.Equal(t, s, scenario.Generate(seed))
		text, err := json.Marshal(s)
		require.NoError(t, err)
		var again scenario.Scenario
		require.NoError(t, json.Unmarshal(text, &again))
		require.Equal(t, s, again)
		require.NotPanics(t, func() { scenario.NewRegistry(s, "") })
		distinct[string(text)] = true
	}
	require.Greater(t, len(distinct), 1200)
	require.Equal(t, scenario.FromBytes([]byte{1, 2, 3}), scenario.FromBytes([]byte{1, 2, 3}))
}

// TestShrink checks that only the relevant deviations are left.
func TestShrink(t *testing.T) {
	large := scenario.Scenario{
		Login:      "wrong",
		Challenges: []string{"a", "b"},
		Token:      scenario.Token{OtherHost: true, Post: scenario.TokenReply{Status: 500, Times: 1}},
		Manifest:   scenario.Manifest{First: []int{500, 404}},
		Content:    scenario.Content{OCI: true, Index: []scenario.Entry{{Missing: true}, {Platform: "none", WrongSize: true}}},
	}
	calls := 0
	small := scenario.Shrink(large, func(s scenario.Scenario) bool {
		calls++
		for _, e := range s.Content.Index {
			if e.Platform == "none" {
				return s.Token.Post.Status == 500
			}
		}
		return false
	})
	require.Equal(t, scenario.Scenario{
		Token:   scenario.Token{Post: scenario.TokenReply{Status: 500}},
		Content: scenario.Content{Index: []scenario.Entry{{Platform: "none"}}},
	}, small)
	require.Less(t, calls, 60)
	require.Equal(t, "wrong", large.Login)
	require.Len(t, large.Content.Index, 2)
	require.Equal(t, "none", large.Content.Index[1].Platform)
}

// TestRegistry pulls the image of the zero scenario by hand.
func TestRegistry(t *testing.T) {
	r := scenario.NewRegistry(scenario.Scenario{}, "x")
	request := func(method, target string, prepare func(*http.Request)) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, "https://"+scenario.Host+target, nil)
		if prepare != nil {
			prepare(req)
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		return w
	}
	const manifest = "/v2/" + scenario.Repository + "/manifests/" + scenario.Tag
	res := request("GET", manifest, nil)
	require.Equal(t, http.StatusUnauthorized, res.Code)
	require.Equal(t, `Bearer realm="https://registry.example.test/token",service="registry.example.test",scope="repository:team/app:pull"`,
		res.Header().Get("WWW-Authenticate"))
	res = request("GET", "/token?scope=repository:team/app:pull", func(req *http.Request) { req.SetBasicAuth(scenario.Username, scenario.Password) })
	require.Equal(t, http.StatusOK, res.Code)
	var token struct{ Token string }
	require.NoError(t, json.Unmarshal(res.Body.Bytes(), &token))
	bearer := func(req *http.Request) { req.Header.Set("Authorization", "Bearer "+token.Token) }
	res = request("HEAD", manifest, bearer)
	require.Equal(t, http.StatusOK, res.Code)
	require.NotEmpty(t, res.Header().Get("Docker-Content-Digest"))
	require.Empty(t, res.Body.Bytes())

	var lines []string
	for _, r := range r.Requests() {
		lines = append(lines, r.String())
	}
	require.Equal(t, []string{
		"GET registry.example.test/v2/team/app/manifests/1: 401",
		"GET registry.example.test/token?scope=repository:team/app:pull (Basic ann): 200",
		"HEAD registry.example.test/v2/team/app/manifests/1 (Bearer): 200",
	}, lines)
}

func TestRows(t *testing.T) {
	seen := make(map[string]bool)
	for _, row := range scenario.Rows() {
		require.False(t, seen[row.Name], row.Name)
		seen[row.Name] = true
	}
	require.Greater(t, len(seen), 70)
}
