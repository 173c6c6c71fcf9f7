package registry

import (
	"cmp"
	"errors"
	"strings"
	"time"
)

// An Error describes a failed operation: its object, its cause and how to fix it. It holds no secret and no response
// body.
type Error struct {
	// Op is the operation, as a verb: "check login", "check image", "get credential". It may be empty in the problem of
	// a field.
	Op string
	// Ref is the object of the operation: an image, a host, a profile.
	Ref string
	// Code identifies the failure for programs.
	Code Code
	// Hint is an instruction for a person, in one sentence without a full stop. If empty, the hint of the cause or the
	// code applies; see [Error.Advice].
	Hint string
	// Wait is the time for which the server requested that the client send no requests. Zero means no such request.
	Wait time.Duration
	// Err is the cause with the server's response: "GET https://ghcr.io/v2/a/b/manifests/1: 403 DENIED". If nil, the code
	// is the whole description.
	Err error
}

// Error returns the whole description in one line: "check image ghcr.io/a/b:1: denied: GET ...: 403 DENIED; hint: ...".
func (e *Error) Error() string {
	var b strings.Builder
	if what := strings.TrimSpace(e.Op + " " + e.Ref); what != "" {
		b.WriteString(what + ": ")
	}
	b.WriteString(e.problem())
	// If the cause is an Error, or has one in its fields, the text of the cause already includes the advice.
	if hint := e.Advice(); hint != "" && (outermost(e.Err) == nil || hint != adviceOfCause(e.Err)) {
		b.WriteString("; hint: " + hint)
	}
	return b.String()
}

// problem returns the code and the text of the cause.
func (e *Error) problem() string {
	if e.Err != nil && e.Err != error(e.Code) {
		return e.Code.Error() + ": " + e.Err.Error()
	}
	return e.Code.Error()
}

// Advice returns Hint; if that is empty, the advice of a cause that is an Error or a [field.Errors], because it is more
// specific; otherwise the hint of Code.
func (e *Error) Advice() string {
	return cmp.Or(e.Hint, adviceOfCause(e.Err), e.Code.Hint())
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is Code, or a code that Code is a kind of.
func (e *Error) Is(target error) bool { return e.Code.Is(target) }

// RetryAfter returns Wait, or the wait that the cause requests if that is longer. A cache of credentials calls it through
// an interface, on the outermost error that has the method.
func (e *Error) RetryAfter() time.Duration { return max(e.Wait, waitOf(e.Err)) }

// waitOf returns the longest wait that err requests, or that the errors request that it joins or wraps.
func waitOf(err error) (wait time.Duration) {
	switch e := err.(type) { //nolint:errorlint // It walks the tree itself.
	case interface{ RetryAfter() time.Duration }:
		return e.RetryAfter()
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			wait = max(wait, waitOf(inner))
		}
		return wait
	}
	if inner := errors.Unwrap(err); inner != nil {
		return waitOf(inner)
	}
	return 0
}

// Hint returns a general instruction for fixing the failure, in one sentence without a full stop, or "" if there is
// none.
func (c Code) Hint() string {
	switch c {
	case ErrUnauthorized:
		return "check the user name and the password or token; a token may have been revoked"
	case ErrExpired:
		return "create a new token, or let a provider renew it"
	case ErrNoIdentity:
		return "configure an identity for the process, or add a login to the profile"
	case ErrClockSkew:
		return "correct the clock of this machine"
	case ErrDenied:
		return "grant this login the right to pull the repository"
	case ErrHidden:
		return "check the name of the repository, and that this login may pull it: " +
			"the registry does not distinguish the two"
	case ErrNotFound:
		return "check the name of the repository and the tag or digest"
	case ErrRepositoryNotFound:
		return "check the name of the repository"
	case ErrImageNotFound:
		return "check the tag or digest: the repository exists"
	case ErrPlatformNotFound:
		return "build the image for the platform of the nodes too"
	case ErrContentNotFound:
		return "push the image again: a part of it is missing"
	case ErrObsolete:
		return "push the image again with a current client: it is in Docker's schema 1 format"
	case ErrIncompatible, ErrPing, ErrChallenge, ErrTokenMethod, ErrTokenResponse, ErrHEAD, ErrMediaType, ErrDigestHeader,
		ErrManifest, ErrContentType:
		return "check the registry, and proxies in front of it: the container runtime of the nodes cannot use this response"
	case ErrBlocked:
		return "contact the owner of the registry: one of its rules blocks this"
	case ErrRateLimited:
		return "wait, or use a login with a higher limit"
	case ErrUnavailable, ErrUnreachable, ErrTimeout:
		return "try again later; if it persists, check the endpoint and the network"
	case ErrHostNotFound:
		return "check the spelling of the host, and the DNS servers of this machine"
	case ErrProxy:
		return "check the proxy of the profile, or of the environment"
	case ErrNotRegistry, ErrTooLarge:
		return "check the endpoint: the server there is not a container registry"
	case ErrTLS, ErrTLSUnknownIssuer:
		return "add the certificate of the registry's authority to the profile's transport.caBundle; " +
			"configure the nodes to trust it too"
	case ErrTLSExpired:
		return "renew the registry's certificate, and check the clock of this machine"
	case ErrTLSWrongName:
		return "use a host name for which the registry's certificate is valid"
	case ErrInsecure:
		return "nothing was sent; use the registry's https address"
	case ErrEgressDenied:
		return "check the spelling of the host; the operator of this program decides which addresses it may connect to"
	case ErrNoProfile:
		return "add a profile for this registry"
	case ErrNoProvider:
		return "use one of the kinds that this program serves"
	case ErrProvider:
		return "report this to the maintainer of the provider: its result is invalid"
	case ErrConflict:
		return "try again: the object changed in between"
	case ErrNameTaken:
		return "choose another name for the pull secret, or delete the object that has this one"
	case ErrWrongType:
		return "delete the secret, or allow to replace it: the type of a secret cannot be changed"
	case ErrSecretImmutable:
		return "delete the secret, or allow to replace it (ReplaceImmutable): an immutable secret cannot be renewed; " +
			"find out what sets it to immutable"
	case ErrRemovalWithheld:
		return "if the targets are complete, declare it: set CompleteLists, or remove them one by one with RemoveTarget"
	case ErrLoginExpires:
		return "create a new password, token or robot account at the registry, and enter it in the profile"
	case ErrMirrored:
		return "nothing, if the nodes' login at the mirror can pull the images; else remove the registry from Mirrored, and " +
			"give the profile a login that the mirror accepts"
	case ErrContested:
		return "find the other client that writes this object, and let only one of the two do so"
	case ErrOlderCredential:
		return "check the clocks of all programs that publish this secret, and that they have the same profile"
	case ErrNamespaceGone:
		return "create the namespace again, or choose another one"
	case ErrNotSelected:
		return "let a target select this namespace and service account"
	case ErrNotYet:
		return "wait until it is created, or create it"
	case ErrClusterUnavailable:
		return "try again later; if it persists, check the address of the cluster's API and the rights on it"
	case ErrStale:
		return "check that this program may list and watch namespaces, secrets and service accounts"
	}
	return ""
}
