package regcred

import (
	"context"
	"fmt"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// CheckSecrets says for each image, in their order, whether a node would get it for a pod that names these pull secrets, in
// their order, whoever made them; see [pullsecret.Parse]. It asks the registries with the entries that a kubelet would
// try, and without a login where there are none. What nodes themselves have for private registries, it does not know.
//
// The error is nil only if all images can be pulled. Else it joins those of the results. If some names are none, nobody
// is asked, and it has [registry.ErrInvalid] and wraps a [field.Errors] with all of them.
func (p *Pipeline) CheckSecrets(ctx context.Context, images []string, secrets ...pullsecret.Config) ([]validate.Result, error) {
	var problems field.List
	requests := make([]validate.Request, len(images))
	entries := make(map[string][]*entry)
	for i, name := range images {
		image, err := registry.ParseImage(name)
		problems.Under(fmt.Sprintf("images[%d]", i), err)
		requests[i] = validate.Request{Image: image}
		way := registry.TransportConfig{Egress: p.Egress}
		for _, m := range pullsecret.MatchAll(image, secrets...) {
			requests[i].Candidates = append(requests[i].Candidates, validate.Candidate{Name: m.Key, Source: one(entries, m), Transport: way})
		}
		if len(requests[i].Candidates) == 0 {
			requests[i].Candidates = []validate.Candidate{{Transport: way}}
		}
	}
	if err := refused("read request", problems.Err("")); err != nil {
		return nil, err
	}
	return p.Checker.Images(ctx, requests)
}

// An entry is one of a secret. That it is a pointer tells the checker that it is one and the same for all images.
type entry struct{ credential credentials.Credential }

// Credential returns that of the entry.
func (e *entry) Credential(context.Context) (credentials.Credential, error) { return e.credential, nil }

// one returns the same entry for the same match.
func one(entries map[string][]*entry, m pullsecret.Match) *entry {
	for _, e := range entries[m.Key] {
		if e.credential.Equal(m.Credential) {
			return e
		}
	}
	e := &entry{m.Credential}
	entries[m.Key] = append(entries[m.Key], e)
	return e
}
