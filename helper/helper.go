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
	// Profiles are the profiles whose credentials are served.
	Profiles []registry.Profile
	// Provider issues the credentials, such as a [providers.Set]. It is required.
	Provider providers.Provider
	// Disk keeps credentials between processes. If nil, each call requests one from the issuer.
	Disk *Disk
	// Warn, if not nil, is called with the error of a profile whose provider failed while others did not. A kubelet logs
	// the standard error of a plugin only if the plugin fails, so write the error to a log of your own.
	Warn func(error)
}

// The parts of its lifetime for which a credential on the disk is not used, as divisors: a new one is issued instead.
// For a terminal it is the last fifth, so that a client has time to use the credential. For a kubelet it is the second
// half, because the kubelet calls again after the first (keepFor), and a revoked credential is then replaced.
const (
	terminalRenewal = 5
	kubeletRenewal  = 2
)

// credential returns the credential of the profile. A credential that was issued for a pod's token belongs to the pod.
// It is neither read from the disk nor written to it, because the kubelet caches it for the pod's service account.
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
