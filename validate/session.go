package validate

import (
	"context"

	"github.com/regcred/regcred/registry"
)

// A session is what one call learns about registries, or several calls within [Checker.CacheFor].
type session struct{ c *Checker }

func (c *Checker) session() *session { return &session{c} }

func (s *session) login(ctx context.Context, endpoint registry.Endpoint, candidate Candidate) Result {
	return Result{Err: registry.ErrUnsupported}
}

func (s *session) image(ctx context.Context, r Request) Result {
	return Result{Image: r.Image, Err: registry.ErrUnsupported}
}

func (s *session) images(ctx context.Context, requests []Request) ([]Result, error) {
	return nil, registry.ErrUnsupported
}
