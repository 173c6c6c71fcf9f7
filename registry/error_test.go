package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

func ExampleError() {
	err := fmt.Errorf("deploy: %w", &registry.Error{
		Op: "check image", Ref: "ghcr.io/acme/app:1.2", Code: registry.ErrImageNotFound,
		Err: errors.New("HEAD https://ghcr.io/v2/acme/app/manifests/1.2: 404 MANIFEST_UNKNOWN"),
	})
	fmt.Println(errors.Is(err, registry.ErrNotFound), registry.CodeOf(err) == registry.ErrImageNotFound)
	fmt.Println(registry.HintOf(err))
	fmt.Println(err)
	// Output:
	// true true
	// check the tag or digest: the repository exists
	// deploy: check image ghcr.io/acme/app:1.2: image not found: HEAD https://ghcr.io/v2/acme/app/manifests/1.2: 404 MANIFEST_UNKNOWN; hint: check the tag or digest: the repository exists
}

// codes returns all codes by their names, from the source, so that the tests cover each of them.
func codes(t *testing.T) map[string]registry.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	require.NoError(t, err)
	all := make(map[string]registry.Code)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			value, err := strconv.Unquote(spec.Values[i].(*ast.BasicLit).Value)
			require.NoError(t, err)
			all[name.Name] = registry.Code(value)
		}
		return true
	})
	require.Greater(t, len(all), 30)
	return all
}

func TestCodes(t *testing.T) {
	noHint := []registry.Code{registry.ErrInvalid, registry.ErrUnsupported, registry.ErrCanceled, registry.ErrUnknown}
	seen := make(map[registry.Code]string)
	for name, code := range codes(t) {
		require.Empty(t, seen[code], "%s has the value of another code", name)
		seen[code] = name
		require.Regexp(t, `^[a-z0-9]+(_[a-z0-9]+)*$`, string(code))
		require.Equal(t, strings.ReplaceAll(string(code), "_", " "), code.Error())
		require.True(t, errors.Is(code, code))
		require.Equal(t, code, registry.CodeOf(fmt.Errorf("x: %w", code)))
		for _, other := range noHint {
			if code == other {
				require.Empty(t, code.Hint(), name)
				code = ""
			}
		}
		if code != "" {
			require.NotEmpty(t, code.Hint(), "%s says what is wrong, and not what to do", name)
			require.False(t, strings.HasSuffix(code.Hint(), "."), name)
		}
	}
}

// A log has the same name of a code as JSON.
func TestCodeInALog(t *testing.T) {
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("checked", "code", registry.ErrImageNotFound)
	require.Contains(t, out.String(), `"code":"image_not_found"`)
}

func TestCodesAreKindsOfOthers(t *testing.T) {
	for child, ancestors := range map[registry.Code][]registry.Code{
		registry.ErrExpired:            {registry.ErrUnauthorized},
		registry.ErrRepositoryNotFound: {registry.ErrNotFound},
		registry.ErrImageNotFound:      {registry.ErrNotFound},
		registry.ErrPlatformNotFound:   {registry.ErrNotFound},
		registry.ErrPing:               {registry.ErrIncompatible},
		registry.ErrChallenge:          {registry.ErrIncompatible},
		registry.ErrTokenMethod:        {registry.ErrIncompatible},
		registry.ErrTokenResponse:      {registry.ErrIncompatible},
		registry.ErrHEAD:               {registry.ErrIncompatible},
		registry.ErrMediaType:          {registry.ErrIncompatible},
		registry.ErrDigestHeader:       {registry.ErrIncompatible},
		registry.ErrManifest:           {registry.ErrIncompatible},
		registry.ErrContentType:        {registry.ErrIncompatible},
		registry.ErrContentNotFound:    {registry.ErrNotFound},
		registry.ErrTimeout:            {registry.ErrUnavailable},
		registry.ErrUnreachable:        {registry.ErrUnavailable},
		registry.ErrHostNotFound:       {registry.ErrUnreachable, registry.ErrUnavailable},
		registry.ErrProxy:              {registry.ErrUnreachable, registry.ErrUnavailable},
		registry.ErrTooLarge:           {registry.ErrNotRegistry},
		registry.ErrTLSUnknownIssuer:   {registry.ErrTLS},
		registry.ErrTLSExpired:         {registry.ErrTLS},
		registry.ErrTLSWrongName:       {registry.ErrTLS},
	} {
		isAncestor := make(map[registry.Code]bool)
		for _, ancestor := range ancestors {
			isAncestor[ancestor] = true
		}
		for name, other := range codes(t) {
			want := other == child || isAncestor[other]
			require.Equal(t, want, errors.Is(child, other), "%s is %s", child, name)
			require.Equal(t, want, errors.Is(&registry.Error{Code: child}, other), "an Error with %s is %s", child, name)
		}
	}
	require.NotErrorIs(t, registry.ErrNotFound, registry.ErrImageNotFound, "the general is not the special")
	require.NotErrorIs(t, registry.ErrHidden, registry.ErrNotFound, "nobody knows")
	require.NotErrorIs(t, registry.ErrHidden, registry.ErrDenied, "nobody knows")
}

func TestTemporary(t *testing.T) {
	temporary := map[registry.Code]bool{
		registry.ErrRateLimited: true, registry.ErrUnavailable: true, registry.ErrUnreachable: true, registry.ErrTimeout: true, registry.ErrProxy: true, registry.ErrCanceled: true,
		registry.ErrConflict: true, registry.ErrNotYet: true, registry.ErrClusterUnavailable: true, registry.ErrStale: true,
	}
	for name, code := range codes(t) {
		require.Equal(t, temporary[code], code.Temporary(), name)
	}
}

func TestCodeOf(t *testing.T) {
	inner := &registry.Error{Op: "a", Code: registry.ErrDenied}
	for name, test := range map[string]struct {
		err  error
		want registry.Code
	}{
		"nil":                        {nil, ""},
		"another":                    {io.EOF, registry.ErrUnknown},
		"context":                    {context.Canceled, registry.ErrUnknown},
		"a code":                     {registry.ErrTLS, registry.ErrTLS},
		"an Error":                   {inner, registry.ErrDenied},
		"wrapped":                    {fmt.Errorf("x: %w", inner), registry.ErrDenied},
		"joined":                     {errors.Join(io.EOF, inner), registry.ErrDenied},
		"the outer one":              {&registry.Error{Op: "b", Code: registry.ErrHidden, Err: inner}, registry.ErrHidden},
		"an Error without code":      {&registry.Error{Op: "b"}, registry.ErrUnknown},
		"an Error with a code below": {&registry.Error{Op: "b", Err: registry.ErrTLS}, registry.ErrTLS},
	} {
		require.Equal(t, test.want, registry.CodeOf(test.err), name)
	}
}

func TestErrorText(t *testing.T) {
	specific := &registry.Error{Op: "get token", Code: registry.ErrUnauthorized, Hint: "use a token", Err: io.ErrUnexpectedEOF}
	for want, err := range map[string]*registry.Error{
		"check login ghcr.io: unauthorized; hint: " + registry.ErrUnauthorized.Hint(): {Op: "check login", Ref: "ghcr.io", Code: registry.ErrUnauthorized},
		"check login: canceled: context canceled":                                     {Op: "check login", Code: registry.ErrCanceled, Err: context.Canceled},
		"check login: canceled":                                                       {Op: "check login", Code: registry.ErrCanceled, Err: registry.ErrCanceled},
		"get token: unauthorized: unexpected EOF; hint: use a token":                  specific,
		// One hint is enough, and the hint of the cause is more specific.
		"check image a: hidden: get token: unauthorized: unexpected EOF; hint: use a token": {Op: "check image", Ref: "a", Code: registry.ErrHidden, Err: specific},
	} {
		require.Equal(t, want, err.Error())
	}
	require.Equal(t, "use a token", registry.HintOf(fmt.Errorf("x: %w", &registry.Error{Code: registry.ErrHidden, Err: specific})))
	require.Equal(t, "mine", registry.HintOf(&registry.Error{Code: registry.ErrHidden, Hint: "mine", Err: specific}))
	require.Empty(t, registry.HintOf(io.EOF))
	require.Empty(t, registry.HintOf(nil))
}

func TestErrorUnwraps(t *testing.T) {
	err := fmt.Errorf("x: %w", &registry.Error{Code: registry.ErrTimeout, Err: context.DeadlineExceeded, Wait: time.Minute})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, registry.ErrUnavailable)
	require.NotErrorIs(t, err, registry.ErrTLS)
	wait, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err)
	require.True(t, ok)
	require.Equal(t, time.Minute, wait.RetryAfter())
}

// An error that wraps another one has the longest wait that it or a cause requests: a cache reads the outermost.
func TestErrorWaitsForItsCause(t *testing.T) {
	limited := &registry.Error{Code: registry.ErrRateLimited, Wait: time.Minute}
	for name, test := range map[string]struct {
		err  *registry.Error
		want time.Duration
	}{
		"none":       {&registry.Error{Err: io.EOF}, 0},
		"no cause":   {&registry.Error{Wait: time.Second}, time.Second},
		"cause":      {&registry.Error{Err: limited}, time.Minute},
		"wrapped":    {&registry.Error{Err: fmt.Errorf("x: %w", &registry.Error{Err: fmt.Errorf("y: %w", limited)})}, time.Minute},
		"longer":     {&registry.Error{Wait: time.Hour, Err: limited}, time.Hour},
		"shorter":    {&registry.Error{Wait: time.Second, Err: limited}, time.Minute},
		"joined":     {&registry.Error{Err: errors.Join(io.EOF, &registry.Error{Wait: time.Second}, limited)}, time.Minute},
		"of a cache": {&registry.Error{Err: &credentials.BackoffError{Err: limited}}, 0}, // The wait is over.
	} {
		require.Equal(t, test.want, test.err.RetryAfter(), name)
	}
}
