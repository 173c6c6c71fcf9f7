package panics_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/panics"
)

func recovered(f func()) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = panics.Error("source", value)
		}
	}()
	f()
	return nil
}

func TestError(t *testing.T) {
	var null *struct{ field int }
	err := recovered(func() { null.field++ })
	require.ErrorContains(t, err, "source panicked in panics_test.TestError.func1 (panics_test.go:")
	require.ErrorContains(t, err, "nil pointer dereference")
	require.ErrorAs(t, err, new(runtime.Error))

	err = recovered(func() { panic("the password is hunter2") })
	require.ErrorContains(t, err, "in panics_test.TestError.func2 (")
	require.ErrorContains(t, err, "with a value of type string")
	require.NotContains(t, err.Error(), "hunter2")

	require.NoError(t, recovered(func() {}))
}

func TestGo(t *testing.T) {
	broken := errors.New("broken")
	r := <-panics.Go("source", func() (int, error) { return 1, broken })
	require.Equal(t, panics.Result[int]{Value: 1, Err: broken}, r)

	r = <-panics.Go("source", func() (int, error) { panic(1) })
	require.ErrorIs(t, r.Err, panics.ErrPanicked)
	require.ErrorContains(t, r.Err, "source panicked in panics_test.TestGo.func2 (panics_test.go:")

	r = <-panics.Go("source", func() (int, error) { runtime.Goexit(); return 1, nil })
	require.EqualError(t, r.Err, "source ended its goroutine")
}
