package injectotel

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/regcred/regcred/inject"
)

// A cluster wraps a Cluster and makes a span of each change. Calls of State get no span, because there is one for each
// namespace of a pass and they are served from memory.
type cluster struct {
	inject.Cluster
	tracer trace.Tracer
}

func (c cluster) Apply(ctx context.Context, change inject.Change) error {
	ctx, span := c.tracer.Start(ctx, string(change.Action), trace.WithAttributes(describe(change)...))
	err := c.Cluster.Apply(ctx, change)
	end(span, err)
	return err
}

// describe returns the attributes of a change, without the secret that it writes.
func describe(change inject.Change) []attribute.KeyValue {
	about := []attribute.KeyValue{attribute.String("regcred.owner", change.Owner), namespaceKey.String(change.Namespace)}
	if change.Action == inject.LinkAccount {
		about = append(about, accountKey.String(change.Name))
		if len(change.Link) > 0 {
			about = append(about, attribute.StringSlice("regcred.link", change.Link))
		}
		if len(change.Unlink) > 0 {
			about = append(about, attribute.StringSlice("regcred.unlink", change.Unlink))
		}
		return about
	}
	about = append(about, secretKey.String(change.Name), attribute.String("regcred.reason", change.Reason))
	if profiles := change.Secret.Annotations[inject.AnnotationProfiles]; profiles != "" {
		about = append(about, attribute.StringSlice("regcred.profiles", strings.Split(profiles, ",")))
	}
	if at := change.Secret.Annotations[inject.AnnotationExpiresAt]; at != "" {
		about = append(about, expiryKey.String(at))
	}
	return about
}
