package systemregistry_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/images"
)

const catalogPath = "/v2/_catalog"

// There are two tenants, each with an image. Mallory belongs to the tenant "evil" and has all rights there. Her
// requests for "team" are all rejected, and reveal no more than requests for repositories that do not exist.
func TestAttacks(t *testing.T) {
	everywhere(t, systemregistry.Server{Dir: t.TempDir(), Policies: []images.Policy{
		{Repositories: "team/fixed", Immutable: true},
		{Repositories: "evil/full", MaxBytes: 4*entry + 1000}, // One image.
	}}, testAttacks)
}

func testAttacks(t *testing.T, r *running) {
	robot, secret := r.robot(t, "evil", "puller", rule("evil/app", "pull"))
	manifest := r.push(t, "ann", password("ann"), "team/app", "1", "secret layer")
	r.push(t, "ann", password("ann"), "team/fixed", "1", "layer")
	r.push(t, "mallory", password("mallory"), "evil/app", "1", "layer")
	r.push(t, "mallory", password("mallory"), "evil/full", "1", "small")
	small, _ := manifestOf("small")
	layer := digestOf("secret layer")

	all := "repository:evil/app:pull,push,delete"
	greedy := r.token(t, "mallory", password("mallory"), all, "repository:evil/full:pull,push", "repository:team/app:pull,push,delete,*", "repository:team/app:*",
		"repository:**:*", "repository:*:*", "registry:catalog:*", "repository:evil/../team/app:pull", "repository(plugin):team/app:pull")
	pullOnly := r.token(t, robot, secret, "repository:evil/app:pull,push,delete,*")
	login := func(name string, secret credentials.Secret) func(*http.Request) { return basic(name, secret) }
	nobody := func(*http.Request) {}
	mount := func(repository, from string) string {
		return "/v2/" + repository + "/blobs/uploads/?" + url.Values{"mount": {layer}, "from": {from}}.Encode()
	}

	tests := map[string]struct {
		method, path, body string
		login              func(*http.Request)
		want               int
	}{
		"read by tag":                       {"GET", "/v2/team/app/manifests/1", "", bearer(greedy), 401},
		"read by digest":                    {"GET", "/v2/team/app/manifests/" + manifest, "", bearer(greedy), 401},
		"read a layer":                      {"GET", "/v2/team/app/blobs/" + layer, "", bearer(greedy), 401},
		"read what does not exist":          {"GET", "/v2/team/none/manifests/1", "", bearer(greedy), 401},
		"read a digest through one's own":   {"GET", "/v2/evil/app/manifests/" + manifest, "", bearer(greedy), 404},
		"read a layer through one's own":    {"GET", "/v2/evil/app/blobs/" + layer, "", bearer(greedy), 404},
		"ask for a layer through one's own": {"HEAD", "/v2/evil/app/blobs/" + layer, "", bearer(greedy), 404},
		"list tags":                         {"GET", "/v2/team/app/tags/list", "", bearer(greedy), 401},
		"list all repositories":             {"GET", catalogPath, "", bearer(greedy), 401},
		"mount another tenant's layer":      {"POST", mount("evil/app", "team/app"), "", bearer(greedy), 401},
		"mount into another tenant":         {"POST", mount("team/app", "evil/app"), "", bearer(greedy), 401},
		"mount by a path that climbs":       {"POST", mount("evil/app", "evil/../team/app"), "", bearer(greedy), 401},
		"mount with two sources":            {"POST", mount("evil/app", "team/app") + "&from=evil/app", "", bearer(greedy), 401},
		"push":                              {"PUT", "/v2/team/app/manifests/1", "{}", bearer(greedy), 401},
		"start an upload":                   {"POST", "/v2/team/app/blobs/uploads/", "", bearer(greedy), 401},
		"delete a tag":                      {"DELETE", "/v2/team/app/manifests/1", "", bearer(greedy), 401},
		"ask whether a tag is immutable":    {"PUT", "/v2/team/fixed/manifests/1", "{}", bearer(greedy), 401},
		"delete an immutable tag":           {"DELETE", "/v2/team/fixed/manifests/1", "", bearer(greedy), 401},
		"push with a robot that may pull":   {"POST", "/v2/evil/app/blobs/uploads/", "", bearer(pullOnly), 401},
		"delete with a robot that may pull": {"DELETE", "/v2/evil/app/manifests/1", "", bearer(pullOnly), 401},
		"a path that climbs":                {"GET", "/v2/evil/../team/app/manifests/1", "", bearer(greedy), 301},
		"a path that climbs, escaped":       {"GET", "/v2/evil/%2e%2e/team/app/manifests/1", "", bearer(greedy), 301},
		"a path that climbs, twice escaped": {"GET", "/v2/evil/%252e%252e/team/app/manifests/1", "", bearer(greedy), 404},
		"a slash that is escaped":           {"GET", "/v2/evil%2f..%2fteam/app/manifests/1", "", bearer(greedy), 301},
		"a tag that climbs":                 {"GET", "/v2/evil/app/manifests/..%2f..%2f..%2fteam%2fapp%2f_manifests%2ftags%2f1", "", bearer(greedy), 301},
		"a file of the machine":             {"GET", "/v2/../../../../etc/passwd", "", bearer(greedy), 301},
		"a tag beyond the quota":            {"PUT", "/v2/evil/full/manifests/2", small, bearer(greedy), 403},
		"a tag within the quota":            {"PUT", "/v2/evil/full/manifests/1", small, bearer(greedy), 201},
		"a mount beyond the quota":          {"POST", "/v2/evil/full/blobs/uploads/?from=evil/app&mount=" + digestOf("layer"), "", bearer(greedy), 403},
		"an upload beyond the quota":        {"POST", "/v2/evil/full/blobs/uploads/", "", bearer(greedy), 403},
		"no login":                          {"GET", "/v2/team/app/manifests/1", "", nobody, 401},
		"no login, own claim of a user":     {"GET", "/v2/team/app/manifests/1", "", header("X-Remote-User", "ann"), 401},
		"a password where a token belongs":  {"GET", "/v2/team/app/manifests/1", "", login("ann", password("ann")), 401},
		"a robot's secret as a token":       {"GET", "/v2/evil/app/manifests/1", "", bearer(secret.Reveal()), 401},
		"the API: images":                   {"GET", "/api/v1/images?repository=team/app", "", login("mallory", password("mallory")), 404},
		"the API: images, no login":         {"GET", "/api/v1/images?repository=team/app", "", nobody, 404},
		"the API: images of a climbing":     {"GET", "/api/v1/images?repository=evil/../team/app", "", login("mallory", password("mallory")), 404},
		"the API: delete":                   {"DELETE", "/api/v1/images?repository=team/app&reference=1", "", login("mallory", password("mallory")), 404},
		"the API: delete with a climbing":   {"DELETE", "/api/v1/images?repository=evil/app&reference=../../../team/app/_manifests/tags/1", "", login("mallory", password("mallory")), 404},
		"the API: accounts":                 {"GET", "/api/v1/accounts", "", login("mallory", password("mallory")), 403},
		"the API: make an account":          {"POST", "/api/v1/accounts", `{"name":"m2","admin":true}`, login("mallory", password("mallory")), 403},
		"the API: change a password":        {"POST", "/api/v1/accounts/secret?name=ann", `{"password":"mine now!"}`, login("mallory", password("mallory")), 403},
		"the API: a key for another":        {"POST", "/api/v1/accounts/key?name=ann", "", login("mallory", password("mallory")), 403},
		"the API: a login elsewhere":        {"POST", "/api/v1/logins", `{"repositories":["team/**"],"actions":["pull"]}`, login("mallory", password("mallory")), 403},
		"the API: a login that does more":   {"POST", "/api/v1/logins", `{"repositories":["evil/**"],"actions":["push"]}`, login(robot, secret), 403},
		"the API: a login for years":        {"POST", "/api/v1/logins", `{"repositories":["evil/**"],"actions":["pull"],"seconds":99999999}`, login(robot, secret), 400},
		"the API: a session of a robot":     {"POST", "/api/v1/session", `{"username":"` + robot + `","password":"` + secret.Reveal() + `"}`, nobody, 401},
	}
	withoutRedirects := *r.Client
	withoutRedirects.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r.Client = &withoutRedirects
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			resp, body := r.do(t, tt.method, tt.path, tt.body, tt.login, header("Accept", ociManifest), header("Content-Type", ociManifest), asJSON)
			require.Equal(t, tt.want, resp.StatusCode, body)
			require.NotContains(t, body, "secret layer")
			require.NotContains(t, body, "immutable")
			if tt.want == 301 { // The target of the redirect is authorized by its own name.
				require.NotContains(t, resp.Header.Get("Location"), "..")
			}
		})
	}
	require.Equal(t, http.StatusOK, r.pull(t, "ann", password("ann"), "team/app", "1"), "what was attacked is there")
	require.Equal(t, http.StatusOK, r.pull(t, robot, secret, "evil/app", "1"), "and the attacker's own can be pulled")
}

func asJSON(r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		r.Header.Set("Content-Type", "application/json")
	}
}

// An admin of a tenant manages that tenant, and cannot see or change anything outside it.
func TestAdminOfATenant(t *testing.T) {
	everywhere(t, systemregistry.Server{}, testAdminOfATenant)
}

func testAdminOfATenant(t *testing.T, r *running) {
	require.NoError(t, r.Accounts().Create(t.Context(), accounts.Account{Name: "boss", Tenant: "evil", Admin: true}, password("boss")))
	robot, _ := r.robot(t, "team", "ci", rule("team/**", "pull"))
	tests := map[string]struct {
		method, path, body string
		want               int
	}{
		"make a robot":                         {"POST", "/api/v1/accounts", `{"name":"ci","robot":true,"rules":[{"repositories":"evil/**","actions":["pull"]}]}`, 201},
		"make a robot of another tenant":       {"POST", "/api/v1/accounts", `{"name":"x","robot":true,"tenant":"team"}`, 403},
		"make one with rights elsewhere":       {"POST", "/api/v1/accounts", `{"name":"y","robot":true,"rules":[{"repositories":"team/**","actions":["pull"]}]}`, 400},
		"make one with rights everywhere":      {"POST", "/api/v1/accounts", `{"name":"z","robot":true,"rules":[{"repositories":"**","actions":["pull"]}]}`, 400},
		"change a robot of another tenant":     {"PUT", "/api/v1/accounts?name=" + url.QueryEscape(robot), `{"disabled":true}`, 404},
		"change one that does not exist":       {"PUT", "/api/v1/accounts?name=nobody", `{"disabled":true}`, 404},
		"delete the admin of all":              {"DELETE", "/api/v1/accounts?name=root", "", 404},
		"a new secret for another tenant":      {"POST", "/api/v1/accounts/secret?name=" + url.QueryEscape(robot), `{}`, 404},
		"a key for the admin of all":           {"POST", "/api/v1/accounts/key?name=root", "", 404},
		"leave the tenant":                     {"PUT", "/api/v1/accounts?name=boss", `{"tenant":""}`, 400},
		"give oneself rights everywhere":       {"PUT", "/api/v1/accounts?name=boss", `{"rules":[{"repositories":"**","actions":["pull"]}]}`, 400},
		"delete oneself":                       {"DELETE", "/api/v1/accounts?name=boss", "", 400},
		"a new password without the old one":   {"POST", "/api/v1/accounts/secret?name=boss", `{"password":"another one"}`, 401},
		"make a person who manages the tenant": {"POST", "/api/v1/accounts", `{"name":"boss2","admin":true,"password":"long enough"}`, 201},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			resp, body := r.do(t, tt.method, tt.path, tt.body, basic("boss", password("boss")), asJSON)
			require.Equal(t, tt.want, resp.StatusCode, body)
		})
	}
	_, body := r.do(t, "GET", "/api/v1/accounts", "", basic("boss", password("boss")))
	for _, hidden := range []string{"root", "ann", robot, "epoch", "hash"} {
		require.NotContains(t, body, `"`+hidden)
	}
}

// A page of another site is opened in a browser that is logged in.
func TestCrossSite(t *testing.T) {
	r := start(t, systemregistry.Server{})
	resp, body := r.do(t, "POST", "/api/v1/session", `{"username":"root","password":"password of root"}`, asJSON)
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	cookies := resp.Cookies()
	require.Len(t, cookies, 1)
	c := cookies[0]
	require.True(t, c.HttpOnly && c.Secure && c.SameSite == http.SameSiteStrictMode && c.Domain == "" && strings.HasPrefix(c.Name, "__Host-"), c.String())
	loggedIn := func(r *http.Request) { r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value}) }

	robot := `{"name":"x","robot":true}`
	tests := map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"another origin":         {header("Origin", "https://mallory.example.com"), 403},
		"a null origin":          {header("Origin", "null"), 403},
		"the browser says so":    {header("Sec-Fetch-Site", "cross-site"), 403},
		"a sibling":              {header("Sec-Fetch-Site", "same-site"), 403},
		"a form's type":          {header("Content-Type", "text/plain"), 400},
		"the console's own page": {header("Sec-Fetch-Site", "same-origin"), 201},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			resp, body := r.do(t, "POST", "/api/v1/accounts", robot, asJSON, loggedIn, tt.change)
			require.Equal(t, tt.want, resp.StatusCode, body)
		})
	}

	t.Run("a session ends with the password", func(t *testing.T) {
		resp, _ := r.do(t, "GET", "/api/v1/me", "", loggedIn)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.NoError(t, r.Accounts().SetPassword(t.Context(), "root", credentials.NewSecret("another password")))
		resp, _ = r.do(t, "GET", "/api/v1/me", "", loggedIn)
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	})
	t.Run("a session is no token and no login", func(t *testing.T) {
		resp, _ := r.do(t, "GET", "/v2/", "", bearer(c.Value))
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		resp, _ = r.do(t, "GET", "/token", "", basic("root", credentials.NewSecret(c.Value)))
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	})
}

// An image can claim any time of creation. The list that contains it stays valid.
func TestTimesThatCannotBeEncoded(t *testing.T) {
	r := open(t, systemregistry.Server{})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	for i, created := range []string{"9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00+23:59", "0001-01-01T00:00:00+14:00"} {
		config := `{"os":"linux","architecture":"amd64","created":"` + created + `"}`
		r.upload(t, token, "team/app", config)
		manifest := `{"schemaVersion":2,"mediaType":"` + ociManifest + `","config":{"mediaType":"application/vnd.oci.image.config.v1+json",` +
			`"digest":"` + digestOf(config) + `","size":1},"layers":[]}`
		resp, body := r.put(t, token, "team/app", string(rune('a'+i)), manifest)
		require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	}
	resp, body := r.do(t, "GET", "/api/v1/images?repository=team/app", "", basic("ann", password("ann")))
	require.Equal(t, http.StatusOK, resp.StatusCode)
	for _, tag := range []string{"1", "a", "b", "c"} {
		require.Contains(t, body, `"tag":"`+tag+`"`)
	}
}

// An invalid name is neither stored nor repeated: not in tables, in logs or in events.
func TestNamesThatAreNone(t *testing.T) {
	var mu sync.Mutex
	var paths, known []string
	r := open(t, systemregistry.Server{OnRequest: func(q systemregistry.Request) {
		mu.Lock()
		defer mu.Unlock()
		paths, known = append(paths, q.Path), append(known, q.Account)
	}})
	long := strings.Repeat("a", 60_000)
	for _, name := range []string{long, "ann\nlogin root accepted", "Ann", "ann ", "password of ann!", strings.Repeat("a", 65), "a+b+c", "../ann"} {
		resp, _ := r.do(t, "GET", "/token", "", basic(name, password("ann")))
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		resp, _ = r.do(t, "GET", "/api/v1/me", "", basic(name, password("ann")))
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		body, err := json.Marshal(map[string]string{"username": name, "password": "x"})
		require.NoError(t, err)
		resp, _ = r.do(t, "POST", "/api/v1/session", string(body), asJSON)
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	}
	r.do(t, "GET", "/v2/a%0alogin%20root/tags/list?token=secret", "")
	for _, e := range r.Events() {
		require.Contains(t, []string{"(not a name)", "ann"}, e.Account)
	}
	mu.Lock()
	defer mu.Unlock()
	for i := range paths {
		require.NotContains(t, paths[i], "\n")
		require.NotContains(t, paths[i], "secret")
		require.Empty(t, known[i], "an account that nobody proved to be")
	}
}

// Distribution writes a line for each request into the log of the process.
func TestLogHoldsNoSecret(t *testing.T) {
	var log bytes.Buffer
	logrus.SetOutput(&log)
	logrus.SetLevel(logrus.DebugLevel)
	defer func() { logrus.SetLevel(logrus.PanicLevel); logrus.SetOutput(os.Stderr) }()
	r := open(t, systemregistry.Server{})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
	location := resp.Header.Get("Location")
	r.do(t, "PATCH", location, "x", bearer(token), header("Referer", "https://example.com/?token=secret"))
	_, state, ok := strings.Cut(location, "_state=")
	require.True(t, ok)
	require.NotEmpty(t, log.String())
	for _, secret := range []string{state, "_state", token, "token=secret", "\nlogin"} {
		require.NotContains(t, log.String(), secret)
	}
}

func TestUntrustedProxyIsTold(t *testing.T) {
	r := open(t, systemregistry.Server{})
	for range 3 {
		r.do(t, "GET", "/token", "", header("X-Forwarded-For", "203.0.113.1"))
	}
	require.Len(t, r.errs, 1)
	require.ErrorContains(t, r.errs[0], "TrustedProxies")
}

// A backup was restored without its file mode.
func TestFileOfAccountsIsProtected(t *testing.T) {
	dir := t.TempDir()
	_, stop := startStop(t, systemregistry.Server{Dir: dir})
	stop()
	path := filepath.Join(dir, "accounts.db")
	require.NoError(t, os.Chmod(path, 0o644))
	r := start(t, systemregistry.Server{Dir: dir})
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Len(t, r.errs, 1)
	require.ErrorContains(t, r.errs[0], "0644")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}
