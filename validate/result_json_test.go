package validate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

func ExampleResult_MarshalJSON() {
	image, _ := registry.ParseImage("ghcr.io/acme/app:1.2")
	denied := &registry.Error{
		Op: "check image", Ref: image.String(), Code: registry.ErrDenied, Hint: "give the account the Read role",
		Err: errors.New("HEAD https://ghcr.io/v2/acme/app/manifests/1.2: 403 DENIED"),
	}
	out, _ := json.MarshalIndent(validate.Result{
		Image: image, Err: denied,
		Attempts: []validate.Attempt{{Candidate: "team-a", Username: "jo", Err: denied, Exchanges: []validate.Exchange{{
			Step: validate.StepManifest, Method: "HEAD", URL: "https://ghcr.io/v2/acme/app/manifests/1.2", Auth: "Bearer",
			Status: 403, Code: "DENIED", Duration: 80 * time.Millisecond,
		}}}},
		Duration: 120 * time.Millisecond,
	}, "", "  ")
	fmt.Println(string(out))
	// Output:
	// {
	//   "ok": false,
	//   "image": "ghcr.io/acme/app:1.2",
	//   "issues": [
	//     {
	//       "image": "ghcr.io/acme/app:1.2",
	//       "code": "denied",
	//       "problem": "denied: HEAD https://ghcr.io/v2/acme/app/manifests/1.2: 403 DENIED",
	//       "hint": "give the account the Read role"
	//     }
	//   ],
	//   "durationMs": 120,
	//   "attempts": [
	//     {
	//       "ok": false,
	//       "candidate": "team-a",
	//       "username": "jo",
	//       "issues": [
	//         {
	//           "image": "ghcr.io/acme/app:1.2",
	//           "code": "denied",
	//           "problem": "denied: HEAD https://ghcr.io/v2/acme/app/manifests/1.2: 403 DENIED",
	//           "hint": "give the account the Read role"
	//         }
	//       ],
	//       "exchanges": [
	//         {
	//           "step": "manifest",
	//           "method": "HEAD",
	//           "url": "https://ghcr.io/v2/acme/app/manifests/1.2",
	//           "auth": "Bearer",
	//           "status": 403,
	//           "code": "DENIED",
	//           "durationMs": 80
	//         }
	//       ]
	//     }
	//   ]
	// }
}

// The JSON form of a Result has the content of every field, including fields that are added later.
func TestResultJSONHasEveryField(t *testing.T) {
	var all validate.Result
	fill(reflect.ValueOf(&all).Elem())
	all.Err = registry.ErrDenied
	all.Attempts[0].Err = registry.ErrDenied
	all.Runtimes[0].Err = registry.ErrDenied
	full := encoded(t, all)

	var paths []string
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			f := v.Field(i)
			name := path + v.Type().Field(i).Name
			switch {
			case f.Kind() == reflect.Slice && f.Index(0).Kind() == reflect.Struct:
				walk(f.Index(0), name+".")
				continue
			case f.Kind() == reflect.Struct:
				walk(f, name+".")
				continue
			}
			paths = append(paths, name)
			old := reflect.New(f.Type()).Elem()
			old.Set(f)
			f.SetZero()
			require.NotEqual(t, full, encoded(t, all), "%s is not in the JSON form", name)
			f.Set(old)
		}
	}
	walk(reflect.ValueOf(&all).Elem(), "")
	require.Greater(t, len(paths), 25, strings.Join(paths, " "))
}

func encoded(t *testing.T, r validate.Result) string {
	t.Helper()
	out, err := json.Marshal(r)
	require.NoError(t, err)
	return string(out)
}

// fill sets every field that is not an interface to a value that is not zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(2 * time.Hour)) // Not zero in seconds either.
	}
}
