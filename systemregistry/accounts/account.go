package accounts

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An Account is the account of a person or a robot. It is plain data and holds no password.
type Account struct {
	// Name is the login name: lower-case letters and digits, with dots, hyphens and underscores between them, at most
	// 64 characters. The names of persons are unique across all tenants, so an admin of a tenant who creates an account
	// learns whether the name is taken elsewhere. The name of a robot is its tenant, or "robot" if it has none, a plus
	// sign, and its own name: "team+ci".
	Name string `json:"name"`
	// Description is a text for people.
	Description string `json:"description,omitempty"`

	// Tenant is the first part of the names of all repositories that the account can access: "team" for team/app. If
	// empty, the account is not limited to a tenant.
	Tenant string `json:"tenant,omitempty"`
	// Rules grant rights, within the tenant. If empty, the account has no rights.
	Rules []Rule `json:"rules,omitempty"`
	// Admin allows the account to manage the other accounts of its tenant, or all accounts if it has no tenant. It
	// grants no right to images. A robot cannot be an admin.
	Admin bool `json:"admin,omitempty"`

	// Disabled blocks all use of the account.
	Disabled bool `json:"disabled,omitempty"`
	// ExpiresAt is the time at which the account expires. If zero, it never expires.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// CreatedAt is the time of the account's creation.
	CreatedAt time.Time `json:"createdAt,omitzero"`

	// Keys are the keys that can issue logins for the account; see [Manager.AddKey].
	Keys []Key `json:"keys,omitempty"`

	// Epoch is a random text that changes with the password or secret. Tokens contain it, so that tokens from before a
	// change are rejected. The Manager sets it.
	Epoch string `json:"epoch,omitempty"`

	// OldSecretEndsAt is the time until which a robot's previous secret is valid beside the current one; see
	// [Manager.RotateSecret]. If zero, there is no previous secret. OldEpoch is the epoch of that secret. The Manager
	// sets both.
	OldSecretEndsAt time.Time `json:"oldSecretEndsAt,omitzero"`
	OldEpoch        string    `json:"oldEpoch,omitempty"`

	version uint64 // Version of the entry in the store. Zero for an account that is not stored yet.
}

// Robot reports whether the account is a robot. Only the names of robots contain a plus sign.
func (a Account) Robot() bool { return strings.Contains(a.Name, "+") }

// Active reports whether the account can be used at now.
func (a Account) Active(now time.Time) bool {
	return !a.Disabled && (a.ExpiresAt.IsZero() || now.Before(a.ExpiresAt))
}

// Valid reports whether a token with the epoch is still valid at now: the epoch belongs to the current password or
// secret, or to a previous secret that has not expired.
func (a Account) Valid(epoch string, now time.Time) bool {
	return epoch == a.Epoch || epoch != "" && epoch == a.OldEpoch && now.Before(a.OldSecretEndsAt)
}

// Allows reports whether a rule of the account grants the action on the repository, and the repository is in the
// account's tenant. It does not check whether the account is active.
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

// Manages reports whether a may create, change and delete the other account. That requires an admin of the other
// account's tenant, or an admin without a tenant.
func (a Account) Manages(other Account) bool {
	return a.Admin && (a.Tenant == "" || a.Tenant == other.Tenant)
}

const (
	maxName        = 64
	maxRules       = 100
	maxDescription = 200
	maxKeys        = 10
)

// Validate returns all problems, joined, or nil.
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

// ValidName reports whether an account can have the name. An invalid name needs no lookup in a store and no line in a
// log.
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
