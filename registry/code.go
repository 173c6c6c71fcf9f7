package registry

import (
	"log/slog"
	"strings"
)

// A Code identifies a failure for programs, which can switch on it, count it, and show their own text for it. It is an
// error, so that
//
//	errors.Is(err, registry.ErrDenied)
//
// and a switch on [CodeOf](err) share one list. A code reflects the registry's response and is never a guess: if the
// registry hides whether a repository is missing or forbidden, the code is [ErrHidden].
//
// Some codes are kinds of another code: errors.Is reports that ErrImageNotFound is an ErrNotFound. See [Code.Parent].
type Code string

// Errors in the input. A retry does not help.
const (
	// ErrInvalid reports a profile, image name or other input that is not valid.
	ErrInvalid Code = "invalid"
	// ErrUnsupported reports a feature that the registry, or the kind of registry, does not have.
	ErrUnsupported Code = "unsupported"
	// ErrNoProfile reports an image that no profile serves.
	ErrNoProfile Code = "no_profile"
	// ErrNoProvider reports a profile of a kind for which the program has no provider.
	ErrNoProvider Code = "no_provider"
	// ErrProvider reports a defect of a provider or source: it panicked, or returned a credential that is empty or has
	// impossible dates.
	ErrProvider Code = "provider"
)

// Errors of the login.
const (
	// ErrUnauthorized reports a rejected login: a wrong user name or password, or a revoked token.
	ErrUnauthorized Code = "unauthorized"
	// ErrExpired reports a login or token that has expired. It is an ErrUnauthorized.
	ErrExpired Code = "expired"
	// ErrNoIdentity reports an ambient login in a process that has no identity of that kind.
	ErrNoIdentity Code = "no_identity"
	// ErrClockSkew reports a signature or token that was rejected because the clocks of the two sides differ.
	ErrClockSkew Code = "clock_skew"
)

// Errors that the registry returns for an image or repository after it accepted the login.
const (
	// ErrDenied reports an action that the login has no right to.
	ErrDenied Code = "denied"
	// ErrHidden reports a repository that is missing or forbidden; the registry does not reveal which.
	ErrHidden Code = "hidden"
	// ErrNotFound reports something that does not exist, if the registry does not reveal whether it is the repository or
	// the image.
	ErrNotFound Code = "not_found"
	// ErrRepositoryNotFound reports a repository that does not exist. It is an ErrNotFound.
	ErrRepositoryNotFound Code = "repository_not_found"
	// ErrImageNotFound reports a tag or digest that does not exist in an existing repository. It is an ErrNotFound.
	ErrImageNotFound Code = "image_not_found"
	// ErrPlatformNotFound reports an image that exists, but not for a required platform. It is an ErrNotFound.
	ErrPlatformNotFound Code = "platform_not_found"
	// ErrContentNotFound reports an image whose config or a layer does not exist. It is an ErrNotFound.
	ErrContentNotFound Code = "content_not_found"
	// ErrObsolete reports an image in a format that today's container runtimes do not run: Docker schema 1.
	ErrObsolete Code = "obsolete"
	// ErrBlocked reports an image or client that a rule of the registry blocks: a vulnerability policy, a quarantine, a
	// firewall.
	ErrBlocked Code = "blocked"
	// ErrRateLimited reports that the registry or issuer limits the rate of requests. It implies nothing about the login
	// or the image.
	ErrRateLimited Code = "rate_limited"
)

// Errors that affect container runtimes, but not necessarily other clients. The hint names the runtime, and the change
// to make at the registry.
const (
	// ErrIncompatible reports a registry or image from which a container runtime of the nodes cannot pull.
	ErrIncompatible Code = "incompatible"
	// ErrPing reports a response to GET /v2/ that makes a runtime fail the pull. It is an ErrIncompatible.
	ErrPing Code = "unusable_ping"
	// ErrChallenge reports a WWW-Authenticate header that a runtime cannot parse, or that is sent with a response in which
	// the runtime does not look for it. It is an ErrIncompatible.
	ErrChallenge Code = "unusable_challenge"
	// ErrTokenMethod reports a token server that rejects the method by which a runtime requests a token. It is an
	// ErrIncompatible.
	ErrTokenMethod Code = "unusable_token_method"
	// ErrTokenResponse reports a response of a token server that a runtime cannot decode, or in which it does not find the
	// token. It is an ErrIncompatible.
	ErrTokenResponse Code = "unusable_token_response"
	// ErrHEAD reports a HEAD request for a manifest that fails although GET succeeds. It is an ErrIncompatible.
	ErrHEAD Code = "unusable_head"
	// ErrMediaType reports a manifest that is sent with a Content-Type that a runtime does not know. It is an
	// ErrIncompatible.
	ErrMediaType Code = "unusable_media_type"
	// ErrDigestHeader reports a Docker-Content-Digest header that is not the digest of the manifest. It is an
	// ErrIncompatible.
	ErrDigestHeader Code = "unusable_digest_header"
	// ErrManifest reports a manifest or index whose content or size a runtime rejects. It is an ErrIncompatible.
	ErrManifest Code = "unusable_manifest"
	// ErrContentType reports an image whose config or layers have a media type that a runtime cannot unpack. It is an
	// ErrIncompatible.
	ErrContentType Code = "unusable_content_type"
)

// Errors that prevent a check from having a result.
const (
	// ErrUnavailable reports a registry or issuer that failed, or returned an invalid response.
	ErrUnavailable Code = "unavailable"
	// ErrUnreachable reports a connection that could not be made or was cut. It is an ErrUnavailable.
	ErrUnreachable Code = "unreachable"
	// ErrTimeout reports a response that did not arrive in time. It is an ErrUnavailable.
	ErrTimeout Code = "timeout"
	// ErrHostNotFound reports a host name that does not exist according to a name server. It is an ErrUnreachable, but is
	// not temporary. A name server that fails is an ErrUnreachable, one that does not respond an ErrTimeout.
	ErrHostNotFound Code = "host_not_found"
	// ErrProxy reports a proxy that cannot be reached or that rejects the request. It is an ErrUnreachable.
	ErrProxy Code = "proxy"
	// ErrNotRegistry reports a host that responds, but not like a container registry.
	ErrNotRegistry Code = "not_a_registry"
	// ErrTooLarge reports a response that is larger than any legitimate one. It is an ErrNotRegistry.
	ErrTooLarge Code = "too_large"

	// ErrTLS reports a connection that is not trusted.
	ErrTLS Code = "tls"
	// ErrTLSUnknownIssuer reports a certificate signed by an unknown authority. It is an ErrTLS.
	ErrTLSUnknownIssuer Code = "tls_unknown_issuer"
	// ErrTLSExpired reports a certificate that has expired or is not yet valid. It is an ErrTLS.
	ErrTLSExpired Code = "tls_expired"
	// ErrTLSWrongName reports a certificate for another host. It is an ErrTLS.
	ErrTLSWrongName Code = "tls_wrong_name"
	// ErrInsecure reports a request that was not sent because it would have exposed the login: to plain HTTP, or to a host
	// that is not the registry's.
	ErrInsecure Code = "insecure"
	// ErrEgressDenied reports a connection that the program's [github.com/regcred/regcred/egress.Policy] does not allow.
	// It is the same whether the host does not exist or has a forbidden address, and whatever runs there.
	ErrEgressDenied Code = "egress_denied"

	// ErrCanceled reports that the caller's context ended before the response arrived.
	ErrCanceled Code = "canceled"
	// ErrUnknown is the code of an error that has none.
	ErrUnknown Code = "unknown"
)

// Errors that prevent the publication of a pull secret in a cluster; see package inject.
const (
	// ErrConflict reports that an object in a cluster changed after a change to it was planned.
	ErrConflict Code = "conflict"
	// ErrNameTaken reports that an object of another owner has the name of the secret to create.
	ErrNameTaken Code = "name_taken"
	// ErrWrongType reports a secret whose type is not a pull secret's. The type of a secret cannot be changed.
	ErrWrongType Code = "wrong_type"
	// ErrSecretImmutable reports a secret that another client has set to immutable, so that it cannot be renewed.
	ErrSecretImmutable Code = "secret_immutable"
	// ErrRemovalWithheld reports that published secrets without a target were kept, because the list of targets is empty
	// or much shorter than the list of published secrets, as if its lister had not synced yet.
	ErrRemovalWithheld Code = "removal_withheld"
	// ErrLoginExpires reports a login that expires soon and that only a person can renew.
	ErrLoginExpires Code = "login_expires"
	// ErrMirrored reports a profile that is left out of pull secrets, because the nodes have a login of their own at their
	// mirror of its registry, which a pull secret would disable.
	ErrMirrored Code = "mirrored"
	// ErrContested reports a change in a cluster that another client repeatedly reverts.
	ErrContested Code = "contested"
	// ErrOlderCredential reports a credential that is older than the published one.
	ErrOlderCredential Code = "older_credential"
	// ErrNamespaceGone reports a namespace that is deleted or is being deleted.
	ErrNamespaceGone Code = "namespace_gone"
	// ErrNotSelected reports a namespace or service account that no target selects. It gets no pull secret.
	ErrNotSelected Code = "not_selected"
	// ErrNotYet reports a namespace, service account or secret that does not exist yet.
	ErrNotYet Code = "not_yet"
	// ErrClusterUnavailable reports a cluster whose API does not respond, or does not respond in time.
	ErrClusterUnavailable Code = "cluster_unavailable"
	// ErrStale reports that the view of a cluster may be out of date, because its watches broke.
	ErrStale Code = "stale"
)

// Parent returns the code that c is a kind of, or "" if there is none.
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

// Is reports whether c is target or a kind of it. [errors.Is] calls it.
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

// Error returns the code in words that a person reads. Metrics and comparisons should use string(c), as JSON and LogValue
// do.
func (c Code) Error() string { return strings.ReplaceAll(string(c), "_", " ") }

// LogValue returns the code as in JSON: "image_not_found".
func (c Code) LogValue() slog.Value { return slog.StringValue(string(c)) }

// Temporary reports whether a retry may succeed although nothing is fixed. A canceled step may succeed with another
// context; before a retry, callers check their own. For an error, call the function [Temporary].
func (c Code) Temporary() bool {
	switch c {
	case ErrRateLimited, ErrCanceled, ErrConflict, ErrNotYet, ErrClusterUnavailable, ErrStale:
		return true
	}
	return c.Is(ErrUnavailable) && c != ErrHostNotFound
}
