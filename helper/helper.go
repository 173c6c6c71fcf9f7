package helper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// A Helper serves the credentials of profiles. Set the fields before the first use; it is then safe for concurrent use.
type Helper struct {
	// Profiles are those whose credentials are served.
	Profiles []registry.Profile
	// Provider issues the credentials, such as a [providers.Set]. It is required.
	Provider providers.Provider
	// Disk keeps credentials between processes. If nil, each call requests one from the issuer.
	Disk *Disk
	// Warn, if not nil, is called with the error of a profile whose provider failed while others did not. A kubelet logs
	// the standard error of a plugin only if the plugin fails, so write it to a log of your own.
	Warn func(error)
}

// A credential from the disk is issued again when this part of its lifetime is left: for a terminal the last fifth, so
// that a client has time to use what it gets; for a kubelet half, which is when the kubelet calls again (keepFor), so that
// a credential that was revoked is replaced then.
const (
	terminalRenewal = 5
	kubeletRenewal  = 2
)

// credential returns the credential of the profile. A pod's token makes the credential the pod's own, so that it is
// neither read from the disk nor written there: the kubelet keeps it, by account.
func (h *Helper) credential(ctx context.Context, p registry.Profile, renewal int) (credentials.Credential, error) {
	if h.Provider == nil {
		return credentials.Credential{}, errors.New("Helper.Provider is not set")
	}
	issue := func() (credentials.Credential, error) {
		c, err := h.Provider.Credential(ctx, p)
		if err != nil {
			return credentials.Credential{}, err
		}
		if err := c.Validate(time.Now()); err != nil {
			return credentials.Credential{}, &registry.Error{Op: "get credential", Ref: fmt.Sprintf("for profile %q", p.Name), Code: registry.CodeOf(err), Err: err}
		}
		return c, nil
	}
	if h.Disk == nil || p.Login.Form() == "username" || usesPod(p.Login) {
		return issue()
	}
	return h.Disk.get(ctx, p, renewal, issue)
}

// fail reports errors of some profiles, or returns them if no other profile had a credential.
func (h *Helper) fail(served bool, errs []error) error {
	err := errors.Join(errs...)
	if err == nil || !served {
		return err
	}
	if h.Warn != nil {
		h.Warn(err)
	}
	return nil
}
