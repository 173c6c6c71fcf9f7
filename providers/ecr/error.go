package ecr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// A step is an action of AWS, as named in a policy.
type step string

const (
	stepToken       step = "ecr:GetAuthorizationToken"
	stepPublicToken step = "ecr-public:GetAuthorizationToken"
	stepAssumeRole  step = "sts:AssumeRole"
	stepWebIdentity step = "sts:AssumeRoleWithWebIdentity"
)

// error returns an error in the form of all errors of this package.
func (s session) error(code registry.Code, hint string, err error) error {
	return cloud.Error(s.profile, code, hint, 0, err)
}

// fail returns the error of a step. It keeps the code, the message and the request ID of AWS's response. It drops the
// SDK's error, which holds whole requests and responses.
func (s session) fail(ctx context.Context, st step, id identity, err error) error {
	what := fmt.Sprintf("%s as %s", st, id.name)
	if ctx.Err() != nil {
		return s.error(cloud.EndCode(ctx), "", fmt.Errorf("%s: %w", what, context.Cause(ctx)))
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return s.failNetwork(what, id, err)
	}
	answer := &smithy.GenericAPIError{Code: api.ErrorCode(), Message: s.clean(api.ErrorMessage(), id), Fault: api.ErrorFault()}
	cause := fmt.Errorf("%s: %w", what, answer)
	var wait time.Duration
	status := 0
	if res, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		if status = res.HTTPStatusCode(); res.ServiceRequestID() != "" {
			cause = fmt.Errorf("%w (request %s)", cause, s.clean(res.ServiceRequestID(), id))
		}
		wait = retryAfter(res.Response.Header)
	}
	if answer.Code == notOfAWS {
		cause = fmt.Errorf("%s: status %d, without an error of AWS", what, status)
	}
	code := apiCode(answer.Code, answer.Message, status)
	if code != registry.ErrRateLimited {
		wait = 0
	} else if wait == 0 {
		wait = throttleWait
	}
	hint := s.hint(code, st)
	if hint != "" && id.presented != "" {
		hint += "; presented: " + id.presented
	}
	return cloud.Error(s.profile, code, hint, wait, cause)
}

// notOfAWS is the code that AWS's clients use for a response that has none, such as one from a proxy or a network's
// login page.
const notOfAWS = "UnknownError"

// failNetwork returns the error of a step that got no response, or a response that is not from AWS.
func (s session) failNetwork(what string, id identity, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		code := registry.NetworkCode(e)
		return s.error(code, s.hint(code, ""), fmt.Errorf("%s: %w", what, e))
	}
	code := registry.ErrUnavailable // The SDK could not read the response.
	if c, ok := errors.AsType[registry.Code](err); ok {
		code = c
	}
	return s.error(code, "", fmt.Errorf("%s: %s", what, s.clean(err.Error(), id)))
}

// failAmbient returns the error of AWS's chain if it found no identity, or an identity that does not work.
func (s session) failAmbient(ctx context.Context, id identity, err error) error {
	op, isOp := errors.AsType[*smithy.OperationError](err)
	if ctx.Err() != nil || isOp && op.Service() == "STS" {
		st := stepWebIdentity
		if isOp && op.Operation() == "AssumeRole" {
			st = stepAssumeRole
		}
		return s.fail(ctx, st, id, err)
	}
	code, text := registry.ErrNoIdentity, "the process has no AWS identity that works"
	if isOp && op.Service() == "ec2imds" {
		text = "the process has no AWS identity: there is none in the environment, no web identity, none in the shared files, no container credentials; and the instance metadata service"
	}
	if status, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err); ok && status.HTTPStatusCode() == http.StatusTooManyRequests {
		code = registry.ErrRateLimited
	} else if ok && status.HTTPStatusCode() >= http.StatusInternalServerError {
		code = registry.ErrUnavailable
	} else if e, ok := errors.AsType[*url.Error](err); ok && !isOp {
		code = registry.NetworkCode(e) // The endpoint of container credentials is set, and does not respond.
	}
	return s.error(code, s.hint(code, ""), fmt.Errorf("%s: %s", text, s.clean(err.Error(), id)))
}

// apiCode returns the code for AWS's error code. It does not use the status, which differs between services:
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html.
func apiCode(code, message string, status int) registry.Code {
	switch code {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation":
		return registry.ErrDenied
	case "BlockedByOrganizationPolicyException":
		return registry.ErrBlocked
	case "ExpiredToken", "ExpiredTokenException":
		return registry.ErrExpired
	case "RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture":
		return registry.ErrClockSkew
	case "InvalidSignatureException", "SignatureDoesNotMatch":
		if strings.HasPrefix(message, "Signature expired") || strings.HasPrefix(message, "Signature not yet current") {
			return registry.ErrClockSkew
		}
		return registry.ErrUnauthorized
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "IncompleteSignature", "MissingAuthenticationToken",
		"MissingAuthenticationTokenException", "AuthFailure", "InvalidIdentityToken", "InvalidIdentityTokenException", "IDPRejectedClaim":
		return registry.ErrUnauthorized
	case "RegionDisabledException", "OptInRequired", "UnsupportedCommandException":
		return registry.ErrUnsupported
	case "ValidationError", "ValidationException", "InvalidParameterException":
		return registry.ErrInvalid
	}
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	switch {
	case throttled, status == http.StatusTooManyRequests:
		return registry.ErrRateLimited
	case status >= http.StatusInternalServerError, strings.HasPrefix(code, "IDPCommunicationError"), code == notOfAWS:
		return registry.ErrUnavailable
	}
	return registry.ErrUnknown
}

// hint returns an instruction that is more specific than the code's general one, or "".
func (s session) hint(code registry.Code, st step) string {
	switch {
	case code == registry.ErrDenied && st == stepToken:
		return "grant this identity the policy " + PullPolicy
	case code == registry.ErrDenied && st == stepPublicToken:
		return "allow this identity ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken on all resources, or make the profile anonymous"
	case code == registry.ErrDenied && st == stepAssumeRole:
		return "the role's trust policy must name this identity, and the profile must hold the external ID that it requires, if any; the identity itself needs sts:AssumeRole for the role"
	case code == registry.ErrDenied && st == stepWebIdentity:
		return "the role's trust policy must name the issuer, the subject and the audience of the token"
	case code == registry.ErrUnauthorized && st == stepWebIdentity:
		return "check that the token's issuer is an identity provider of the account, and its audience one that the provider accepts"
	case code == registry.ErrUnauthorized:
		return "check the access key and its secret: the key may be deleted or inactive; AWS responds alike if the region " + s.host.Region + " is not enabled for the account"
	case code == registry.ErrExpired:
		return "the temporary credentials or the token of this identity expired: enter new ones in the profile"
	case code == registry.ErrUnsupported:
		return "enable the region " + s.host.Region + " for the account, and AWS STS in it"
	case code == registry.ErrRateLimited:
		return "wait; one token serves all registries of a region for twelve hours, so many calls mean that a cache is missing or not shared"
	case code == registry.ErrNoIdentity:
		return "give the process an identity (a role for its service account or instance, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or add one to the profile"
	case code == registry.ErrHostNotFound:
		return "check the region " + s.host.Region + " in the endpoint: AWS has no API there under the name that was tried"
	}
	return ""
}

// throttleWait is the wait if AWS's response has none: AWS allows an account 20 tokens per second and region, with a
// burst of 200 that refills within ten seconds
// (https://docs.aws.amazon.com/AmazonECR/latest/userguide/common-errors.html).
const throttleWait = 10 * time.Second

// retryAfter returns the wait that a response requests. AWS's own header, in milliseconds, takes precedence.
func retryAfter(h http.Header) time.Duration {
	if ms, err := strconv.Atoi(h.Get("X-Amz-Retry-After")); err == nil {
		return min(max(time.Duration(ms), 0), cloud.MaxWait/time.Millisecond) * time.Millisecond
	}
	return cloud.RetryAfter(h)
}

// clean removes secrets from a text of AWS, and makes it suitable for an error.
func (s session) clean(text string, id identity) string {
	secrets := []string{id.creds.SecretAccessKey, id.creds.SessionToken}
	if login := s.profile.Login.AWS; login != nil {
		secrets = append(secrets, login.SecretAccessKey.Reveal(), login.SessionToken.Reveal())
		if login.WebIdentity != nil {
			secrets = append(secrets, login.WebIdentity.Token.Reveal())
		}
	}
	return cloud.Clean(text, secrets...)
}
