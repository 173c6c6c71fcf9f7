package validate

import "context"

// A cell holds one value that many need and one fetches. Who comes first fetches, under a context of its own; the
// others wait, each as long as its own context lasts. If the one that fetches leaves, the next takes over, so that
// nobody fails because another was canceled.
type cell[T any] struct {
	turn  chan struct{} // Holds one element while nobody fetches.
	value T
	good  func(T) bool // Whether the value can still be used.
}

func newCell[T any](good func(T) bool) *cell[T] {
	c := &cell[T]{turn: make(chan struct{}, 1), good: good}
	c.turn <- struct{}{}
	return c
}

// get returns the value, from fetch if there is no good one.
func (c *cell[T]) get(ctx context.Context, fetch func() T) (T, error) {
	select {
	case <-c.turn:
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
	defer func() { c.turn <- struct{}{} }()
	if !c.good(c.value) {
		c.value = fetch()
	}
	return c.value, nil
}
