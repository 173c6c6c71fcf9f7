package registry

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
)

// A Profile is a user's configuration of one registry. It is plain data: it may be copied, and must not be changed
// while it is in use.
type Profile struct {
	// Name identifies the profile, and is used in labels and reports. It has lower-case letters, digits, hyphens and dots,
	// at most 63, like the name of a Kubernetes object.
	Name string `json:"name"`

	// Tenant is the owner of the profile in a program with several tenants. Profiles of different tenants never share a
	// credential, even if they are otherwise equal. Empty means that there is just one tenant.
	Tenant string `json:"tenant,omitempty"`

	// Kind is the kind of registry, which chooses the provider. Empty is not valid; see [KindOf].
	Kind Kind `json:"kind"`

	// Endpoint is the address of the registry, with a path if the profile is limited to a part of it; see [ParseEndpoint].
	// Empty means Docker Hub if Kind is [DockerHub], and is not valid otherwise.
	Endpoint string `json:"endpoint,omitempty"`

	// Hosts are further endpoints that accept the same login, such as a second name of the registry, or the registries
	// of further accounts. Most profiles have none.
	Hosts []string `json:"hosts,omitempty"`

	// Login is the login at the registry.
	Login credentials.Login `json:"login"`

	// Transport is the configuration of the connection to the registry, for this program only.
	Transport TransportConfig `json:"transport,omitzero"`
}

// Endpoints returns Endpoint and Hosts in their canonical form, in this order, without duplicates. Its error is a
// [field.Errors] with every endpoint that cannot be parsed.
func (p Profile) Endpoints() ([]Endpoint, error) {
	var problems field.List
	var endpoints []Endpoint
	have := make(map[string]bool)
	p.parse(&problems, func(_ string, e Endpoint) {
		if s := e.String(); !have[s] {
			have[s] = true
			endpoints = append(endpoints, e)
		}
	})
	if err := problems.Err(p.subject()); err != nil {
		return nil, err
	}
	return endpoints, nil
}

// parse calls the function each with the path and value of every endpoint that can be parsed, and records the other
// endpoints as problems.
func (p Profile) parse(problems *field.List, each func(field string, e Endpoint)) {
	read := func(field, s string) {
		e, err := ParseEndpoint(s)
		if err != nil {
			problem, want, ok := strings.Cut(err.Error(), ": write ")
			if !ok {
				want = "a host such as registry.example.com, optionally with a port or a path"
			}
			problems.Add(field, problem, want)
			return
		}
		each(field, e)
	}
	if p.Endpoint == "" && p.Kind == DockerHub {
		each("endpoint", Endpoint{Host: dockerHubHost})
	} else {
		read("endpoint", p.Endpoint)
	}
	for i, host := range p.Hosts {
		read(fmt.Sprintf("hosts[%d]", i), host)
	}
}

// MainEndpoint returns Endpoint in its canonical form.
func (p Profile) MainEndpoint() (Endpoint, error) {
	p.Hosts = nil
	endpoints, err := p.Endpoints()
	if err != nil {
		return Endpoint{}, err
	}
	return endpoints[0], nil
}

func (p Profile) subject() string { return fmt.Sprintf("profile %q", p.Name) }

// Validate reports all problems at once as a [field.Errors], each with its field and the expected value. It sends no
// requests. The provider of the kind checks the rest.
func (p Profile) Validate() error {
	var problems field.List
	if problem := checkName(p.Name); problem != "" {
		problems.Add("name", problem,
			"lower-case letters, digits, hyphens and dots, at most 63, with a letter or digit at both ends")
	}
	if strings.ContainsFunc(p.Tenant, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(p.Tenant) > 253 {
		problems.Add("tenant", "has a control character or is longer than 253 characters", "a short name")
	}
	if p.Kind == "" {
		var names strings.Builder
		for _, kind := range kinds {
			names.WriteString(string(kind) + ", ")
		}
		problems.Add("kind", "is missing", names.String()+"or a kind that the program adds")
	} else if meant := Kind(strings.ToLower(strings.TrimSpace(string(p.Kind)))); meant != p.Kind && slices.Contains(kinds, meant) {
		problems.Add("kind", "is "+field.Quote(string(p.Kind)), string(meant))
	}
	p.parse(&problems, func(field string, e Endpoint) {
		if e.PlainHTTP && !p.Transport.PlainHTTP {
			problems.Add(field, "starts with http://",
				"https, or plainHTTP: true in transport if the registry has no TLS; the login can then be read on the network")
		}
		if p.Kind == DockerHub && !e.isDockerHub() {
			problems.Add(field, "is "+e.String(), "docker.io for kind dockerhub; other registries are of kind custom")
		}
	})
	if p.Kind == DockerHub && p.Transport.PlainHTTP {
		problems.Add("transport.plainHTTP", "is set", "https for Docker Hub")
	}
	problems.Under("login", p.Login.Validate())
	// A program may serve kind custom with a provider of its own, which may have settings.
	if p.Kind != Custom && slices.Contains(kinds, p.Kind) && len(p.Login.Settings) > 0 {
		problems.Add("login.settings", "is set", "nothing for kind "+string(p.Kind)+": settings are for custom providers")
	}
	problems.Under("transport", p.Transport.Validate())
	p.checkIdentity(&problems)
	return problems.Err(p.subject())
}

// checkName returns the problem of a name, or "" if the name is valid. The rule is Kubernetes' rule for the names of
// most objects, with the length limit of its labels:
// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/.
func checkName(s string) string {
	if s == "" {
		return "is missing"
	}
	if len(s) > 63 {
		return fmt.Sprintf("has %d characters", len(s))
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return "is " + field.Quote(s)
		}
	}
	return ""
}

// Warnings returns remarks for the user about a profile that is valid but may not work as intended, one sentence each.
func (p Profile) Warnings() []string {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	if p.Transport.PlainHTTP {
		warn("the registry is used over plain HTTP: everyone on the network path can read the login, " +
			"and container runtimes reject such a registry unless each node is configured to allow it")
	}
	if p.Transport.CABundle != "" {
		warn("the registry's certificate authority is trusted by this program only: " +
			"configure every node that pulls to trust it too")
	}
	warnings = append(warnings, outOfTime(p.Transport.CABundle, time.Now())...)
	if until := time.Until(p.Login.ExpiresAt); !p.Login.ExpiresAt.IsZero() && until < expiresSoon {
		at := p.Login.ExpiresAt.UTC().Format(time.RFC3339)
		if until <= 0 {
			warn("the login expired at %s: enter a new one, or use a login that does not expire", at)
		} else {
			warn("the login expires in %s, at %s, and is not renewed: enter a new one before, or use a login that does not expire", inWords(until), at)
		}
	}
	endpoints, _ := p.Endpoints()
	for _, e := range endpoints {
		kind := KindOf(e.Host)
		if page := e.page(); page != "" {
			warnings = append(warnings, page)
		}
		if name, ok := vpcRegistry(e.Host); ok {
			warn("%s is the name of a VPC endpoint, for which the registry has no certificate: turn on private DNS for the endpoint, "+
				"and write the registry's own name, %s", e.Host, name)
		}
		if account, _, _ := strings.Cut(e.Host, "."); kind == ECR && len(account) == 13 {
			warn("the AWS account number %s of %s has 13 digits: check it, because account numbers have 12", account, e.Host)
		}
		if p.Kind == Custom && (kind == ECR || kind == GCR) && !p.Login.Anonymous {
			warn("%s is a registry of kind %s: for kind custom, its token is not renewed", e.Host, kind)
		} else if p.Kind == Custom && p.Login.Username == "AWS" && p.Login.ExpiresAt.IsZero() {
			warn("the user name AWS belongs to a token that is valid for twelve hours, and is not renewed for kind custom: "+
				"use kind ecr, or a login of %s itself", e.Host)
		}
	}
	return warnings
}

// expiresSoon is the time before a login's expiry from which the user is warned. A person needs days to get a new
// login.
const expiresSoon = 14 * 24 * time.Hour

// inWords returns a duration in days, or in hours if it is short.
func inWords(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	}
	return fmt.Sprintf("%d hours", int(d/time.Hour))
}

// HashInputs writes to a hasher everything that a credential of the profile depends on: all fields except Name.
func (p Profile) HashInputs(d *credentials.Hasher) {
	d.Texts([]string{p.Tenant, string(p.Kind), p.Endpoint})
	d.Texts(p.Hosts)
	p.Login.HashTo(d)
	p.Transport.hashTo(d)
}

// Fingerprint identifies the whole profile: it changes whenever any field changes.
func (p Profile) Fingerprint() credentials.Fingerprint {
	d := credentials.NewHasher("profile")
	d.Texts([]string{p.Name, p.Tenant, string(p.Kind), p.Endpoint})
	d.Texts(p.Hosts)
	for _, f := range []credentials.Fingerprint{p.Login.Fingerprint(), p.Transport.Fingerprint()} {
		d.Text(f.String())
	}
	return d.Sum()
}
