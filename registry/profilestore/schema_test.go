package profilestore_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilestore"
)

var update = flag.Bool("update", false, "write docs/schemas")

var kinds = []registry.Kind{registry.DockerHub, registry.ECR, registry.GCR, registry.ACR, registry.System, registry.Custom}

func TestSchemasAreInTheTree(t *testing.T) {
	for _, kind := range kinds {
		path := filepath.Join("../../docs/schemas", string(kind)+".json")
		if *update {
			require.NoError(t, os.WriteFile(path, profilestore.Schema(kind), 0o644))
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(profilestore.Schema(kind)), string(data), "run go test ./registry/profilestore -update")
	}
}

// fits is a minimal validator for the keywords that Schema uses. It fails for any other keyword.
func fits(schema map[string]any, v any, path string) error {
	for keyword, arg := range schema {
		switch keyword {
		case "$schema", "$id", "title", "description", "format", "writeOnly":
		case "type":
			got := map[reflect.Kind]string{reflect.String: "string", reflect.Bool: "boolean", reflect.Map: "object", reflect.Slice: "array", reflect.Float64: "number"}[reflect.ValueOf(v).Kind()]
			if got != arg {
				return fmt.Errorf("%s is %s", path, got)
			}
		case "const":
			if v != arg {
				return fmt.Errorf("%s is not %v", path, arg)
			}
		case "pattern":
			if s, ok := v.(string); !ok || !regexp.MustCompile(arg.(string)).MatchString(s) {
				return fmt.Errorf("%s does not match", path)
			}
		case "maxLength":
			if s, ok := v.(string); !ok || len(s) > int(arg.(float64)) {
				return fmt.Errorf("%s is too long", path)
			}
		case "required":
			for _, name := range arg.([]any) {
				if object, _ := v.(map[string]any); object[name.(string)] == nil {
					return fmt.Errorf("%s.%s is missing", path, name)
				}
			}
		case "items":
			items, _ := v.([]any)
			for _, item := range items {
				if err := fits(arg.(map[string]any), item, path+"[]"); err != nil {
					return err
				}
			}
		case "properties":
			for name, sub := range arg.(map[string]any) {
				object, _ := v.(map[string]any)
				if value, ok := object[name]; ok {
					if err := fits(sub.(map[string]any), value, path+"."+name); err != nil {
						return err
					}
				}
			}
		case "additionalProperties":
			known, _ := schema["properties"].(map[string]any)
			object, _ := v.(map[string]any)
			for name, value := range object {
				if known[name] != nil {
					continue
				}
				sub, ok := arg.(map[string]any)
				if !ok {
					return fmt.Errorf("%s.%s is not known", path, name)
				}
				if err := fits(sub, value, path+"."+name); err != nil {
					return err
				}
			}
		case "oneOf":
			var errs []error
			ok := 0
			for _, sub := range arg.([]any) {
				if err := fits(sub.(map[string]any), v, path); err != nil {
					errs = append(errs, err)
				} else {
					ok++
				}
			}
			if ok != 1 {
				return fmt.Errorf("%s fits %d forms: %v", path, ok, errs)
			}
		default:
			return fmt.Errorf("keyword %s", keyword)
		}
	}
	return nil
}

func check(t *testing.T, kind registry.Kind, document []byte) error {
	t.Helper()
	var schema map[string]any
	require.NoError(t, json.Unmarshal(profilestore.Schema(kind), &schema))
	var v any
	require.NoError(t, json.Unmarshal(document, &v))
	return fits(schema, v, "")
}

func ways() map[string]credentials.Login {
	all, _ := full(counter())
	l := all.Login
	return map[string]credentials.Login{
		"anonymous": {Anonymous: true}, "ambient": {Ambient: true},
		"username": {Username: l.Username, Password: l.Password, ExpiresAt: time.Unix(0, 0)},
		"aws":      {AWS: l.AWS}, "google": {Google: l.Google}, "fields": {Fields: l.Fields},
	}
}

// Every field is in the schema of some kind, and each schema has exactly the logins of its kind.
func TestSchemaFitsProfiles(t *testing.T) {
	have := map[registry.Kind][]string{
		registry.DockerHub: {"anonymous", "username"},
		registry.Custom:    {"anonymous", "username"},
		registry.ECR:       {"anonymous", "ambient", "aws"},
		registry.GCR:       {"anonymous", "ambient", "google", "username"},
		registry.System:    {"anonymous", "username", "fields"},
		"own":              {"anonymous", "ambient", "username", "aws", "google", "fields"},
	}
	for kind, logins := range have {
		for way, login := range ways() {
			p, _ := full(counter())
			p.Kind, p.Login = kind, login
			if kind == "own" {
				p.Login.Settings = map[string]string{"tenantID": "1"}
			}
			plain := bytes.ReplaceAll(profilestore.Redacted(p), []byte(`{"redacted":true}`), []byte(`"s3cret"`))
			for _, document := range [][]byte{profilestore.Redacted(p), plain} {
				err := check(t, kind, document)
				if slices.Contains(logins, way) {
					require.NoError(t, err, "%s %s %s", kind, way, document)
				} else {
					require.Error(t, err, "%s %s", kind, way)
				}
			}
			require.Error(t, check(t, kind, bytes.Replace(plain, []byte(`"name"`), []byte(`"nmae"`), 1)))
			require.Error(t, check(t, kind, bytes.Replace(plain, []byte(`"endpoint":"`), []byte(`"endpoint":true,"x":"`), 1)))
		}
	}
	require.Error(t, check(t, registry.Custom, []byte(`{"name":"A","kind":"custom","endpoint":"x","login":{"anonymous":true}}`)))
	require.Error(t, check(t, registry.Custom, []byte(`{"name":"a","kind":"custom","endpoint":"x","login":{"anonymous":false}}`)))
	require.NoError(t, check(t, registry.GCR, []byte(`{"name":"a","kind":"gcr","endpoint":"gcr.io","login":{"google":{"credentials":{"type":"service_account"}}}}`)))
}

// A form needs a help text for each field, including new ones.
func TestEveryFieldIsDescribed(t *testing.T) {
	var walk func(schema map[string]any, path string)
	walk = func(schema map[string]any, path string) {
		properties, _ := schema["properties"].(map[string]any)
		for name, sub := range properties {
			if name != "redacted" {
				require.NotEmpty(t, sub.(map[string]any)["description"], "%s.%s has no text in descriptions", path, name)
			}
			walk(sub.(map[string]any), path+"."+name)
		}
		if items, ok := schema["items"].(map[string]any); ok {
			walk(items, path+"[]")
		}
		forms, _ := schema["oneOf"].([]any)
		for _, form := range forms {
			walk(form.(map[string]any), path)
		}
	}
	var schema map[string]any
	require.NoError(t, json.Unmarshal(profilestore.Schema("own"), &schema))
	walk(schema, "")
}

// The profiles in the guides match the schemas.
func TestGuidesFitSchemas(t *testing.T) {
	guides, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	count := 0
	for _, guide := range guides {
		text, err := os.ReadFile(guide)
		require.NoError(t, err)
		for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(text, -1) {
			var p struct{ Kind registry.Kind }
			if json.Unmarshal(block[1], &p) != nil || p.Kind == "" {
				continue
			}
			count++
			require.NoError(t, check(t, p.Kind, block[1]), "%s: %s", guide, block[1])
		}
	}
	require.Greater(t, count, 10)
}
