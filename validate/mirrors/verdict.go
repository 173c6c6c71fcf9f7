package mirrors

import (
	"errors"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// add adds the result of the next host, and decides the route's result if the runtime requests no further host.
func (d *decision) add(c *Checker, r Route, one HopResult) {
	result := d.result
	result.Hops = append(result.Hops, one)
	digest := one.Result.Digest
	switch {
	case d.decided || !one.Hop.Resolves:
	case one.Err == nil && (d.digest == "" || d.digest == digest):
		result.Pulls, result.Host, result.Err, d.decided = validate.Yes, one.Hop.Host, nil, true
	case one.Err == nil: // The runtime requests the digest that an earlier host returned, and it was not checked here.
		d.decided = true
	case digest != "" && r.isFinal(one.Err):
		result.Err, d.decided = one.Err, true
		if !c.isUnsure(r, one) {
			result.Pulls = validate.No
		}
	default:
		d.unsure = d.unsure || c.isUnsure(r, one)
		result.Err = one.Err
		if d.digest == "" && r.keepsDigest() {
			d.digest = digest
		}
	}
}

// A decision is the result of a route while its hosts are checked.
type decision struct {
	result  *RouteResult
	decided bool
	unsure  bool   // The result depends on a host of which nothing is known.
	digest  string // That the runtime requests from the next hosts; empty if it requests the tag.
}

// end decides the result after the last host.
func (d *decision) end() {
	if !d.decided && !d.unsure {
		d.result.Pulls = validate.No
	}
}

// choosesOnce reports whether the runtime uses the first host that has the manifest for the whole image.
func (r Route) choosesOnce() bool { return r.Runtime == CRIO || r.Runtime == Podman }

// keepsDigest reports whether the runtime requests the digest that one host returned for a tag from the next hosts too.
func (r Route) keepsDigest() bool { return !r.choosesOnce() && r.Runtime != Docker }

// isFinal reports whether the pull fails with the error of a host that has the manifest, whatever the next hosts have.
// For containerd, these are the errors of the manifest itself, because the next hosts are requested for its digest.
func (r Route) isFinal(err error) bool {
	switch {
	case r.choosesOnce():
		return true
	case !r.keepsDigest(), errors.Is(err, registry.ErrHEAD), errors.Is(err, registry.ErrDigestHeader):
		return false // With these two, the host did not return a digest that the runtime can use.
	}
	return errors.Is(err, registry.ErrPlatformNotFound) || errors.Is(err, registry.ErrIncompatible) || errors.Is(err, registry.ErrObsolete)
}

// isUnsure reports whether the failed check of a host does not prove that the runtime fails there: it was not checked,
// it failed temporarily, or only the restrictions of this program prevented a response.
func (c *Checker) isUnsure(r Route, one HopResult) bool {
	is := func(code registry.Code) bool { return errors.Is(one.Err, code) }
	switch {
	case !one.Checked, registry.Temporary(one.Err), is(registry.ErrInsecure), is(registry.ErrEgressDenied):
		return true
	case is(registry.ErrTLS):
		return one.Hop.SkipVerify && !c.SkipVerify || one.Hop.HTTPFallback && !c.PlainHTTP
	}
	return r.Runtime == Docker && is(registry.ErrContentNotFound)
}

// verdict returns the verdict for the release line of containerd that the route is for. The check covers all of them.
func (c *Checker) verdict(r Route, result validate.Result) error {
	version := map[Runtime]string{Containerd16: "1.7", Containerd17: "1.7", Containerd2: "2"}[r.Runtime]
	if result.Err == nil || version == "" {
		return result.Err
	}
	for _, line := range result.Runtimes {
		if line.Version != version {
			continue
		}
		err, ok := errors.AsType[*registry.Error](line.Err)
		switch {
		case line.Pulls == validate.Yes && (line.Err == nil || len(c.Platforms) == 0):
			return nil // Another line fails.
		case ok && err.Op == "":
			named := *err
			named.Op, named.Ref = "check image", result.Image.String()
			if whole, ok := errors.AsType[*registry.Error](result.Err); ok && whole.Code == err.Code {
				return result.Err
			}
			return &named
		}
	}
	return result.Err
}
