package pullsecret

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/regcred/regcred/registry"
)

// A PodSecret is a pull secret of a pod, as the cluster stores it.
type PodSecret struct {
	// Name is the name of the secret.
	Name string
	// Content is the value of the key .dockerconfigjson, or of .dockercfg.
	Content []byte
	// Dockercfg reports that the secret is of the older type kubernetes.io/dockercfg.
	Dockercfg bool
}

func (s PodSecret) parse() (Config, error) {
	if s.Dockercfg {
		return ParseDockercfg(s.Content)
	}
	return Parse(s.Content)
}

// ParsePod parses the pull secrets of a pod, in the order in which the pod names them.
//
// The error joins one [registry.Error] for each secret that a kubelet cannot decode. One such secret keeps every image
// of the pod from being pulled, even beside a good secret and even if none of its keys matches, and the event of the
// pod does not name the secret. Source: MakeDockerKeyring in pkg/credentialprovider/secrets of Kubernetes 1.37, and a
// real kubelet.
func ParsePod(secrets ...PodSecret) ([]Config, error) {
	configs := make([]Config, len(secrets))
	var errs []error
	for i, s := range secrets {
		var err error
		if configs[i], err = s.parse(); err != nil {
			errs = append(errs, &registry.Error{
				Op: "read pull secret", Ref: s.Name, Code: registry.ErrInvalid, Err: errors.Unwrap(err),
				Hint: "correct or remove this secret: a kubelet that cannot decode it pulls no image of the pod",
			})
		}
	}
	return configs, errors.Join(errs...)
}

// LintPod returns the findings of [Config.Lint] for the pull secrets of one pod, and the problems that only all of
// them together have: secrets that block the pod, and equal logins that a kubelet treats as different. The findings are
// in the order of the secrets.
func LintPod(now time.Time, secrets ...PodSecret) []Finding {
	var all []Finding
	add := func(name string, list ...Finding) {
		for _, f := range list {
			f.Secret = name
			all = append(all, f)
		}
	}
	emails := make(map[string][]string) // By user name and password, the fields that are compared.
	for _, s := range secrets {
		if c, err := s.parse(); err == nil {
			c.eachEmail(func(m *member, email string) {
				if login := loginText(m); !slices.Contains(emails[login], email) {
					emails[login] = append(emails[login], email)
				}
			})
		}
	}
	for _, s := range secrets {
		c, err := s.parse()
		if err != nil {
			add(s.Name, Finding{
				Rule: Undecodable, Fatal: true,
				Message: fmt.Sprintf("cannot be decoded by a kubelet, so that no image of the pod is pulled: %v", errors.Unwrap(err)),
				Hint:    "correct or remove this secret",
			})
			continue
		}
		add(s.Name, c.Lint(now)...)
		c.eachEmail(func(m *member, email string) {
			if email != "" && len(emails[loginText(m)]) > 1 {
				add(s.Name, Finding{
					Key: shown(m.key), Rule: EmailDiffers,
					Message: "has an email that another entry with the same login has not, so that a kubelet takes them for two logins " +
						"and asks the registry again for images that it has (KEP-2535)",
					Hint: "remove email; nothing reads it",
				})
			}
		})
	}
	return all
}

// loginText identifies the login of an entry. It is used as the key of a map and is not printed.
func loginText(m *member) string {
	return m.credential.Username + "\x00" + m.credential.Password.Reveal()
}

// eachEmail calls f for each entry that has a login, with its email.
func (c Config) eachEmail(f func(m *member, email string)) {
	if c.p == nil {
		return
	}
	texts := c.texts()
	for i := range c.p.members {
		m := &c.p.members[i]
		if m.credential.Username != "" {
			email, _ := texts[m.key].Email.(string)
			f(m, email)
		}
	}
}
