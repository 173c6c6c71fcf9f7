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

// A Pipeline goes the whole way from profiles to a pull secret. The zero Pipeline is ready to use. Set the fields
// before the first use; after that it is safe for concurrent use, and must not be copied. One Pipeline serves all
// tenants of a program.
type Pipeline struct {
	// Provider issues the credentials; most programs have a [providers.Set]. If nil, it serves Docker Hub, System
	// registries, which are called with the Checker's RoundTripper, and custom ones. A cloud is added by naming its
	// provider, so that no SDK is linked that nobody asked for.
	Provider providers.Provider

	// Cache keeps the credentials. Start its Run in the background and they are renewed before anybody waits for them.
	Cache credentials.Cache

	// Checker asks the registries.
	Checker validate.Checker

	// Egress decides which servers the pipeline connects to, and what else a profile may ask for. Set it to a new
	// [egress.Policy] where profiles come from untrusted users: then only public addresses are connected to, and no
	// profile may bring a proxy, plain HTTP, the identity of the process or a file of the machine. It holds for all
	// registries, token servers and issuers. Nil means that the profiles are trusted.
	Egress *egress.Policy

	proven proven
}

// A Request is a pull secret to build, and what it must be good for.
type Request struct {
	// Name and Namespace are those of the secret. An empty Name means "regcred".
	Name, Namespace string
	// Labels and Annotations are put on the secret.
	Labels, Annotations map[string]string

	// Profiles are the registries whose credentials go into the secret, all of them; each name once.
	Profiles []registry.Profile

	// Images are the names of images as they stand in a workload. None means that only the logins are checked: who
	// wants a proof for a workload looks first whether it has any.
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

// LogValue returns what a log needs to tell the request from others.
func (r Request) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", r.Name), slog.String("namespace", r.Namespace),
		slog.Int("profiles", len(r.Profiles)), slog.Int("images", len(r.Images)))
}

// An Outcome is what came of a [Request]. It is complete only if [Pipeline.Run] returned no error.
type Outcome struct {
	// Secret is the pull secret, which holds passwords. It is zero if Run returned an error: what is not proven is not
	// published.
	Secret pullsecret.Secret

	// Logins says for each profile, in the order of the request, whether its login works. The warnings of the profile, such
	// as that its login expires soon, are among those of the result. Logins and Images are whole also where something
	// failed, and both nil where no registry was asked.
	Logins []validate.Result
	// Images says for each image, in the order of the request, whether it can be pulled with the secret. One that is
	// refused because the credential of its profile could not be had has the code and hint of that failure, and wraps it.
	Images []validate.Result

	// RenewAt is when to call Run again because the cache then renews the first of the credentials; it is not in the
	// past. ExpiresAt is when the first of them ends. Zero means never.
	RenewAt, ExpiresAt time.Time
}

// Run gets the credential of each profile, checks each login, builds the secret, and checks each image with the
// credentials in it that a kubelet would try, in the order in which it would. A credential that a registry refuses is
// dropped from the cache and got again, once, and then everything is checked again: what is in the secret is what was
// checked.
//
// The error is nil only if all logins work and all images can be pulled. Else it joins one [registry.Error] for each
// login and image that failed, and the outcome has the evidence for all of them; see [registry.Temporary]. If ctx ends,
// it wraps [context.Cause]. For a request that cannot be right nobody is asked, and the error has [registry.ErrInvalid]
// and wraps a [field.Errors] with all problems; if all that is wrong are kinds without a provider, it has
// [registry.ErrNoProfile] instead.
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

// CheckLogin checks that the login of a profile works: the button of a form. What it may pull, only Run can tell, from the
// images.
func (p *Pipeline) CheckLogin(ctx context.Context, profile registry.Profile) (validate.Result, error) {
	outcome, err := p.Run(ctx, Request{Profiles: []registry.Profile{profile}})
	if len(outcome.Logins) == 0 {
		return validate.Result{Err: err}, err
	}
	return outcome.Logins[0], outcome.Logins[0].Err
}

// restrict returns the profile under the policy of the pipeline.
func (p *Pipeline) restrict(profile registry.Profile) registry.Profile {
	if p.Egress != nil {
		profile.Transport.Egress = p.Egress
	}
	return profile
}

// validate reports every problem of the profile under the policy of the pipeline.
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
