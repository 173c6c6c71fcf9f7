package gate

import "context"

// A Note passes the findings of the gate about a request to the server that called the gate.
type Note struct {
	// Account is the account that sent the request. It is empty if the client is anonymous or unknown.
	Account string
	// Err is the error if accounts or keys could not be read. The client does not receive it.
	Err error
}

type noteKey struct{}

// WithNote returns a context whose requests write into the note.
func WithNote(ctx context.Context, n *Note) context.Context {
	return context.WithValue(ctx, noteKey{}, n)
}

// NoteOf returns the note of a context, or an unused note if the context has none.
func NoteOf(ctx context.Context) *Note {
	if n, ok := ctx.Value(noteKey{}).(*Note); ok {
		return n
	}
	return new(Note)
}
