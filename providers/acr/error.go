package acr

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// An entraError is an error response of Entra ID: learn.microsoft.com/entra/identity-platform/reference-error-codes.
type entraError struct {
	status      int
	codes       []int
	description string
	wait        time.Duration
}

func readEntraError(res *http.Response, body []byte) *entraError {
	var answer struct {
		Description string `json:"error_description"`
		Codes       []int  `json:"error_codes"`
	}
	_ = json.Unmarshal(body, &answer) // A response of another form is not from Entra.
	text, _, _ := strings.Cut(answer.Description, "Trace ID:")
	return &entraError{res.StatusCode, answer.Codes, cloud.Clean(text), cloud.RetryAfter(res.Header)}
}

func (e *entraError) Error() string {
	if e.description == "" {
		return fmt.Sprintf("request a token of Entra ID: status %d", e.status)
	}
	return fmt.Sprintf("request a token of Entra ID: status %d: %s", e.status, e.description)
}

func (e *entraError) has(codes ...int) bool {
	return slices.ContainsFunc(e.codes, func(code int) bool { return slices.Contains(codes, code) })
}

const presentedHint = "Microsoft Entra admin center: the app registration or managed identity, Federated credentials: issuer, subject and audience are compared letter by letter; a new one takes some minutes to work"

// entraCodes lists the error codes of Entra that have a specific hint.
var entraCodes = []struct {
	codes []int
	code  registry.Code
	hint  string
}{
	{[]int{90002, 900023}, registry.ErrInvalid, "check azure.tenantID: Entra does not know this tenant"},
	{[]int{700016}, registry.ErrUnauthorized, "check azure.clientID and azure.tenantID: the tenant has no such application"},
	{[]int{7000215}, registry.ErrUnauthorized, "use the value of the client secret, and not its ID"},
	{[]int{7000222}, registry.ErrExpired, "create a new client secret: this one expired"},
	{[]int{700027}, registry.ErrUnauthorized, "upload the certificate to the app registration, or use the key that belongs to it"},
	{[]int{70021, 700211, 700212, 700213, 7002138}, registry.ErrDenied, presentedHint},
	{[]int{700024}, registry.ErrExpired, "check the clock of this machine, and that the subject's token is renewed"},
	{[]int{700222}, registry.ErrInvalid, "use a token of another issuer: Entra accepts none of its own"},
	{[]int{50001, 500011}, registry.ErrUnsupported, "Entra knows neither the audience of registries nor that of Resource Manager in this cloud"},
	{[]int{53003, 530034, 530035}, registry.ErrDenied, "a Conditional Access policy of the tenant blocks this identity: talk to its administrator"},
}

// explain returns the error with its code and hint. If the trust does not match, the hint shows presented, the claims
// of the token that was sent.
func (e *entraError) explain(presented string) error {
	out := &registry.Error{Code: registry.ErrUnauthorized, Err: e, Wait: e.wait}
	switch {
	case e.status == http.StatusTooManyRequests:
		out.Code = registry.ErrRateLimited
		return out
	case e.status >= http.StatusInternalServerError, len(e.codes) == 0:
		out.Code = registry.ErrUnavailable
		return out
	}
	for _, known := range entraCodes {
		if e.has(known.codes...) {
			out.Code, out.Hint = known.code, known.hint
			break
		}
	}
	if presented != "" && out.Code == registry.ErrDenied {
		out.Hint += "; presented: " + presented
	}
	return out
}

// refused returns the error for a registry that rejects Entra's token.
func refused(what string, status int, header http.Header, body []byte) error {
	var answer struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	_ = json.Unmarshal(body, &answer) // A response of another form has no message.
	message := ""
	if len(answer.Errors) > 0 {
		message = cloud.Clean(answer.Errors[0].Code + " " + answer.Errors[0].Message)
	}
	e := &registry.Error{Err: fmt.Errorf("%s: status %d %s", what, status, message)}
	switch {
	case strings.Contains(message, "is not allowed access"):
		e.Code, e.Hint = registry.ErrBlocked, "allow the address in the registry's firewall (Networking), or connect through its private endpoint: https://aka.ms/acr/firewall"
	case strings.Contains(message, "arm aad token disallowed"):
		e.Code, e.Hint = registry.ErrUnsupported, "the registry rejects tokens for Azure Resource Manager: enable authentication-as-arm, or use a cloud that knows the audience of registries"
	case status == http.StatusForbidden:
		e.Code, e.Hint = registry.ErrDenied,
			"grant the identity the role AcrPull on the registry; a registry in the mode \"RBAC Registry + ABAC Repository Permissions\" ignores AcrPull and needs Container Registry Repository Reader"
	case status == http.StatusUnauthorized:
		e.Code, e.Hint = registry.ErrUnauthorized, "check that the registry belongs to the identity's tenant; set azure.tenantID to the tenant of the registry if it differs"
	case status == http.StatusTooManyRequests:
		e.Code, e.Wait = registry.ErrRateLimited, cloud.RetryAfter(header)
	case status >= http.StatusInternalServerError:
		e.Code = registry.ErrUnavailable
	case status == http.StatusNotFound:
		e.Code, e.Hint, e.Err = registry.ErrNotRegistry, "check the name of the registry", errors.New(what+": status 404")
	default:
		e.Code = registry.ErrNotRegistry
	}
	return e
}
