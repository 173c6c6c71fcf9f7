package helper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// A Helper serves the credentials of profiles. Set the fields before the first use; it is then safe for concurrent use.
type Helper struct {
	// Profiles are the profiles whose credentials are served.
	Profiles []registry.Profile
	// Provider issues the credentials, such as a [providers.Set]. It is required.
	Provider providers.Provider
	// Disk keeps credentials between processes. If nil, each call requests one from the issuer.
	Disk *Disk
	// Warn, if not nil, is called with the error of a profile whose provider failed although the call succeeded: another
	// profile had a credential, or the disk had one of this profile that is due for renewal and still valid. A kubelet
	// logs the standard error of a plugin only if the plugin fails, so write the error to a log of your own.
	Warn func(error)
}

// A renewal is a rule for the time at which a credential on the disk is due: a new one is issued instead.
type renewal struct {
	// part is a divisor of the lifetime: a credential is due when 1/part is left.
	part time.Duration
	// age, if not zero, is the time after the write at which a credential is due.
	age time.Duration
}

// forTerminal leaves a client the last fifth of the lifetime for the use of the credential.
func forTerminal() renewal { return renewal{part: 5} }

// forKubelet renews a credential at the time until which a kubelet keeps it (keepFor), if the kubelet got it when it was
// issued. So the kubelet's next call replaces a credential that was revoked.
func forKubelet() renewal { return renewal{part: 2, age: keepAtMost} }

func (r renewal) due(written, expires, now time.Time) bool {
	return expires.Sub(now) <= expires.Sub(written)/r.part || r.age > 0 && now.Sub(written) >= r.age
}

// failed returns an error about the credential of a profile, in the form of the providers' errors.
func failed(p registry.Profile, code registry.Code, err error) error {
	return &registry.Error{Op: "get credential", Ref: fmt.Sprintf("for profile %q", p.Name), Code: code, Err: err}
}

// credential returns the credential of the profile. A credential that was issued for a pod's token belongs to the pod.
// It is neither read from the disk nor written to it, because the kubelet caches it for the pod's service account.
func (h *Helper) credential(ctx context.Context, p registry.Profile, r renewal) (found, error) {
	if h.Provider == nil {
		return found{}, errors.New("Helper.Provider is not set")
	}
	issue := func() (credentials.Credential, error) {
		c, err := h.Provider.Credential(ctx, p)
		if err != nil {
			return credentials.Credential{}, outOfPatience(ctx, p, err)
		}
		if err := c.Validate(time.Now()); err != nil {
			return credentials.Credential{}, failed(p, registry.CodeOf(err), err)
		}
		return c, nil
	}
	if h.Disk == nil || p.Login.Form() == "username" || usesPod(p.Login) {
		c, err := issue()
		return found{Credential: c}, err
	}
	return h.Disk.get(ctx, p, r, issue)
}

// outOfPatience returns err, with [registry.ErrTimeout] instead of a code that blames the caller if the time limit of the
// call has passed. To a provider, that limit is one of its caller.
func outOfPatience(ctx context.Context, p registry.Profile, err error) error {
	if ctx.Err() == nil || !errors.Is(context.Cause(ctx), errPatience) {
		return err
	}
	e, ok := err.(*registry.Error) //nolint:errorlint // The code of an error inside it is not the code of err.
	switch {
	case ok && e.Code == registry.ErrCanceled:
		timeout := *e
		timeout.Code = registry.ErrTimeout
		return &timeout
	case !ok && slices.Contains([]registry.Code{registry.ErrCanceled, registry.ErrUnknown}, registry.CodeOf(err)):
		return failed(p, registry.ErrTimeout, err)
	}
	return err
}

// fail reports errors of some profiles, or returns them if no other profile had a credential.
func (h *Helper) fail(served bool, errs []error) error {
	err := errors.Join(errs...)
	if err == nil || !served {
		return err
	}
	h.warn(err)
	return nil
}

func (h *Helper) warn(err error) {
	if err != nil && h.Warn != nil {
		h.Warn(err)
	}
}
