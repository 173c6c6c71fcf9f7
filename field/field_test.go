package field_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/field"
)

func ExampleList() {
	validate := func(name, color string) error {
		var problems field.List
		if name == "" {
			problems.Add("name", "is missing", "")
		}
		if color != "red" {
			problems.Add("paint.color", fmt.Sprintf("is %q", color), "red")
		}
		return problems.Err("wagon")
	}
	fmt.Println(validate("a", "red"))
	fmt.Println(validate("a", "blue"))
	fmt.Println(validate("", "blue"))
	// Output:
	// <nil>
	// wagon: paint.color is "blue": expected red
	// wagon: 2 problems:
	// 	name is missing
	// 	paint.color is "blue": expected red
}

func TestProblemsUnder(t *testing.T) {
	var inner field.List
	inner.Add("", "is odd", "")
	inner.Add("name", "is missing", "a name")
	inner.Add("[3].arn", "is odd", "")

	var p field.List
	p.Under("a", nil)
	p.Under("b", inner.Err("inner"))
	p.Under("c", fmt.Errorf("wrapped: %w", inner.Err("inner")))
	p.Under("d", io.EOF)
	p.Under("", inner.Err(""))
	err := p.Err("")

	invalid, ok := errors.AsType[*field.Errors](err)
	require.True(t, ok)
	var fields []string
	for _, f := range invalid.Fields {
		fields = append(fields, f.Field)
	}
	require.Equal(t, []string{"b", "b.name", "b[3].arn", "c", "c.name", "c[3].arn", "d", "", "name", "[3].arn"}, fields)
	require.ErrorContains(t, err, "10 problems:\n\tb is odd\n\tb.name is missing: expected a name\n")
	require.ErrorContains(t, err, "\td EOF")
	require.ErrorContains(t, err, "\tis odd")

	var outer field.List
	outer.Under("x", err)
	require.ErrorIs(t, outer.Err(""), io.EOF)

	problem, ok := errors.AsType[*field.Error](err)
	require.True(t, ok)
	require.Equal(t, "b", problem.Field)
}
