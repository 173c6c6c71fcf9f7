package accounts

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An Account is a person or a robot. It is plain data and holds no password.
type Account struct {
	// Name is what one logs in with: lower-case letters and digits, with dots, hyphens and underscores between them, at
	// most 64. Names of persons are unique among all tenants, so whoever may make accounts finds out which exist: the
	// admin of a tenant is told that a name is taken. That of a robot is its tenant, or "robot" where it has none, a plus, and a name of its own: "team+ci".
	Name string `json:"name"`
	// Description is for people.
	Description string `json:"description,omitempty"`

	// Tenant is the first part of the names of all repositories that the account can see: "team" for team/app. Empty
	// means that it is not bound to one.
	Tenant string `json:"tenant,omitempty"`
	// Rules give it rights, within its tenant. None means none.
	Rules []Rule `json:"rules,omitempty"`
	// Admin lets it manage accounts: those of its tenant, or all if it has none. It gives no right to images. A robot
	// is never one.
	Admin bool `json:"admin,omitempty"`

	// Disabled says that it cannot be used.
	Disabled bool `json:"disabled,omitempty"`
	// ExpiresAt is when it ends. Zero means never.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// CreatedAt is when it was made.
	CreatedAt time.Time `json:"createdAt,omitzero"`

	// Keys are the keys that may mint logins for it; see [Book.AddKey].
	Keys []Key `json:"keys,omitempty"`

	// Epoch is a random text that changes with the password, or secret: tokens name it, so that those from before are
	// worth nothing. The Book sets it.
	Epoch string `json:"epoch,omitempty"`

	// OldSecretEndsAt is when a robot's previous secret ends, which is valid beside the current one until then; see
	// [Book.RotateSecret]. Zero means that there is none. OldEpoch is its epoch. The Book sets both.
	OldSecretEndsAt time.Time `json:"oldSecretEndsAt,omitzero"`
	OldEpoch        string    `json:"oldEpoch,omitempty"`

	version uint64 // Of the entry in the store; zero for an account that is not there yet.
}

// Robot reports whether the account is a robot, which its name tells.
func (a Account) Robot() bool { return strings.Contains(a.Name, "+") }

// Active reports whether the account can be used at the instant now.
func (a Account) Active(now time.Time) bool {
	return !a.Disabled && (a.ExpiresAt.IsZero() || now.Before(a.ExpiresAt))
}

// Valid reports whether a token that names the epoch is still good at the instant now: the account has the same password
// or secret, or it is that of a previous secret that has not ended.
func (a Account) Valid(epoch string, now time.Time) bool {
	return epoch == a.Epoch || epoch != "" && epoch == a.OldEpoch && now.Before(a.OldSecretEndsAt)
}

// Allows reports whether the account may do action to the repository: a rule says so, and the repository is in its
// tenant. It does not ask whether the account is active.
func (a Account) Allows(action Action, repository string) bool {
	return inTenant(a.Tenant, repository) && slices.ContainsFunc(a.Rules, func(r Rule) bool { return r.Allows(action, repository) })
}

func inTenant(tenant, repository string) bool {
	if tenant == "" {
		return true
	}
	rest, ok := strings.CutPrefix(repository, tenant)
	return ok && (rest == "" || rest[0] == '/')
}

// Manages reports whether a is an admin who may make, change and delete the account: one of its tenant, or any if it
// has none.
func (a Account) Manages(other Account) bool {
	return a.Admin && (a.Tenant == "" || a.Tenant == other.Tenant)
}

const (
	maxName        = 64
	maxRules       = 100
	maxDescription = 200
	maxKeys        = 10
)

// Validate reports every problem, joined.
func (a Account) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	_, own, robot := strings.Cut(a.Name, "+")
	if !ValidName(a.Name) {
		add("name %q is not lower-case letters and digits with . - _ between them, at most %d", a.Name, maxName)
	}
	if a.Tenant != "" && (!validPart(a.Tenant) || len(a.Tenant) > maxName) {
		add("tenant %q is not a name", a.Tenant)
	}
	if robot {
		if want := RobotName(a.Tenant, own); a.Name != want {
			add("name of a robot is %q, expected %q", a.Name, want)
		}
		if a.Admin {
			add("a robot cannot be an admin")
		}
	}
	if len(a.Rules) > maxRules {
		add("account has more than %d rules", maxRules)
	}
	for _, r := range a.Rules {
		if err := r.Validate(); err != nil {
			errs = append(errs, err)
		} else if a.Tenant != "" && !inTenant(a.Tenant, r.Repositories) {
			add("pattern %q is not in tenant %q", r.Repositories, a.Tenant)
		}
	}
	if len(a.Description) > maxDescription || strings.ContainsFunc(a.Description, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		add("description is longer than %d characters or has a control character", maxDescription)
	}
	if len(a.Keys) > maxKeys {
		add("account has more than %d keys", maxKeys)
	}
	for _, k := range a.Keys {
		if err := k.validate(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// ValidName reports whether an account can have the name. What is no name is not worth a look into a store, or a line in
// a log.
func ValidName(name string) bool {
	owner, own, robot := strings.Cut(name, "+")
	return len(name) <= maxName && validPart(owner) && (!robot || validPart(own))
}

// RobotName returns the full name of a robot.
func RobotName(tenant, name string) string {
	if tenant == "" {
		tenant = "robot"
	}
	return tenant + "+" + name
}
