package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/images"
)

// browser is a headless Chromium with one page. It records the addresses that the page requests, and the page's errors.
type browser struct {
	ctx  context.Context
	mu   sync.Mutex
	urls []string
	logs []string
}

func open(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(testtool.Need(t, "chromium")), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1100, 800),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		// The registry has its own authority, which this browser does not trust.
		chromedp.Flag("ignore-certificate-errors", true),
		chromedp.WSURLReadTimeout(2*time.Minute), // Chromium starts slowly on a busy machine.
	)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	// chromedp complains about events of a Chromium that is newer than itself.
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancel)
	b := &browser{ctx: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			b.urls = append(b.urls, e.Request.URL)
		case *log.EventEntryAdded:
			b.logs = append(b.logs, e.Entry.Text)
		case *runtime.EventExceptionThrown:
			b.logs = append(b.logs, e.ExceptionDetails.Error())
		}
	})
	require.NoError(t, chromedp.Run(ctx, network.Enable(), log.Enable()))
	return b
}

func (b *browser) run(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	require.NoError(t, chromedp.Run(b.ctx, actions...))
}

// picture saves a screenshot in the folder REGCRED_RESULTS for review. It also checks that each interactive element has
// an accessible name.
func (b *browser) picture(t *testing.T, name string) {
	t.Helper()
	b.run(t, chromedp.ActionFunc(func(ctx context.Context) error {
		type text struct {
			Value any `json:"value"`
		}
		var tree struct {
			Nodes []struct {
				Role text `json:"role"`
				Name text `json:"name"`
			} `json:"nodes"`
		}
		// By its name, because cdproto's own parser fails for a newer Chromium.
		if err := cdp.Execute(ctx, "Accessibility.getFullAXTree", nil, &tree); err != nil {
			return err
		}
		operated := 0
		for _, node := range tree.Nodes {
			switch node.Role.Value {
			case "button", "link", "textbox", "searchbox", "spinbutton", "checkbox", "dialog", "table", "navigation", "form":
				operated++
				require.NotEmpty(t, node.Name.Value, "%s: a %s without a name", name, node.Role.Value)
			}
		}
		require.NotZero(t, operated)
		return nil
	}))
	var png []byte
	b.run(t, chromedp.FullScreenshot(&png, 100))
	require.True(t, bytes.HasPrefix(png, []byte("\x89PNG")))
	if dir := os.Getenv("REGCRED_RESULTS"); dir != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600))
	}
}

func text(selector string, into *string) chromedp.Action {
	return chromedp.Text(selector, into, chromedp.ByQuery, chromedp.NodeVisible)
}

func click(selector string) chromedp.Action {
	return chromedp.Click(selector, chromedp.ByQuery, chromedp.NodeVisible)
}

func fill(selector, value string) chromedp.Action {
	return chromedp.SendKeys(selector, value, chromedp.ByQuery, chromedp.NodeVisible)
}

func see(selector string) chromedp.Action {
	return chromedp.WaitVisible(selector, chromedp.ByQuery)
}

// push puts an image into the registry with skopeo.
func push(t *testing.T, r running, name string) {
	t.Helper()
	dir := t.TempDir()
	config := `{"architecture":"arm64","os":"linux","created":"2026-01-02T03:04:05Z"}`
	layer := strings.Repeat("layer of "+name, 1000)
	manifest := fmt.Sprintf(`{
"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:%s", "size": %d},
"layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:%s", "size": %d}]
}`, sum(config), len(config), sum(layer), len(layer))
	for file, content := range map[string]string{
		"version": "Directory Transport Version: 1.1\n", "manifest.json": manifest, sum(config): config, sum(layer): layer,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
	}
	out, err := testtool.Run(t, []string{"SSL_CERT_FILE=" + r.CAFile}, "skopeo", "copy",
		"--dest-creds", "root:"+rootPassword.Reveal(), "dir:"+dir, "docker://"+r.Host+"/"+name)
	require.NoError(t, err, out)
}

func TestConsole(t *testing.T) {
	r := start(t, systemregistry.Server{Policies: []images.Policy{{Repositories: "team/**", KeepTags: 7, MaxBytes: 5 << 20}}})
	for _, name := range []string{"team/app:1.0", "team/app:1.1", "team/tools/base:latest", "other/web:2026-01"} {
		push(t, r, name)
	}
	b := open(t)
	var message, rows, secret, name, title string

	b.run(t, chromedp.Navigate(r.URL), see("#login-form"))
	b.picture(t, "1-login")
	b.run(t, fill("#username", "root"), fill("#password", "wrong password"), click("#login-form button"), see("#message:not(:empty)"), text("#message", &message))
	require.Contains(t, message, "wrong name or password")
	b.picture(t, "2-wrong-password")

	b.run(t, fill("#password", rootPassword.Reveal()+kb.Enter), see("#repository-list a"), text("#repository-list", &rows))
	require.Equal(t, []string{"other/web", "team/app", "team/tools/base"}, strings.Fields(rows))
	b.picture(t, "3-repositories")
	b.run(t, fill("#filter", "TOOLS"), text("#repository-list", &rows))
	require.Equal(t, "team/tools/base", strings.TrimSpace(rows))

	b.run(t, chromedp.Navigate(r.URL+"/console/#images/team%2Fapp"), see("#image-rows tr"), text("#image-rows", &rows), chromedp.Title(&title))
	require.Contains(t, rows, "1.0")
	require.Contains(t, rows, "linux/arm64")
	require.Equal(t, "team/app – Registry", title)
	b.run(t, see("#policy li"), text("#policy", &rows))
	require.Contains(t, rows, "The newest 7 tags are kept.")
	require.Contains(t, rows, "of 5.0 MiB are used by team/**.")
	b.picture(t, "4-images")

	b.run(t, click(`button[aria-label="Delete the tag 1.0"]`), see("#confirm[open]"))
	b.picture(t, "5-delete")
	for _, cancel := range []chromedp.Action{click("#confirm-no"), chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Escape)} {
		b.run(t, see("#confirm[open]"), cancel, chromedp.WaitNotVisible("#confirm", chromedp.ByQuery))
		require.Equal(t, "1.0 1.1", tags(t, r, "team/app"), "nothing is deleted by Cancel, which Enter stands for at first")
		b.run(t, click(`button[aria-label="Delete the tag 1.0"]`))
	}
	// If the dialog is opened again before its close event, the answer belongs to the second question.
	again := `document.getElementById("confirm-no").click(); document.querySelector('button[aria-label="Delete the tag 1.0"]').click()`
	b.run(t, see("#confirm[open]"), chromedp.Evaluate(again, nil), see("#confirm[open]"), click("#confirm-yes"),
		chromedp.WaitNotPresent(`button[aria-label="Delete the tag 1.0"]`, chromedp.ByQuery))
	require.Equal(t, "1.1", tags(t, r, "team/app"))

	b.run(t, click("#nav-accounts"), see("#robot-form"), fill("#robot-name", "ci"), fill("#robot-repositories", "team/**"), fill("#robot-days", "30"),
		click("#robot-form button"), see("#secret[open]"), text("#secret-text", &secret), text("#secret-name", &name))
	b.picture(t, "6-secret")
	require.Equal(t, "robot+ci", name)
	out, err := testtool.Run(t, []string{"SSL_CERT_FILE=" + r.CAFile}, "skopeo", "inspect", "--creds", name+":"+secret, "docker://"+r.Host+"/team/app:1.1")
	require.NoError(t, err, out)
	testPullSecret(t, b, r, name, secret)

	// Once the dialog is closed, the page does not contain the secret any more.
	b.run(t, click("#secret-close"), chromedp.WaitNotVisible("#secret", chromedp.ByQuery), chromedp.WaitReady("#secret-text:empty", chromedp.ByQuery))
	b.picture(t, "7-accounts")
	testRobotPage(t, b, r)
	testOwnAccount(t, b, r)
	b.run(t, chromedp.EmulateViewport(380, 700), chromedp.Navigate(r.URL+"/console/#images/team%2Fapp"), see("#image-rows tr"))
	b.picture(t, "8-narrow")
	b.run(t, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}),
		chromedp.EmulateViewport(1100, 800), chromedp.Navigate(r.URL+"/console/#accounts"), see("#account-rows tr"))
	b.picture(t, "9-dark")

	b.run(t, click("#logout"), see("#login-form"))
	b.run(t, chromedp.Navigate(r.URL+"/console/#accounts"), see("#login-form"))

	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range b.urls {
		require.True(t, strings.HasPrefix(u, r.URL+"/") || strings.HasPrefix(u, "blob:"+r.URL+"/"), "the page asked %s", u)
	}
	for _, line := range b.logs {
		require.Contains(t, line, "401", "went wrong in the page") // The wrong password, and the request before the login.
	}
}

// testRobotPage checks the page of the robot robot+ci, and creates a new secret there.
func testRobotPage(t *testing.T, b *browser, r running) {
	t.Helper()
	var page, secret string
	b.run(t, click(`a[href="#robot/robot%2Bci"]`), see("#robot-uses .use"), text("#robot", &page))
	require.Contains(t, page, "docker login --username robot+ci --password-stdin "+r.Host)
	require.Contains(t, page, `"kind": "system"`)
	require.Contains(t, page, `"endpoint": "`+r.Host+`/team"`)
	b.picture(t, "7-robot")
	b.run(t, click("#robot-buttons button"), see("#confirm[open]"), click("#confirm-yes"), see("#secret[open]"), text("#secret-text", &secret))
	_, err := r.Registry.Accounts().Verify(t.Context(), "robot+ci", credentials.NewSecret(secret))
	require.NoError(t, err)
	b.run(t, click("#secret-close"), chromedp.WaitNotVisible("#secret", chromedp.ByQuery))
}

// testOwnAccount changes the password of root and restores it, after an attempt with a wrong one, and checks the
// sessions.
func testOwnAccount(t *testing.T, b *browser, r running) {
	t.Helper()
	var message, rows string
	b.run(t, click("#nav-me"), see("#session-rows tr"), text("#session-rows", &rows))
	require.Contains(t, rows, "this browser")
	b.picture(t, "7-me")
	change := func(current, next string) chromedp.Action {
		return chromedp.Tasks{fill("#password-current", current), fill("#password-new", next), fill("#password-again", next), click("#password-form button")}
	}
	b.run(t, change("a wrong one", "another password"), see("#message:not(:empty)"), text("#message", &message))
	require.Contains(t, message, "The current password is wrong.")
	for _, passwords := range [][2]string{{rootPassword.Reveal(), "another password"}, {"another password", rootPassword.Reveal()}} {
		b.run(t, change(passwords[0], passwords[1]), see("#login-form"), fill("#password", passwords[1]+kb.Enter), see("#session-rows tr"))
	}
	_, err := r.Registry.Accounts().Verify(t.Context(), "root", rootPassword)
	require.NoError(t, err)
}

// testPullSecret downloads the pull secret and checks it.
func testPullSecret(t *testing.T, b *browser, r running, name, secret string) {
	t.Helper()
	dir := t.TempDir()
	b.run(t, cdpbrowser.SetDownloadBehavior(cdpbrowser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(dir), click("#secret-download"))
	var content []byte
	require.Eventually(t, func() bool {
		content, _ = os.ReadFile(filepath.Join(dir, "pull-secret.yaml"))
		return len(content) > 0
	}, 30*time.Second, 10*time.Millisecond)
	manifest := string(content)
	require.Contains(t, manifest, "kind: Secret\n")
	require.Contains(t, manifest, "type: kubernetes.io/dockerconfigjson\n")
	_, data, ok := strings.Cut(manifest, ".dockerconfigjson: ")
	require.True(t, ok)
	var config struct{ Auths map[string]map[string]string }
	require.NoError(t, json.Unmarshal(decoded(t, data), &config))
	require.Equal(t, secret, config.Auths[r.Host]["password"])
	require.Equal(t, name+":"+secret, string(decoded(t, config.Auths[r.Host]["auth"])))
}

func tags(t *testing.T, r running, repository string) string {
	t.Helper()
	list, err := r.Registry.Images().Tags(t.Context(), repository)
	require.NoError(t, err)
	return strings.Join(list, " ")
}

// Names and descriptions are text. One that looks like markup is still shown as text.
func TestConsoleShowsTextAsText(t *testing.T) {
	r := start(t, systemregistry.Server{})
	const evil = `<img src=x onerror=alert(1)>`
	require.NoError(t, r.Registry.Accounts().Create(t.Context(), accounts.Account{Name: "ann", Description: evil}, rootPassword))
	b := open(t)
	var source, message string
	b.run(t, chromedp.Navigate(r.URL+"/console/#images/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"),
		see("#login-form"), fill("#username", "root"), fill("#password", rootPassword.Reveal()), click("#login-form button"),
		see("#message:not(:empty)"), text("#message", &message), chromedp.OuterHTML("#images-title", &source, chromedp.ByQuery))
	require.NotContains(t, source, "<img")
	require.Contains(t, source, "&lt;img")
}
