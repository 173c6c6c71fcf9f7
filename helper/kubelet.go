package helper

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// The API of credential provider plugins: k8s.io/kubelet pkg/apis/credentialprovider/v1.
const (
	kubeletAPI   = "credentialprovider.kubelet.k8s.io/v1"
	requestKind  = "CredentialProviderRequest"
	responseKind = "CredentialProviderResponse"
)

// A kubeletRequest is the request of a kubelet. Fields of later versions are ignored, as in Kubernetes itself.
type kubeletRequest struct {
	Kind       string             `json:"kind"`
	APIVersion string             `json:"apiVersion"`
	Image      string             `json:"image"`
	Token      credentials.Secret `json:"serviceAccountToken"`
}

// A kubeletResponse is decoded strictly: an unknown field fails the call.
type kubeletResponse struct {
	Kind          string                 `json:"kind"`
	APIVersion    string                 `json:"apiVersion"`
	CacheKeyType  string                 `json:"cacheKeyType"`
	CacheDuration string                 `json:"cacheDuration"`
	Auth          map[string]kubeletAuth `json:"auth"`
}

type kubeletAuth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// The times for which a kubelet caches a response. Before that time is over, it does not drop a credential that the
// registry rejects (pkg/credentialprovider/plugin of Kubernetes). So a login that may be changed at any time is kept
// briefly, and a token for half of its remaining lifetime.
const (
	keepLogin  = 5 * time.Minute
	keepAtMost = 6 * time.Hour
	keepEmpty  = time.Minute
	// keepLate is for a credential whose renewal failed: the next call tries again.
	keepLate = 5 * time.Minute
)

// patience is the time limit of a call. A kubelet kills a plugin after a minute and logs none of its output. The limit
// is shorter, so that the error and the hint for an issuer that does not respond are logged.
const patience = 50 * time.Second

// errPatience is the cause of a context that this limit ended.
var errPatience = fmt.Errorf("no answer within %s: %w", patience, context.DeadlineExceeded)

// maxRequest is far above an image name and a token.
const maxRequest = 1 << 20

// Kubelet serves one call of a kubelet's credential provider plugin (credentialprovider.kubelet.k8s.io/v1): it reads the
// request from in and writes the response to out. These must be standard input and output, and must have no other
// content.
//
// The response has the credentials of all profiles that serve the image, under the same keys as a pull secret. The
// kubelet caches it by image if a profile of that registry has a path, and by registry otherwise; never globally. If no
// profile serves the image, the response is empty, and the kubelet uses its other credentials.
//
// The program must print an error to standard error, which the kubelet logs, and exit with a code other than 0. If a
// profile's provider failed, the error is a [registry.Error] with a code and a hint. It holds no secret. After an
// error, nothing has been written to out. A call takes 50 seconds at most, because a kubelet kills a plugin after a
// minute without logging its error.
func (h *Helper) Kubelet(ctx context.Context, in io.Reader, out io.Writer) error {
	request, image, err := readKubeletRequest(in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	if !request.Token.IsZero() {
		ctx = context.WithValue(ctx, podToken{}, request.Token)
	}
	response := kubeletResponse{
		Kind: responseKind, APIVersion: kubeletAPI, CacheKeyType: h.keyType(image), Auth: make(map[string]kubeletAuth),
	}
	keep := keepAtMost
	var errs []error
	for _, p := range registry.Serving(h.Profiles, image) {
		c, err := h.credential(ctx, p, forKubelet())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		auth, err := authOf(p, c.Credential)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for key, login := range auth {
			if _, taken := response.Auth[key]; !taken { // The first of equal profiles.
				response.Auth[key] = login
			}
		}
		keep = min(keep, keepFor(c.Credential, time.Now()))
		if c.Late != nil {
			h.warn(c.Late)
			keep = min(keep, max(keepLate, retryAfter(c.Late)))
		}
	}
	if err := h.fail(len(response.Auth) > 0, errs); err != nil {
		return err
	}
	if len(response.Auth) == 0 || len(errs) > 0 { // A missing credential may be available soon.
		keep = min(keep, keepEmpty)
	}
	response.CacheDuration = keep.String()
	text, err := json.Marshal(response)
	if err != nil {
		return errors.New("write response: a user name or password is not text")
	}
	_, err = out.Write(append(text, '\n'))
	return err
}

func readKubeletRequest(in io.Reader) (kubeletRequest, registry.Image, error) {
	fail := func(format string, args ...any) (kubeletRequest, registry.Image, error) {
		return kubeletRequest{}, registry.Image{}, fmt.Errorf("read request of the kubelet: "+format, args...)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxRequest+1))
	if err != nil {
		return fail("%w", err)
	}
	var request kubeletRequest
	switch err := json.Unmarshal(text, &request); {
	case len(text) > maxRequest:
		return fail("larger than %d bytes", maxRequest)
	case err != nil:
		return fail("not JSON; a kubelet calls this program, and sends the request to its standard input")
	case request.Kind != requestKind:
		return fail("kind is %.100q, not %s", request.Kind, requestKind)
	case request.APIVersion != kubeletAPI:
		return fail("apiVersion is %.100q; set apiVersion: %s in the CredentialProviderConfig", request.APIVersion, kubeletAPI)
	}
	image, err := registry.ParseImage(request.Image)
	if err != nil {
		return kubeletRequest{}, registry.Image{}, err
	}
	return request, image, nil
}

// keyType returns the scope in which the kubelet may reuse the response: "Registry", or "Image" if a profile of the
// registry has a path. The credential of that profile must not be used for the registry's other images, and the
// response for another image must not be used for the images below the path.
func (h *Helper) keyType(image registry.Image) string {
	for _, p := range h.Profiles {
		endpoints, _ := p.Endpoints() // An endpoint that cannot be read serves no image.
		for _, e := range endpoints {
			if e.Host == image.Host && e.Path != "" {
				return "Image"
			}
		}
	}
	return "Registry"
}

// keepFor returns how long a kubelet may keep the credential. It rounds up, so that a credential of the disk is due when
// the kubelet calls again.
func keepFor(c credentials.Credential, now time.Time) time.Duration {
	if c.ExpiresAt.IsZero() {
		return keepLogin
	}
	keep := c.ExpiresAt.Sub(now) / 2
	if keep < time.Minute {
		return 0 // Not kept.
	}
	return min((keep + time.Second - 1).Truncate(time.Second), keepAtMost)
}

// retryAfter returns the time for which the issuer requested that no calls are made.
func retryAfter(err error) time.Duration {
	if asks, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err); ok {
		return asks.RetryAfter()
	}
	return 0
}

// authOf returns the logins under the keys of a pull secret, which a kubelet matches in the same way.
func authOf(p registry.Profile, c credentials.Credential) (map[string]kubeletAuth, error) {
	config, err := pullsecret.Build(pullsecret.Entry{Profile: p, Credential: c})
	if err != nil {
		return nil, err
	}
	var secret struct {
		Auths map[string]struct {
			Auth string `json:"auth"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(config.Reveal(), &secret); err != nil {
		return nil, errors.New("build response: the login is not text")
	}
	auth := make(map[string]kubeletAuth, len(secret.Auths))
	for key, entry := range secret.Auths {
		text, err := base64.StdEncoding.DecodeString(entry.Auth)
		username, password, ok := strings.Cut(string(text), ":")
		if err != nil || !ok {
			return nil, errors.New("build response: the login is not text")
		}
		auth[key] = kubeletAuth{username, password}
	}
	return auth, nil
}
