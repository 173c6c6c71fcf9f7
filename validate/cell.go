package validate

import "context"

// A cell holds one value that many need and one fetches. Who comes first fetches, under a context of its own; the
// others wait, each as long as its own context lasts. If the one that fetches leaves, the next takes over, so that
// nobody fails because another was canceled.
type cell[T perishable] struct {
	turn  chan struct{} // Has room while nobody fetches.
	value T
}

// A perishable can be used as long as it is fresh.
type perishable interface{ fresh() bool }

func newCell[T perishable]() cell[T] { return cell[T]{turn: make(chan struct{}, 1)} }

// get returns the value, from fetch if there is no good one.
func (c *cell[T]) get(ctx context.Context, fetch func() T) (T, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	if !c.value.fresh() {
		c.value = fetch()
	}
	return c.value, nil
}
