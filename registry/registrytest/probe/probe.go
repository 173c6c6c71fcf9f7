package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// A Probe sends questions to registries. The zero Probe is ready to use. Set the fields before the first use; after
// that it is safe for concurrent use.
//
// A Probe only reads: it sends GET and HEAD to the registry, and GET and one POST to the token server that the registry
// names, under the rules of [validate.Guard]. It follows no redirects, repeats no request, and stops as soon as the
// registry limits its rate. It sends no further requests with the credential once the registry rejects it.
type Probe struct {
	// Checker has the rules for connections: Egress, Realms, Transports and RoundTripper. If nil, the zero
	// [validate.Checker] is used.
	Checker *validate.Checker
	// WrongLogin decides whether the profile's user name is sent once with a wrong password.
	WrongLogin WrongLoginPolicy
	// Timeout limits one request. Zero means 30 seconds.
	Timeout time.Duration
}

// A WrongLoginPolicy decides whether a wrong login is sent.
type WrongLoginPolicy int

const (
	// WrongLoginIfHarmless sends a wrong login, unless the registry's vendor documents that it locks or delays users or
	// addresses after rejected logins.
	WrongLoginIfHarmless WrongLoginPolicy = iota
	// WrongLoginNever sends no wrong login.
	WrongLoginNever
	// WrongLoginAlways sends a wrong login to every registry.
	WrongLoginAlways
)

// A Target is a registry, and the images in it that a probe requests.
type Target struct {
	// Transport is the transport to the registry.
	Transport registry.TransportConfig
	// Credential is the profile's credential. An anonymous credential sends no login.
	Credential credentials.Credential
	// Image is an image with a tag that the credential may pull. Its host is the registry's. It is required.
	Image registry.Image
	// Other is an image of another owner that the credential may not pull, and Public an image that needs no login. Their
	// hosts are the host of Image. The zero Image means that there is none, and skips its questions.
	Other, Public registry.Image
}

const (
	// wrongPassword is a password that no registry issues, and no person chooses.
	wrongPassword = "regcred-probe-this-is-a-wrong-password"
	badToken      = "regcred-probe-this-is-not-a-token"
	missingName   = "regcred-probe-missing"
	missingDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

	defaultTimeout = 30 * time.Second
)

func (t Target) validate() error {
	switch {
	case t.Image.Repository == "" || t.Image.Tag == "":
		return errors.New("probe: Target.Image has no repository or no tag")
	case t.Other.Repository != "" && t.Other.Host != t.Image.Host, t.Public.Repository != "" && t.Public.Host != t.Image.Host:
		return errors.New("probe: the images are in different registries")
	case !t.Credential.Anonymous:
		return t.Credential.Validate(time.Now())
	}
	return nil
}

// Run sends all questions, one after another, and returns the capture without a dialect. Its error is a
// [registry.Error] if the registry does not respond to GET /v2/ at all, or an error of an invalid target. Later errors
// are part of the capture. If ctx ends, Run returns an error with the code [registry.ErrCanceled].
func (p *Probe) Run(ctx context.Context, t Target) (Capture, error) {
	if err := t.validate(); err != nil {
		return Capture{}, err
	}
	checker := p.Checker
	if checker == nil {
		checker = &validate.Checker{}
		defer checker.CloseIdleConnections()
	}
	guard, err := checker.Guard(registry.Endpoint{Host: t.Image.Host}, t.Transport)
	if err != nil {
		return Capture{}, err
	}
	w := &walk{p: p, t: t, guard: guard, names: namesOf(t)}
	if err := w.run(ctx); err != nil {
		return Capture{}, err
	}
	if ctx.Err() != nil {
		return Capture{}, &registry.Error{Op: "probe registry", Code: registry.ErrCanceled, Err: context.Cause(ctx)}
	}
	return w.capture(), nil
}

// names holds the names of the repositories that the questions are about.
type names struct {
	repository, missing, nobody, other, public string
}

func namesOf(t Target) names {
	n := names{repository: t.Image.Repository, other: t.Other.Repository, public: t.Public.Repository}
	parts := strings.Split(n.repository, "/")
	last := len(parts) - 1
	n.missing = strings.Join(append(append([]string{}, parts[:last]...), missingName), "/")
	if last > 0 {
		n.nobody = strings.Join(append([]string{missingName}, parts[1:]...), "/")
	}
	return n
}

// A walk is one run of a probe.
type walk struct {
	p     *Probe
	t     Target
	guard *validate.Guard
	names names

	realm *url.URL // Nil if no token can be requested.
	rawRealm,
	service string
	digest  string
	tokens  map[string]string // By repository and kind of token.
	asked   []asked
	skipped []Skipped
	stopped bool // The registry limits the rate of requests.
	login   loginState
}

// An asked value is a question with its response, before redaction.
type asked struct {
	question string
	login    Login
	form     form
	res      *response
}

func (w *walk) run(ctx context.Context) error {
	ping := w.ask(ctx, query{question: "ping", login: NoLogin, path: "/v2/", form: pingForm})
	if ping == nil || ping.err != nil {
		err := errors.New("no response")
		if ping != nil {
			err = ping.err
		}
		return &registry.Error{Op: "probe registry", Ref: w.t.Image.Host, Code: cmp.Or(registry.CodeOf(err), registry.ErrUnavailable), Err: err}
	}
	first := w.ask(ctx, w.manifest("manifest", NoLogin, w.names.repository, w.t.Image.Tag))
	for _, res := range []*response{first, ping} {
		if res == nil || res.err != nil {
			continue
		}
		if realm, service, ok := res.bearer(); ok {
			w.useTokenServer(realm, service)
			break
		}
	}
	login := !w.t.Credential.Anonymous
	w.askAll(ctx, NoLogin)
	switch {
	case w.realm == nil && login:
		w.learnDigest(ctx, BasicLogin)
		w.askAll(ctx, BasicLogin)
	case w.realm != nil:
		w.requestTokens(ctx, AnonymousToken) // These show whether the image needs a login.
		if login {
			w.requestTokens(ctx, TokenLogin)
			w.askAll(ctx, TokenLogin)
			w.askWithBasic(ctx)
			w.askForTwoScopes(ctx)
			w.askByPOST(ctx)
		}
		w.askAll(ctx, AnonymousToken)
		w.askWithBadToken(ctx)
	}
	if login {
		w.askWithWrongLogin(ctx, ping.header)
	}
	return nil
}

func (w *walk) useTokenServer(realm, service string) {
	w.rawRealm, w.service = realm, service
	u, err := w.guard.TokenServer(realm, !w.t.Credential.Anonymous)
	if err != nil {
		w.skip("token", TokenLogin, whyTokenServer)
		return
	}
	w.realm = u
}

// learnDigest finds the digest of the image, which the next questions need.
func (w *walk) learnDigest(ctx context.Context, login Login) {
	res := w.ask(ctx, w.with("manifest-head", login, http.MethodHead, w.names.repository, "/manifests/"+w.t.Image.Tag))
	if res.ok() {
		w.digest = res.header.Get("Docker-Content-Digest")
	}
}

// A query is a request to send.
type query struct {
	question string
	login    Login
	method   string // Empty means GET.
	path     string // Of the registry's API.
	url      *url.URL
	accept   string
	auth     string // The Authorization header.
	post     url.Values
	form     form
	absent   bool // There is no token for it.
}

const accepted = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " + acceptedDocker

const acceptedDocker = "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

// with returns a query about a repository.
func (w *walk) with(question string, login Login, method, repository, path string) query {
	q := query{question: question, login: login, method: method, path: "/v2/" + repository + path, accept: accepted}
	w.authorize(&q, repository)
	return q
}

func (w *walk) manifest(question string, login Login, repository, reference string) query {
	return w.with(question, login, http.MethodGet, repository, "/manifests/"+reference)
}

// authorize adds the login of a query.
func (w *walk) authorize(q *query, repository string) {
	switch q.login {
	case BasicLogin:
		q.auth = w.basic(w.t.Credential.Password.Reveal())
	case TokenLogin, AnonymousToken, TwoScopesToken:
		token := w.tokens[tokenKey(q.login, repository)]
		q.auth, q.absent = "Bearer "+token, token == ""
	case BadToken:
		q.auth = "Bearer " + badToken
	}
}

func tokenKey(login Login, repository string) string { return string(login) + " " + repository }

func (w *walk) basic(password string) string {
	req := http.Request{Header: make(http.Header)}
	req.SetBasicAuth(w.t.Credential.Username, password)
	return req.Header.Get("Authorization")
}

func (w *walk) skip(question string, login Login, why string) {
	w.skipped = append(w.skipped, Skipped{question, login, why})
}

// ask sends a query, once. It returns nil if the query was not sent.
func (w *walk) ask(ctx context.Context, q query) *response {
	if w.stopped || q.absent || ctx.Err() != nil {
		return nil
	}
	if res := w.response(q.question, q.login); res != nil {
		return res
	}
	if q.login.ofProfile() && w.login.why() != "" {
		return nil
	}
	res := w.send(ctx, q)
	w.asked = append(w.asked, asked{q.question, q.login, q.form, res})
	w.judge(q, res)
	if res.err == nil && res.status == http.StatusTooManyRequests {
		w.stopped = true
		w.skip("all", q.login, whyRateLimited)
	}
	return res
}

func (w *walk) send(outer context.Context, q query) *response {
	ctx, cancel := context.WithTimeout(outer, option.OrDefault(w.p.Timeout, defaultTimeout))
	defer cancel()
	u := q.url
	if u == nil {
		u = w.guard.URL()
		u.Path, u.RawQuery, _ = strings.Cut(q.path, "?")
	}
	method, body := cmp.Or(q.method, http.MethodGet), io.Reader(nil)
	if q.post != nil {
		method, body = http.MethodPost, strings.NewReader(q.post.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return &response{err: fmt.Errorf("%w: %s", registry.ErrInvalid, q.question)}
	}
	req.Header.Set("User-Agent", "regcred")
	for name, value := range map[string]string{"Accept": q.accept, "Authorization": q.auth} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if q.post != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if q.login == WrongLogin || q.login == BasicLogin && w.login == loginUnproven {
		// On a connection that was used before, net/http repeats a GET if the server closes it before the response.
		w.guard.CloseIdleConnections()
	}
	res, err := w.guard.RoundTrip(req)
	if err != nil {
		return &response{err: err}
	}
	return readResponse(res, method == http.MethodHead)
}
