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

// CheckPod is [Pipeline.CheckSecrets] for pull secrets as the cluster has them. A secret that a kubelet cannot decode keeps
// every image of the pod from being pulled, so that it is the verdict on all of them, and no registry is asked.
func (p *Pipeline) CheckPod(ctx context.Context, images []string, secrets ...pullsecret.PodSecret) ([]validate.Result, error) {
	configs, err := pullsecret.ParsePod(secrets...)
	if err != nil {
		results := make([]validate.Result, len(images))
		for i, name := range images {
			results[i].Image, _ = registry.ParseImage(name) // One that cannot be parsed is zero.
			results[i].Pulls, results[i].Err = validate.No, err
		}
		return results, err
	}
	return p.CheckSecrets(ctx, images, configs...)
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
