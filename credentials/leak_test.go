package credentials_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

// canary is the secret that must never appear. It has characters that base64, URLs, JSON and HTML each encode
// differently.
const canary = `hunter2+/&"c>ñary`

// forms are the encodings of canary.
var forms = func() map[string]string {
	b := []byte(canary)
	return map[string]string{
		"plain":           canary,
		"a part of it":    "hunter2",
		"quoted":          strings.Trim(fmt.Sprintf("%q", canary), `"`),
		"base64":          base64.RawStdEncoding.EncodeToString(b),
		"base64url":       base64.RawURLEncoding.EncodeToString(b),
		"basic auth":      base64.RawStdEncoding.EncodeToString([]byte("jo:" + canary)),
		"hex":             hex.EncodeToString(b[:7]),
		"HEX":             strings.ToUpper(hex.EncodeToString(b[:7])),
		"URL":             url.QueryEscape(canary),
		"bytes, decimal":  strings.Trim(fmt.Sprintf("%d", b[:7]), "[]"),
		"bytes, Go":       strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b[:7]), "[]byte{"), "}"),
		"bytes, hex dump": strings.TrimSpace(fmt.Sprintf("% x", b[:7])),
	}
}()

func requireNoLeak(t *testing.T, text string) {
	t.Helper()
	for name, form := range forms {
		if strings.Contains(text, form) {
			t.Errorf("leak (%s) in:\n%s", name, text)
		}
	}
}

func TestFormsAreFound(t *testing.T) {
	for name, text := range map[string]string{
		"plain": canary, "quoted": fmt.Sprintf("%#v", canary), "basic auth": base64.StdEncoding.EncodeToString([]byte("jo:" + canary)),
		"bytes, decimal": fmt.Sprint([]byte(canary)), "bytes, Go": fmt.Sprintf("%#v", []byte(canary)), "hex": fmt.Sprintf("%x", canary),
		"bytes, hex dump": fmt.Sprintf("% x", canary), "URL": url.Values{"p": {canary}}.Encode(),
	} {
		require.Contains(t, text, forms[name], name)
	}
}

type (
	exported   struct{ Secret credentials.Secret }
	unexported struct{ secret credentials.Secret }
	embedded   struct{ credentials.Secret }
	pointed    struct{ Secret *credentials.Secret }
	hidden     struct{ login *credentials.Login }
	anyValue   struct{ v any }
)

// shapes are all the places where a secret can be hidden.
func shapes() map[string]any {
	s := credentials.NewSecret(canary)
	login := credentials.Login{
		Username: "jo", Password: s, Fields: map[string]credentials.Secret{"key": s},
		AWS:    &credentials.AWSLogin{AccessKeyID: "AKIA", SecretAccessKey: s, SessionToken: s, WebIdentity: &credentials.AWSWebIdentity{Token: s}},
		Google: &credentials.GoogleLogin{Credentials: s},
		Azure:  &credentials.AzureLogin{TenantID: "t", ClientID: "c", ClientSecret: s, Certificate: s},
	}
	credential := credentials.Credential{Username: "jo", Password: s, ExpiresAt: time.Now()}
	return map[string]any{
		"secret": s, "pointer": &s, "pointer to pointer": pointed{&s},
		"exported field": exported{s}, "unexported field": unexported{s}, "embedded": embedded{s}, "pointer to struct": &unexported{s},
		"slice": []credentials.Secret{s}, "array": [1]credentials.Secret{s}, "map": map[string]credentials.Secret{"a": s},
		"slice of structs": []unexported{{s}}, "map of pointers": map[string]*unexported{"a": {s}}, "interface": []any{s, unexported{s}},
		"any in unexported field": anyValue{s}, "login": login, "login in unexported field": hidden{&login}, "credential": credential,
		"pointer to credential": &credential, "source": credentials.Static(credential), "key": credentials.Key{Login: login.Fingerprint()},
		"Azure login": *login.Azure, "pointer to Azure login": login.Azure,
		"error": fmt.Errorf("login %v: %w", login, io.EOF), "invalid login": login.Validate(),
		"method value": s.Reveal, "channel": make(chan credentials.Secret), "result of Format": fmt.Sprint(s),
	}
}

func TestPrintersDoNotLeak(t *testing.T) {
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%#q", "%x", "% x", "%X", "%d", "%c", "%U", "%p", "%t", "%T", "%e", "%o", "%b", "%!", "%10.3s", "%-40v", "%[1]*[1]v"}
	for name, v := range shapes() {
		t.Run(name, func(t *testing.T) {
			for _, verb := range verbs {
				requireNoLeak(t, fmt.Sprintf(verb, v))
				requireNoLeak(t, fmt.Errorf("a: "+verb, v).Error())
			}
			requireNoLeak(t, fmt.Sprintln(v))
			requireNoLeak(t, string(fmt.Append(nil, v)))

			var b bytes.Buffer
			log.New(&b, "", 0).Println(v)
			requireNoLeak(t, b.String())
		})
	}
}

func TestSlogDoesNotLeak(t *testing.T) {
	var out bytes.Buffer
	options := &slog.HandlerOptions{AddSource: true, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { return a }}
	for handlerName, handler := range map[string]slog.Handler{"text": slog.NewTextHandler(&out, options), "json": slog.NewJSONHandler(&out, options)} {
		for name, v := range shapes() {
			t.Run(handlerName+"/"+name, func(t *testing.T) {
				out.Reset()
				logger := slog.New(handler)
				logger.Info("x", "v", v, slog.Group("g", "v", v))
				logger.With("v", v).WithGroup("g").Info(fmt.Sprint(v), slog.Any("v", &v))
				require.NotEmpty(t, out.String())
				requireNoLeak(t, out.String())
			})
		}
	}
}

// recorder is a testing.T that records the output of an assertion.
type recorder struct{ bytes.Buffer }

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(r, format, args...) }

// TestTestDiffsDoNotLeak covers printers that follow pointers into unexported fields by reflection: those of failing
// tests, whose output is public.
func TestTestDiffsDoNotLeak(t *testing.T) {
	for name, v := range shapes() {
		t.Run(name, func(t *testing.T) {
			var r recorder
			assert.Equal(&r, v, "something else")
			assert.Equal(&r, []any{v}, []any{unexported{credentials.NewSecret("other")}})
			assert.Nil(&r, v)
			assert.Empty(&r, []any{v})
			require.NotEmpty(t, r.String())
			requireNoLeak(t, r.String())
		})
	}
}

func TestTemplatesDoNotLeak(t *testing.T) {
	page := template.Must(template.New("").Parse(`<p title="{{.Secret}}">{{.}} {{printf "%v" .Secret}}</p><a href="/?q={{.Secret}}"></a><script>var s = {{.Secret}}</script>`))
	var b bytes.Buffer
	err := page.Execute(&b, exported{credentials.NewSecret(canary)})
	requireNoLeak(t, b.String()+fmt.Sprint(err))
}

func TestPanicsDoNotLeak(t *testing.T) {
	if name := os.Getenv("REGCRED_PANIC_WITH"); name != "" {
		panic(shapes()[name])
	}
	for _, name := range []string{"secret", "unexported field", "login", "credential", "pointer to credential", "error"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPanicsDoNotLeak$")
		cmd.Env = append(os.Environ(), "REGCRED_PANIC_WITH="+name)
		out, err := cmd.CombinedOutput()
		exit, ok := errors.AsType[*exec.ExitError](err)
		require.True(t, ok, "%v: %s", err, out)
		require.False(t, exit.Success())
		require.Contains(t, string(out), "panic:")
		requireNoLeak(t, string(out))
	}
}
