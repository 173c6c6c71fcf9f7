package registry

import "strings"

// A Code says what went wrong, for programs: they switch on it, count it, and show text of their own for it. It is an
// error, so that
//
//	errors.Is(err, registry.ErrDenied)
//
// and a switch on [CodeOf](err) share one list. A code says what a registry said, never a guess: where the registry
// hides whether something is missing or forbidden, the code is [ErrHidden].
//
// Some codes are kinds of another: ErrImageNotFound is an ErrNotFound, and errors.Is knows it. See [Code.Parent].
type Code string

// What is wrong with the input. Trying again does not help.
const (
	// ErrInvalid is a profile, image name or other input that cannot be right.
	ErrInvalid Code = "invalid"
	// ErrUnsupported is a thing that the registry, or a kind of registry, does not offer.
	ErrUnsupported Code = "unsupported"
	// ErrNoProfile is an image that no profile serves, or a profile whose kind no provider serves.
	ErrNoProfile Code = "no_profile"
	// ErrProvider is a provider or source with a defect: it panicked, or returned a credential that is empty or has
	// impossible dates.
	ErrProvider Code = "provider"
)

// What is wrong with the login.
const (
	// ErrUnauthorized is a login that was refused as such: a wrong user name or password, a revoked token.
	ErrUnauthorized Code = "unauthorized"
	// ErrExpired is a login or token that was good once. It is an ErrUnauthorized.
	ErrExpired Code = "expired"
	// ErrNoIdentity is an ambient login where the process has no identity of that kind.
	ErrNoIdentity Code = "no_identity"
	// ErrClockSkew is a signature or token that was refused because the clocks of both sides differ.
	ErrClockSkew Code = "clock_skew"
)

// What the registry says of an image or repository, to a login that is good.
const (
	// ErrDenied is an action that the login has no right to.
	ErrDenied Code = "denied"
	// ErrHidden is a repository that is missing or forbidden: the registry does not say which.
	ErrHidden Code = "hidden"
	// ErrNotFound is something that does not exist, where the registry does not say whether it is the repository or the
	// image.
	ErrNotFound Code = "not_found"
	// ErrRepositoryNotFound is a repository that does not exist. It is an ErrNotFound.
	ErrRepositoryNotFound Code = "repository_not_found"
	// ErrImageNotFound is a tag or digest that does not exist in a repository that does. It is an ErrNotFound.
	ErrImageNotFound Code = "image_not_found"
	// ErrPlatformNotFound is an image that exists, but not for a wanted platform. It is an ErrNotFound.
	ErrPlatformNotFound Code = "platform_not_found"
	// ErrContentNotFound is an image whose config or a layer does not exist. It is an ErrNotFound.
	ErrContentNotFound Code = "content_not_found"
	// ErrObsolete is an image in a format that today's container runtimes do not run: Docker schema 1.
	ErrObsolete Code = "obsolete"
	// ErrBlocked is an image or client that a rule of the registry stops: a vulnerability policy, a quarantine, a
	// firewall.
	ErrBlocked Code = "blocked"
	// ErrRateLimited is a registry or issuer that wants to be asked less often. It says nothing about the login or the
	// image.
	ErrRateLimited Code = "rate_limited"
)

// What a container runtime cannot use, though other clients can. The hint names the runtime, and what to change on the
// registry.
const (
	// ErrIncompatible is a registry or image with which a container runtime of the nodes cannot pull.
	ErrIncompatible Code = "incompatible"
	// ErrPing is a response to GET /v2/ with which a runtime ends the pull. It is an ErrIncompatible.
	ErrPing Code = "unusable_ping"
	// ErrChallenge is a WWW-Authenticate header that a runtime cannot read, or one where the runtime does not look for
	// it. It is an ErrIncompatible.
	ErrChallenge Code = "unusable_challenge"
	// ErrTokenMethod is a token server that rejects the method by which a runtime requests a token. It is an
	// ErrIncompatible.
	ErrTokenMethod Code = "unusable_token_method"
	// ErrTokenResponse is a response of a token server that a runtime cannot decode, or in which it does not find the
	// token. It is an ErrIncompatible.
	ErrTokenResponse Code = "unusable_token_response"
	// ErrHEAD is a HEAD request for a manifest that fails where GET succeeds. It is an ErrIncompatible.
	ErrHEAD Code = "unusable_head"
	// ErrMediaType is a manifest that is sent with a Content-Type that a runtime does not know. It is an
	// ErrIncompatible.
	ErrMediaType Code = "unusable_media_type"
	// ErrDigestHeader is a header Docker-Content-Digest that is not the digest of the manifest. It is an
	// ErrIncompatible.
	ErrDigestHeader Code = "unusable_digest_header"
	// ErrManifest is a manifest or index whose content or size a runtime rejects. It is an ErrIncompatible.
	ErrManifest Code = "unusable_manifest"
	// ErrContentType is an image whose config or layers have a media type that a runtime cannot unpack. It is an
	// ErrIncompatible.
	ErrContentType Code = "unusable_content_type"
)

// What keeps one from learning anything.
const (
	// ErrUnavailable is a registry or issuer that failed, or answered nonsense.
	ErrUnavailable Code = "unavailable"
	// ErrUnreachable is a connection that could not be made or was cut. It is an ErrUnavailable.
	ErrUnreachable Code = "unreachable"
	// ErrTimeout is an answer that did not come in time. It is an ErrUnavailable.
	ErrTimeout Code = "timeout"
	// ErrHostNotFound is a host name that does not exist, as a name server says. It is an ErrUnreachable, but one that is
	// to be fixed. A name server that fails, or is silent, is an ErrUnreachable or ErrTimeout.
	ErrHostNotFound Code = "host_not_found"
	// ErrProxy is a proxy that cannot be reached or refuses. It is an ErrUnreachable.
	ErrProxy Code = "proxy"
	// ErrNotRegistry is a host that answers, but not like a container registry.
	ErrNotRegistry Code = "not_a_registry"
	// ErrTooLarge is an answer that is larger than any honest one. It is an ErrNotRegistry.
	ErrTooLarge Code = "too_large"

	// ErrTLS is a connection that is not trusted.
	ErrTLS Code = "tls"
	// ErrTLSUnknownIssuer is a certificate from an issuer that is not trusted. It is an ErrTLS.
	ErrTLSUnknownIssuer Code = "tls_unknown_issuer"
	// ErrTLSExpired is a certificate out of its time. It is an ErrTLS.
	ErrTLSExpired Code = "tls_expired"
	// ErrTLSWrongName is a certificate for another host. It is an ErrTLS.
	ErrTLSWrongName Code = "tls_wrong_name"
	// ErrInsecure is a step that was refused because it would have sent the login where it does not belong: to plain
	// HTTP, or to a host that is not the registry's.
	ErrInsecure Code = "insecure"
	// ErrEgressDenied is a connection that the program's [github.com/regcred/regcred/egress.Policy] does not allow. It is the same whether the host
	// does not exist, or is at an address that may not be reached, and whatever is there.
	ErrEgressDenied Code = "egress_denied"

	// ErrCanceled is a caller that left, by its context, before the answer came.
	ErrCanceled Code = "canceled"
	// ErrUnknown is an error that has no code.
	ErrUnknown Code = "unknown"
)

// What keeps a pull secret out of a cluster; see package inject.
const (
	// ErrConflict reports that an object in a cluster changed after a change of it was planned.
	ErrConflict Code = "conflict"
	// ErrNameTaken is an object in a cluster that has the name of a secret to create, and belongs to another owner.
	ErrNameTaken Code = "name_taken"
	// ErrWrongType is a secret in a cluster that has another type than a pull secret's. A type cannot be changed.
	ErrWrongType Code = "wrong_type"
	// ErrSecretImmutable is a secret in a cluster that somebody has set to immutable, so that it cannot be renewed.
	ErrSecretImmutable Code = "secret_immutable"
	// ErrRemovalWithheld reports that published secrets that no target wants were kept, because the list of targets is
	// empty or much shorter than what is published, as that of a lister that has not synced yet.
	ErrRemovalWithheld Code = "removal_withheld"
	// ErrLoginExpires is a login that expires soon by itself. Only a person can renew it.
	ErrLoginExpires Code = "login_expires"
	// ErrContested is a change in a cluster that another client undoes again and again.
	ErrContested Code = "contested"
	// ErrOlderCredential is a credential that is older than the one that is published.
	ErrOlderCredential Code = "older_credential"
	// ErrNamespaceGone is a namespace that is deleted or is being deleted.
	ErrNamespaceGone Code = "namespace_gone"
	// ErrNotSelected is a namespace or a service account that no target selects: it will not get a pull secret.
	ErrNotSelected Code = "not_selected"
	// ErrNotYet is a namespace, service account or secret that does not exist yet.
	ErrNotYet Code = "not_yet"
	// ErrClusterUnavailable is a cluster whose API does not respond, or not in time.
	ErrClusterUnavailable Code = "cluster_unavailable"
	// ErrStale is knowledge of a cluster that may be old, because its watches broke.
	ErrStale Code = "stale"
)

// Parent returns the code that c is a kind of; "" if there is none.
func (c Code) Parent() Code {
	switch c {
	case ErrExpired:
		return ErrUnauthorized
	case ErrRepositoryNotFound, ErrImageNotFound, ErrPlatformNotFound, ErrContentNotFound:
		return ErrNotFound
	case ErrUnreachable, ErrTimeout:
		return ErrUnavailable
	case ErrHostNotFound, ErrProxy:
		return ErrUnreachable
	case ErrTooLarge:
		return ErrNotRegistry
	case ErrPing, ErrChallenge, ErrTokenMethod, ErrTokenResponse, ErrHEAD, ErrMediaType, ErrDigestHeader, ErrManifest,
		ErrContentType:
		return ErrIncompatible
	case ErrTLSUnknownIssuer, ErrTLSExpired, ErrTLSWrongName:
		return ErrTLS
	}
	return ""
}

// Is reports whether c is target, or a kind of it; [errors.Is] asks it.
func (c Code) Is(target error) bool {
	want, ok := target.(Code)
	for ok && c != "" {
		if c == want {
			return true
		}
		c = c.Parent()
	}
	return false
}

// Error returns the code in words.
func (c Code) Error() string { return strings.ReplaceAll(string(c), "_", " ") }

// Temporary reports whether the same step may succeed later without anybody fixing anything. A step that was canceled
// may, with another context: who tries again looks at its own first. Of an error, ask the function [Temporary].
func (c Code) Temporary() bool {
	switch c {
	case ErrRateLimited, ErrCanceled, ErrConflict, ErrNotYet, ErrClusterUnavailable, ErrStale:
		return true
	}
	return c.Is(ErrUnavailable) && c != ErrHostNotFound
}
