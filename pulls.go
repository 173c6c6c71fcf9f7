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

// CheckSecrets reports for each image, in order, whether a node could pull it for a pod that names these pull secrets,
// in their order. The secrets may come from any tool; see [pullsecret.Parse]. CheckSecrets calls the registries with
// the entries that a kubelet would try, and without a login where no entry matches. It ignores credentials configured
// on nodes.
//
// The error is nil only if all images can be pulled. Otherwise it joins the errors of the results. If any image name is
// invalid, no request is sent, and the error has [registry.ErrInvalid] and wraps a [field.Errors] with all invalid
// names.
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
			candidate := validate.Candidate{Name: m.Key, Transport: way}
			if m.Credential.Username != "" || !m.Credential.Password.IsZero() {
				candidate.Source = one(entries, m)
			} // A runtime that gets an empty login from the kubelet pulls without one.
			requests[i].Candidates = append(requests[i].Candidates, candidate)
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

// CheckPod is [Pipeline.CheckSecrets] for pull secrets as the cluster stores them. A kubelet that cannot decode one of
// the secrets pulls no image of the pod. In this case, no request is sent, and the error that describes the secret is
// the result for all images.
func (p *Pipeline) CheckPod(ctx context.Context, images []string, secrets ...pullsecret.PodSecret) ([]validate.Result, error) {
	configs, err := pullsecret.ParsePod(secrets...)
	if err != nil {
		results := make([]validate.Result, len(images))
		for i, name := range images {
			results[i].Image, _ = registry.ParseImage(name) // If the name cannot be parsed, the image is zero.
			results[i].Pulls, results[i].Err = validate.No, err
		}
		return results, err
	}
	return p.CheckSecrets(ctx, images, configs...)
}

// An entry is the credential of one entry of a secret. It is used by pointer, so that the checker recognizes the same
// source for all images.
type entry struct{ credential credentials.Credential }

// Credential implements [credentials.Source].
func (e *entry) Credential(context.Context) (credentials.Credential, error) { return e.credential, nil }

// one returns the entry for a match. Equal matches get the same entry.
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
