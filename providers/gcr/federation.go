package gcr

import (
	"context"
	"fmt"
	"regexp"

	"golang.org/x/oauth2/google/externalaccount"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers/internal/subject"
	"github.com/regcred/regcred/registry"
)

var (
	providerName = regexp.MustCompile(`^projects/[0-9]+/locations/[a-z0-9-]+/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+$`)
	clusterName  = regexp.MustCompile(`^projects/([a-z0-9:.-]+)/locations/[a-z0-9-]+/clusters/[a-z0-9-]+$`)
)

func (p Provider) checkFederation(problems *field.List, profile registry.Profile, f *credentials.GoogleFederation) {
	switch {
	case f.Provider != "" && !providerName.MatchString(f.Provider):
		problems.Add("federation.provider", "is "+field.Quote(f.Provider),
			"projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER, with the number of the project and not its ID")
	case f.GKE != "" && !clusterName.MatchString(f.GKE):
		problems.Add("federation.gke", "is "+field.Quote(f.GKE), "projects/PROJECT/locations/LOCATION/clusters/NAME")
	default:
		subject.Validate(problems, "federation.subject", p.Subjects, profile, f.Subject, tokenFor(f), nil)
	}
}

// tokenFor returns the destination of the subject's token: the workload identity provider, or the pool of a GKE
// cluster's project (https://cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes;
// kubernetes/cloud-provider-gcp pkg/gcpcredential).
func tokenFor(f *credentials.GoogleFederation) subject.Destination {
	to := subject.Destination{Host: exchangeHost, Audience: "https://iam.googleapis.com/" + f.Provider, Fixed: true}
	if match := clusterName.FindStringSubmatch(f.GKE); match != nil {
		to.Audience = match[1] + ".svc.id.goog"
	}
	return to
}

// exchangeAudience returns the audience of the exchange, which differs from the token's.
func exchangeAudience(f *credentials.GoogleFederation) string {
	if match := clusterName.FindStringSubmatch(f.GKE); match != nil {
		return "identitynamespace:" + match[1] + ".svc.id.goog:https://container.googleapis.com/v1/" + f.GKE
	}
	return "//iam.googleapis.com/" + f.Provider
}

const exchangeHost = "sts.googleapis.com"

// fromFederation exchanges the token of a subject.
func (s *session) fromFederation(ctx context.Context, f *credentials.GoogleFederation, scope string) (identity, error) {
	audience := exchangeAudience(f)
	id := identity{name: "a federated identity of " + audience}
	st := step{stepFederate, ""}
	token, err := subject.Get(ctx, s.provider.Subjects, s.profile, f.Subject, tokenFor(f), nil)
	if err != nil {
		if ctx.Err() != nil {
			return id, s.fail(ctx, st, id, err)
		}
		return id, s.error(registry.CodeOf(err), registry.HintOf(err), 0, fmt.Errorf("%s: %w", st.text(id), err))
	}
	id.presented = token.Claims.Presented()
	source, err := externalaccount.NewTokenSource(s.wire.context(ctx), externalaccount.Config{
		Audience: audience, SubjectTokenType: "urn:ietf:params:oauth:token-type:jwt", TokenURL: stsURL, Scopes: []string{scope},
		SubjectTokenSupplier: subjectText(token.Secret.Reveal()),
	})
	if err != nil {
		return id, s.fail(ctx, st, id, err)
	}
	return s.exchange(ctx, st, id, source)
}
