package regcred

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// A Pipeline builds pull secrets from profiles. The zero Pipeline is ready to use. Set the fields before the first use;
// after that it is safe for concurrent use, and must not be copied. One Pipeline serves all tenants of a program.
type Pipeline struct {
	// Provider issues the credentials; most programs have a [providers.Set]. If nil, the Pipeline serves Docker Hub,
	// System registries, which are called with the Checker's RoundTripper, and custom ones. A program that uses a cloud
	// has to set that cloud's provider here, so that only the SDKs in use are linked.
	Provider providers.Provider

	// Cache keeps the credentials. Start its Run in the background to renew credentials before they are needed.
	Cache credentials.Cache

	// Checker checks logins and images with the registries.
	Checker validate.Checker

	// Egress decides which servers the pipeline connects to, and what else a profile may use. Set it to a new
	// [egress.Policy] if profiles come from untrusted users: the pipeline then connects to public addresses only, and
	// no profile may use a proxy, plain HTTP, the identity of the process or a file of the machine. The policy applies
	// to all registries, token servers and issuers. If nil, the profiles are trusted.
	Egress *egress.Policy

	proven proven
}

// A Request describes a pull secret to build, and the images that it must be able to pull.
type Request struct {
	// Name and Namespace are the name and the namespace of the secret. An empty Name means "regcred".
	Name, Namespace string
	// Labels and Annotations are put on the secret.
	Labels, Annotations map[string]string

	// Profiles are the profiles of the registries. The secret contains the credentials of all of them. Their names must
	// be unique.
	Profiles []registry.Profile

	// Images are the names of images as written in a workload. If there are none, only the logins are checked. A program
	// that needs proof for a workload should first check that the workload has images. Images without Profiles are
	// checked without a login, and the secret is empty.
	Images []string
}

// Format prints the request like package fmt, without a login that a user wrote into the name of an image by mistake.
func (r Request) Format(s fmt.State, verb rune) {
	type plain Request
	if r.Images != nil {
		images := make([]string, len(r.Images))
		for i, image := range r.Images {
			images[i] = field.Redact(image)
		}
		r.Images = images
	}
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(r))
}

// LogValue returns the fields that identify the request in a log.
func (r Request) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", r.Name), slog.String("namespace", r.Namespace),
		slog.Int("profiles", len(r.Profiles)), slog.Int("images", len(r.Images)))
}

// An Outcome is the result of a [Request]. If [Pipeline.Run] returned an error, Secret is zero, and Logins and Images
// have the results of the checks that were made.
type Outcome struct {
	// Secret is the pull secret, which holds passwords. It is zero after an error, so that no unproven credential is
	// published.
	Secret pullsecret.Secret

	// Logins reports for each profile, in the order of the request, whether its login works at each host of the profile: a
	// result is the first failure, or else the result of the main endpoint. The warnings of a result include those about
	// the profile, such as a login that expires soon. Logins and Images are complete even if a check failed. Both are nil
	// if no registry was called.
	Logins []validate.Result
	// Images reports for each image, in the order of the request, whether it can be pulled with the secret. If an image is
	// rejected because no credential could be obtained for its profile, its error has the code and hint of that failure,
	// and wraps it.
	Images []validate.Result

	// RenewAt is the time to call Run again: the earliest time at which the cache renews one of the credentials. It is
	// never in the past. ExpiresAt is the earliest time at which one of them expires. Zero means never.
	RenewAt, ExpiresAt time.Time
}

// Run gets the credential of each profile, checks each login at each host of its profile, builds the secret, and checks
// each image with the credentials in the secret that a kubelet would try, in the kubelet's order. If a registry rejects
// a credential, Run drops it from the cache, gets a new one, and repeats all checks, so that the secret contains exactly
// the credentials that were checked. It does so only once.
//
// The error is nil only if all logins work and all images can be pulled. Otherwise it joins one [registry.Error] for
// each login and image that failed, and the outcome has the results of all checks. [registry.Temporary] reports whether
// a retry may succeed. If ctx ends, the error wraps [context.Cause]. For an invalid request, no request is sent, and
// the error has [registry.ErrInvalid] and wraps a [field.Errors] with all problems. If the only problems are kinds
// without a provider, it has [registry.ErrNoProvider] instead.
func (p *Pipeline) Run(ctx context.Context, request Request) (Outcome, error) {
	images, err := p.read(request)
	if err != nil {
		return Outcome{}, err
	}
	accounts := p.accounts(ctx, request.Profiles)
	outcome, config, err := p.prove(ctx, accounts, images)
	if err == nil && p.renew(ctx, accounts, outcome) {
		outcome, config, err = p.prove(ctx, accounts, images)
	}
	if err != nil {
		return Outcome{}, err
	}
	if err := outcome.err(); err != nil {
		return outcome, err
	}
	secret := request.secret(config)
	if err := secret.Validate(); err != nil {
		return outcome, &registry.Error{Op: "build pull secret", Code: registry.ErrInvalid, Err: err} // It is too large.
	}
	outcome.Secret = secret
	return outcome, nil
}

func (r Request) secret(config pullsecret.Config) pullsecret.Secret {
	return pullsecret.Secret{
		Name:      cmp.Or(r.Name, "regcred"),
		Namespace: r.Namespace,
		Labels:    r.Labels, Annotations: r.Annotations,
		Config: config,
	}
}

// CheckLogin checks that the login of a profile works at each of its hosts, for example when a user presses a button in
// a form. Only Run checks what the login may pull, because that depends on the images.
func (p *Pipeline) CheckLogin(ctx context.Context, profile registry.Profile) (validate.Result, error) {
	if err := p.validate(profile); err != nil { // Run would report the fields below profiles[0].
		err = refused("read profile", err)
		return validate.Result{Err: err}, err
	}
	outcome, err := p.Run(ctx, Request{Profiles: []registry.Profile{profile}})
	if len(outcome.Logins) == 0 {
		return validate.Result{Err: err}, err
	}
	return outcome.Logins[0], outcome.Logins[0].Err
}

// restrict returns the profile with the egress policy of the pipeline.
func (p *Pipeline) restrict(profile registry.Profile) registry.Profile {
	if p.Egress != nil {
		profile.Transport.Egress = p.Egress
	}
	return profile
}

// validate reports every problem of the profile, including violations of the pipeline's egress policy.
func (p *Pipeline) validate(profile registry.Profile) error {
	return providers.Validate(p.provider(), p.restrict(profile))
}

func (p *Pipeline) provider() providers.Provider {
	if p.Provider != nil {
		return p.Provider
	}
	return providers.Set{
		registry.DockerHub: dockerhub.Provider{}, registry.Custom: custom.Provider{},
		registry.System: system.Provider{RoundTripper: p.Checker.RoundTripper},
	}
}
