package gcr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// A step is a request to Google, or an action on this machine.
type step struct {
	verb string
	of   string // The service account of stepImpersonate.
}

const (
	stepKey         = "exchange the key"
	stepSubject     = "read the subject token"
	stepFederate    = "exchange the subject token"
	stepImpersonate = "impersonate"
	stepFile        = "use the application default credentials"
	stepMetadata    = "request a token from the metadata server"
)

func (st step) text(id identity) string {
	if st.of != "" {
		return fmt.Sprintf("%s %s as %s", st.verb, st.of, id.name)
	}
	return fmt.Sprintf("%s of %s", st.verb, id.name)
}

// error returns an error in the form of all errors of this package.
func (s *session) error(code registry.Code, hint string, wait time.Duration, err error) error {
	return cloud.Error(s.profile, code, hint, wait, err)
}

// fail returns the error of a step. If ctx ended, it reports that; otherwise the failure that the wire recorded;
// otherwise err, which is from this machine.
func (s *session) fail(ctx context.Context, st step, id identity, err error) error {
	what := st.text(id)
	if ctx.Err() != nil {
		return s.error(cloud.EndCode(ctx), "", 0, fmt.Errorf("%s: %w", what, context.Cause(ctx)))
	}
	if s.wire.failure != nil {
		err = s.wire.failure
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		code := refused.registryCode(st)
		wait := time.Duration(0)
		if code == registry.ErrRateLimited {
			if wait = refused.wait; wait == 0 {
				wait = throttleWait
			}
		}
		hint := refused.hint(code, st, id)
		if hint != "" && id.presented != "" {
			hint += "; presented: " + id.presented
		}
		return s.error(code, hint, wait, fmt.Errorf("%s: %w", what, refused))
	}
	switch {
	case s.wire.failure != nil:
		return s.error(registry.NetworkCode(err), "", 0, fmt.Errorf("%s: %w", what, err))
	case st.verb == stepSubject, st.verb == stepFile:
		return s.error(registry.ErrNoIdentity, "", 0, fmt.Errorf("%s: %s", what, cloud.Clean(err.Error())))
	}
	return s.error(registry.ErrUnavailable, "", 0, fmt.Errorf("%s: %w", what, errNoJSON))
}

// throttleWait is used if Google returns no wait. Google's quotas are per minute:
// https://cloud.google.com/iam/quotas.
const throttleWait = time.Minute

// registryCode returns the code for the error in the body. It does not use the status, because token endpoints and
// APIs use different statuses for the same error.
func (r *refusal) registryCode(st step) registry.Code {
	text := strings.ToLower(r.message)
	says := func(words ...string) bool {
		for _, word := range words {
			if strings.Contains(text, word) {
				return true
			}
		}
		return false
	}
	switch {
	case r.status == http.StatusTooManyRequests, r.code == "RESOURCE_EXHAUSTED", r.code == "rate_limit_exceeded":
		return registry.ErrRateLimited
	case r.status >= http.StatusInternalServerError:
		return registry.ErrUnavailable
	case st.verb == stepSubject:
		return registry.ErrNoIdentity
	case says("check your iat and exp", "reasonable timeframe"):
		return registry.ErrClockSkew
	case r.reason == "SERVICE_DISABLED", says("has not been used in project"):
		return registry.ErrUnsupported
	case r.code == "invalid_grant" && says("expired", "stale"):
		return registry.ErrExpired
	}
	switch r.code {
	case "invalid_grant", "invalid_client", "disabled_client", "deleted_client", "UNAUTHENTICATED":
		return registry.ErrUnauthorized
	case "unauthorized_client", "access_denied", "PERMISSION_DENIED":
		return registry.ErrDenied
	case "invalid_request", "invalid_scope", "invalid_target", "INVALID_ARGUMENT", "NOT_FOUND":
		return registry.ErrInvalid
	}
	switch {
	case r.status == http.StatusUnauthorized:
		return registry.ErrUnauthorized
	case r.status == http.StatusForbidden:
		return registry.ErrDenied
	case r.status == http.StatusNotFound && st.verb == stepMetadata:
		return registry.ErrNoIdentity
	}
	return registry.ErrUnavailable // Not a response of Google: from a proxy, or a network's login page.
}

// hint returns an instruction that is more specific than the code's general one, or "". Google's response is the same
// for a key that was deleted and one that was disabled.
func (r *refusal) hint(code registry.Code, st step, id identity) string {
	text := strings.ToLower(r.message + " " + r.code)
	switch {
	case code == registry.ErrUnauthorized && strings.Contains(text, "signature"):
		return "the key was deleted or disabled, or belongs to another service account: enable it, or create a new one and enter it in the profile"
	case code == registry.ErrUnauthorized && strings.Contains(text, "disabled"):
		return "the service account is disabled: enable it, or use another one"
	case code == registry.ErrUnauthorized && (strings.Contains(text, "not found") || strings.Contains(text, "deleted")):
		return "the service account was deleted: use another one"
	case code == registry.ErrUnauthorized && st.verb == stepFederate:
		return "check that the pool and its provider are enabled, and that the provider accepts the issuer and the audience of the token"
	case code == registry.ErrExpired && st.verb == stepFederate:
		return "the subject token expired: check that its writer renews it"
	case code == registry.ErrExpired:
		return "log in again: gcloud auth application-default login"
	case code == registry.ErrDenied && st.verb == stepImpersonate:
		return fmt.Sprintf("grant %s the role roles/iam.serviceAccountTokenCreator on %s (it holds iam.serviceAccounts.getAccessToken); with delegates, each one on the next", id.name, st.of)
	case code == registry.ErrDenied && st.verb == stepFederate:
		return "the provider's attribute condition does not admit the subject of the token"
	case code == registry.ErrDenied && st.verb == stepMetadata:
		return "with workload identity of GKE, grant the Kubernetes service account the role roles/iam.workloadIdentityUser on the Google service account that it is annotated with"
	case code == registry.ErrInvalid && r.code == "invalid_target":
		return "check the audience of the configuration: the pool or its provider does not exist, or was deleted or disabled"
	case code == registry.ErrInvalid && r.code == "NOT_FOUND":
		return "check the e-mail addresses: one of the service accounts does not exist"
	case code == registry.ErrUnsupported:
		return "enable the API in the project: gcloud services enable iamcredentials.googleapis.com sts.googleapis.com"
	case code == registry.ErrRateLimited:
		return "wait; a token serves all registries for an hour, so many calls mean that a cache is missing or not shared"
	case code == registry.ErrNoIdentity:
		return noIdentityHint
	}
	return ""
}

const noIdentityHint = "give the process an identity (a service account for the machine or pod, or GOOGLE_APPLICATION_CREDENTIALS), or add one to the profile"
