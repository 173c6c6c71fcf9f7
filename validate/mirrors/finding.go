package mirrors

import (
	"cmp"
	"slices"
	"strings"
)

// A Rule identifies a problem that [Node.Lint] looks for.
type Rule string

// The rules. The first group concerns the files alone.
const (
	// BrokenFile reports a file with which the runtime does not start, or every pull fails.
	BrokenFile Rule = "broken-file"
	// MissingFile reports a certificate that cannot be loaded, so that pulls from its registry fail.
	MissingFile Rule = "missing-file"
	// IgnoredFile reports a file that the runtime ignores without a message to the user.
	IgnoredFile Rule = "ignored-file"
	// IgnoredFolder reports a folder of hosts that containerd does not read with its config_path.
	IgnoredFolder Rule = "ignored-folder"
	// IgnoredSection reports a section of containerd's configuration that its version of the file does not have.
	IgnoredSection Rule = "ignored-section"
	// NoHost reports a registry for which no host may be requested for tags.
	NoHost Rule = "no-host"

	// ThirdParty reports a mirror of another site that receives the password of the pull secret.
	ThirdParty Rule = "third-party"
	// NodeLoginUnused reports a mirror at which a pull secret replaces the node's own login.
	NodeLoginUnused Rule = "node-login-unused"
	// NoLoginAtMirror reports a mirror at which no pull secret can log in.
	NoLoginAtMirror Rule = "no-login-at-mirror"
	// RegistryReplaced reports a registry that is never contacted.
	RegistryReplaced Rule = "registry-replaced"
	// Unverified reports a host that receives the pull secret's password without a verified certificate.
	Unverified Rule = "unverified"
)

// A Finding is a problem in the files of a node.
type Finding struct {
	// Rule identifies the problem, for programs.
	Rule Rule
	// Fatal reports that pulls fail. Otherwise they may work.
	Fatal bool
	// Subject is the file with the problem, or the registry whose pulls have it.
	Subject string
	// Runtimes are the runtimes that have the problem.
	Runtimes []Runtime
	// Message describes the problem and Hint the fix, each in one sentence without a full stop. Neither holds a secret.
	Message, Hint string
}

// String returns the finding in one line.
func (f Finding) String() string {
	names := make([]string, len(f.Runtimes))
	for i, r := range f.Runtimes {
		names[i] = string(r)
	}
	return f.Subject + ": " + f.Message + " (" + string(f.Rule) + "; " + strings.Join(names, ", ") + "); hint: " + f.Hint
}

// LintOptions select the problems that [Node.Lint] looks for. The zero value checks only the files, for all runtimes
// that the node has files for.
type LintOptions struct {
	// Registries are the registries for whose images pods have pull secrets, in the form of the keys of pull secrets and
	// the endpoints of profiles: "ghcr.io", "quay.io/team". A key with a star includes every registry in the files that
	// it matches. Strings that are not the name of a registry are ignored. Nil means none.
	Registries []string
	// Runtimes are the runtimes of the node. Nil means all that [Node.Runtimes] returns.
	Runtimes []Runtime
	// Trusted are hosts of mirrors that may receive the passwords of all Registries. A name may start with "*." for all
	// hosts below it. Other mirrors may receive the passwords of registries of the same site only. Nil means none.
	Trusted []string
}

// A report collects findings. Equal findings of several runtimes become one.
type report struct{ findings []Finding }

func (r *report) add(runtime Runtime, f Finding) {
	for i := range r.findings {
		g := &r.findings[i]
		if g.Rule == f.Rule && g.Fatal == f.Fatal && g.Subject == f.Subject && g.Message == f.Message {
			if !slices.Contains(g.Runtimes, runtime) {
				g.Runtimes = append(g.Runtimes, runtime)
			}
			return
		}
	}
	f.Runtimes = []Runtime{runtime}
	r.findings = append(r.findings, f)
}

// sorted returns the findings by subject; fatal ones first.
func (r *report) sorted() []Finding {
	slices.SortStableFunc(r.findings, func(a, b Finding) int {
		if c := cmp.Compare(a.Subject, b.Subject); c != 0 {
			return c
		}
		if a.Fatal != b.Fatal {
			if a.Fatal {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return r.findings
}

// trusted reports whether the host, with a port or without, is one of the patterns.
func trusted(patterns []string, host string) bool {
	name := strings.ToLower(hostname(host))
	return slices.ContainsFunc(patterns, func(p string) bool {
		p = strings.ToLower(p)
		if suffix, ok := strings.CutPrefix(p, "*."); ok {
			return strings.HasSuffix(name, "."+suffix)
		}
		return p == name || p == strings.ToLower(host)
	})
}
