package gate

import "context"

// A Note is what the gate found out about a request, for the server around it.
type Note struct {
	// Account is who sent the request. Empty means anybody, or nobody that is known.
	Account string
	// Err is that accounts or keys could not be read.
	Err error
}

type noteKey struct{}

// WithNote returns a context whose requests write into the note.
func WithNote(ctx context.Context, n *Note) context.Context {
	return context.WithValue(ctx, noteKey{}, n)
}

// NoteOf returns the note of a context; one that nobody reads if it has none.
func NoteOf(ctx context.Context) *Note {
	if n, ok := ctx.Value(noteKey{}).(*Note); ok {
		return n
	}
	return new(Note)
}
