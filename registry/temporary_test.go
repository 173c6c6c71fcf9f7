package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
)

func ExampleTemporary() {
	down := &registry.Error{Op: "check image", Ref: "quay.io/a/b:1", Code: registry.ErrUnavailable}
	missing := &registry.Error{Op: "check image", Ref: "ghcr.io/a/b:1", Code: registry.ErrImageNotFound}
	fmt.Println(registry.Temporary(down))
	fmt.Println(registry.Temporary(errors.Join(down, missing)))
	// Output:
	// true
	// false
}

func TestTemporaryOfATree(t *testing.T) {
	down := &registry.Error{Op: "a", Code: registry.ErrTimeout}
	missing := &registry.Error{Op: "b", Code: registry.ErrNotFound}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"nil":                        {nil, false},
		"another":                    {io.EOF, false},
		"others":                     {errors.Join(io.EOF, io.ErrUnexpectedEOF), false},
		"a context":                  {context.Canceled, false},
		"a code":                     {registry.ErrRateLimited, true},
		"wrapped":                    {fmt.Errorf("x: %w", down), true},
		"cut short":                  {errors.Join(down, &registry.Error{Op: "c", Code: registry.ErrCanceled}), true},
		"all of them":                {errors.Join(down, registry.ErrProxy), true},
		"the first only":             {errors.Join(down, missing), false},
		"the last only":              {errors.Join(missing, down), false},
		"several causes":             {fmt.Errorf("x: %w, %w", down, missing), false},
		"deep":                       {errors.Join(down, fmt.Errorf("x: %w", errors.Join(down, fmt.Errorf("y: %w", missing)))), false},
		"beside an uncoded one":      {fmt.Errorf("%w: %w", io.EOF, down), true},
		"beside an invalid input":    {errors.Join(down, &field.Errors{Fields: []*field.Error{{}}}), false},
		"the cause is not":           {&registry.Error{Code: registry.ErrUnavailable, Err: missing}, true},
		"the cause is":               {&registry.Error{Code: registry.ErrDenied, Err: down}, false},
		"an Error without code":      {&registry.Error{Op: "a"}, false},
		"an Error with a code below": {&registry.Error{Op: "a", Err: down}, true},
	} {
		require.Equal(t, test.want, registry.Temporary(test.err), name)
	}
}
