// Package subjects returns the tokens of workloads from files, from environment variables and from functions, such as
// the token source of the CI system that the program runs in.
//
// [Set] is a [providers.Subjects] that returns only the tokens that it lists, because profiles may be written by
// people who must not read this program's files. Tokens of Kubernetes service accounts come from package inject/kube.
package subjects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// A Func returns a token for the audience. It is called for each exchange and may be called concurrently.
type Func func(ctx context.Context, audience string) (credentials.Secret, error)

// A Set is a [providers.Subjects] that returns the tokens that it lists. The zero Set returns none. Set the fields
// before the first use; it is then safe for concurrent use.
type Set struct {
	// Kubernetes returns the tokens of service accounts. If nil, they are rejected.
	Kubernetes providers.Subjects

	// Files are the paths of files with tokens that a profile may name, each spelled as in the profile. A file is read
	// for each exchange, because its writer renews it.
	Files []string

	// Environment are the names of environment variables with tokens that a profile may name. They are read from the
	// environment of the process, for each exchange.
	Environment []string

	// Sources are functions by the name that a profile uses, such as "github-actions" or "spiffe".
	Sources map[string]Func

	// Allow reports whether a profile of the tenant may use a file, variable or source. If nil, only profiles without
	// a tenant may, because these tokens identify the program and not a tenant.
	Allow func(tenant string, s credentials.Subject) bool
}

// SubjectToken returns the token of s. The error is [registry.ErrDenied] if the Set does not list s or the tenant may
// not use it, and [registry.ErrNoIdentity] if there is no token.
func (v Set) SubjectToken(ctx context.Context, r providers.SubjectRequest) (credentials.Secret, error) {
	s, tenant := r.Subject, r.Profile.Tenant
	if s.Kubernetes != nil {
		if v.Kubernetes == nil {
			return credentials.Secret{}, denied(s, "this program requests no tokens of service accounts", nil)
		}
		return v.Kubernetes.SubjectToken(ctx, r)
	}
	if v.Allow == nil && tenant != "" || v.Allow != nil && !v.Allow(tenant, s) {
		return credentials.Secret{}, denied(s, fmt.Sprintf("tenant %q may not use the identity of this program", tenant), nil)
	}
	var token credentials.Secret
	var err error
	switch {
	case s.File != "" && slices.Contains(v.Files, s.File):
		token, err = readFile(s.File)
	case s.Environment != "" && slices.Contains(v.Environment, s.Environment):
		if token = credentials.NewSecret(strings.TrimSpace(os.Getenv(s.Environment))); token.IsZero() {
			err = errors.New("it is not set")
		}
	case s.Source != "" && v.Sources[s.Source] != nil:
		token, err = v.Sources[s.Source](ctx, r.Audience)
	default:
		return credentials.Secret{}, denied(s, "it is not among the subjects of this program", v.names())
	}
	switch {
	case ctx.Err() != nil:
		return credentials.Secret{}, context.Cause(ctx)
	case err != nil:
		if _, ok := errors.AsType[*registry.Error](err); ok {
			return credentials.Secret{}, err
		}
		return credentials.Secret{}, &registry.Error{
			Op: "get subject token", Ref: "of " + s.String(), Code: registry.ErrNoIdentity, Err: errors.New(cloud.Clean(err.Error())),
		}
	}
	return token, nil
}

// names returns the names that a profile may use. It omits the paths of files, because they describe the machine.
func (v Set) names() []string {
	return append(slices.Clone(v.Environment), slices.Sorted(maps.Keys(v.Sources))...)
}

func denied(s credentials.Subject, why string, names []string) error {
	hint := "use a subject that this program provides"
	if len(names) > 0 {
		hint += ": " + strings.Join(names, ", ")
	}
	return &registry.Error{Op: "get subject token", Ref: "of " + s.String(), Code: registry.ErrDenied, Hint: hint, Err: errors.New(why)}
}

func readFile(path string) (credentials.Secret, error) {
	text, err := cloud.ReadToken(path)
	if err != nil {
		return credentials.Secret{}, err
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return credentials.Secret{}, errors.New("the file is empty")
	}
	return credentials.NewSecret(string(text)), nil
}
