package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// A Comparison is the result of comparing a registry with the fake of a dialect.
type Comparison struct {
	// Dialect is the name of the dialect.
	Dialect string
	// Compared is the number of responses that were compared.
	Compared int
	// Assumed are the properties of the registry, in plain words, that the capture does not show. They are chosen so that
	// the fewest responses differ.
	Assumed []string
	// Differences are the differences, in the order of the questions.
	Differences []Difference
}

// Relevant returns the differences that may affect a client: all but those in wording.
func (c Comparison) Relevant() []Difference {
	return slices.DeleteFunc(slices.Clone(c.Differences), func(d Difference) bool { return d.Wording })
}

// A Difference is one part of a response in which a registry and a fake differ.
type Difference struct {
	// Question and Login identify the request. They are empty for a difference between the token servers as a whole.
	Question string
	Login    Login
	// What names the part of the response: "status", "challenges", "header Link".
	What string
	// Registry and Fake are the redacted values. Empty means that the part is missing.
	Registry, Fake string
	// Wording reports that programs do not depend on the difference.
	Wording bool
}

// Key identifies the difference: "tag-missing/token: status".
func (d Difference) Key() string {
	if d.Question == "" {
		return d.What
	}
	return d.Question + "/" + string(d.Login) + ": " + d.What
}

// String returns the difference in plain words.
func (d Difference) String() string {
	where := "The token server"
	if d.Question != "" {
		where = upperFirst(cmp.Or(explanations[d.Question], d.Question)) + ", " + cmp.Or(logins[d.Login], string(d.Login))
	}
	return fmt.Sprintf("%s: %s: the registry sends %s, and the fake %s", where, d.What, orNothing(d.Registry), orNothing(d.Fake))
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func orNothing(s string) string { return cmp.Or(s, "nothing") }

// Compare sends the questions of the capture to the fake of a dialect, in memory, and compares the responses.
//
// A capture does not show everything that its responses depend on, such as the rights of the login. Compare makes the
// assumptions that leave the fewest differences.
func (c Capture) Compare(ctx context.Context, d registrytest.Dialect) (Comparison, error) {
	var w world
	best, err := c.compareIn(ctx, d, w)
	if err != nil {
		return Comparison{}, err
	}
	// Each property of the world affects other responses, so the properties are determined one after another. The effect
	// of some is visible only after others are determined, so a second round is needed.
	for range 2 {
		for property := range w.variants(c.Setup) {
			for _, variant := range w.variants(c.Setup)[property] {
				if best.score() == 0 || variant == w {
					continue
				}
				next, err := c.compareIn(ctx, d, variant)
				if err != nil {
					return Comparison{}, err
				}
				if next.score() < best.score() {
					best, w = next, variant
				}
			}
		}
	}
	err = best.addRateLimit(ctx, c, d)
	return best, err
}

// compareIn compares the capture with a fake in one world.
func (c Capture) compareIn(ctx context.Context, d registrytest.Dialect, w world) (Comparison, error) {
	r, t, err := newFake(d, c.Setup, w)
	if err != nil {
		return Comparison{}, err
	}
	fake, err := probeFake(ctx, r, t)
	if err != nil {
		return Comparison{}, err
	}
	comparison := c.differences(fake)
	comparison.Dialect = d.Name
	if !d.Open() { // Everything is public there.
		comparison.Assumed = w.assumptions(c.Setup)
	}
	return comparison, nil
}

// score orders comparisons: by the relevant differences first.
func (c Comparison) score() int {
	relevant := len(c.Relevant())
	return relevant*10_000 + len(c.Differences) - relevant
}

// Nearest compares the capture with all dialects, and returns the comparison with the fewest differences.
func (c Capture) Nearest(ctx context.Context) (Comparison, error) {
	dialects := registrytest.Dialects()
	scores := make(map[string]int, len(dialects))
	for _, d := range dialects {
		first, err := c.compareIn(ctx, d, world{})
		if err != nil {
			return Comparison{}, err
		}
		scores[d.Name] = first.score()
	}
	// The world affects a few responses, and the dialect most of them. So only the nearest dialects in the zero world are
	// compared in all worlds.
	slices.SortStableFunc(dialects, func(a, b registrytest.Dialect) int { return scores[a.Name] - scores[b.Name] })
	var best Comparison
	for i, d := range dialects[:4] {
		next, err := c.Compare(ctx, d)
		if err != nil {
			return Comparison{}, err
		}
		if i == 0 || next.score() < best.score() {
			best = next
		}
	}
	return best, nil
}

// Verify compares the capture with the fake of its dialect. It fails for each relevant difference that the capture does
// not accept, and for each accepted one that no longer exists.
func (c Capture) Verify(ctx context.Context) error {
	d, ok := DialectNamed(c.Dialect)
	if !ok {
		return fmt.Errorf("verify capture: there is no dialect %q", c.Dialect)
	}
	comparison, err := c.Compare(ctx, d)
	if err != nil {
		return fmt.Errorf("verify capture: %w", err)
	}
	used := make([]bool, len(c.Accepted))
	var problems []error
	for _, difference := range comparison.Relevant() {
		i := slices.IndexFunc(c.Accepted, func(a Accepted) bool {
			form, err := regexp.Compile(a.Difference)
			return err == nil && form.MatchString(difference.Key())
		})
		if i < 0 {
			problems = append(problems, fmt.Errorf("%s [%s]", difference, difference.Key()))
			continue
		}
		used[i] = true
	}
	for i, a := range c.Accepted {
		if !used[i] {
			problems = append(problems, fmt.Errorf("the accepted difference %q no longer exists (%s)", a.Difference, a.Why))
		}
	}
	return errors.Join(problems...)
}

// DialectNamed returns the dialect with the name.
func DialectNamed(name string) (registrytest.Dialect, bool) {
	all := registrytest.Dialects()
	i := slices.IndexFunc(all, func(d registrytest.Dialect) bool { return d.Name == name })
	if i < 0 {
		return registrytest.Dialect{}, false
	}
	return all[i], true
}

// DialectOf returns the dialect of a public registry service, by its host as in the names of images. It returns false
// for all other hosts; see [Capture.Nearest].
func DialectOf(host string) (registrytest.Dialect, bool) {
	for _, s := range hostDialects {
		if host == s.host || strings.HasPrefix(s.host, ".") && strings.HasSuffix(host, s.host) {
			return DialectNamed(s.dialect)
		}
	}
	if registry.KindOf(host) == registry.ECR {
		return DialectNamed("ecr")
	}
	return registrytest.Dialect{}, false
}

// hostDialects are the dialects of hosts. A leading dot matches all hosts below.
var hostDialects = []struct{ host, dialect string }{
	{"docker.io", "dockerhub"}, {"public.ecr.aws", "ecr-public"}, {"ecr-public.aws.com", "ecr-public"}, {"gcr.io", "gcr"}, {".gcr.io", "gcr"},
	{".pkg.dev", "gar"}, {"quay.io", "quay"}, {"mcr.microsoft.com", "mcr"}, {".azurecr.io", "acr"}, {".azurecr.cn", "acr"}, {".azurecr.us", "acr"},
	{"ghcr.io", "ghcr"}, {"registry.gitlab.com", "gitlab"}, {".jfrog.io", "artifactory"}, {"codeberg.org", "forgejo"},
}

// differences compares two captures of the same questions.
func (c Capture) differences(fake Capture) Comparison {
	var all Comparison
	add := func(e Exchange, what, real, other string, wording bool) {
		if real != other {
			all.Differences = append(all.Differences, Difference{e.Question, e.Login, what, real, other, wording})
		}
	}
	add(Exchange{}, "realm", c.TokenServer.Realm, fake.TokenServer.Realm, false)
	add(Exchange{}, "service", c.TokenServer.Service, fake.TokenServer.Service, false)
	for _, e := range c.Exchanges {
		if e.Reply == nil || e.Reply.Status == http.StatusTooManyRequests {
			continue // There is nothing to compare; see addRateLimit.
		}
		i := slices.IndexFunc(fake.Exchanges, func(f Exchange) bool { return f.key() == e.key() })
		if i < 0 || fake.Exchanges[i].Reply == nil {
			if !c.explained(fake, e) {
				add(e, "status", fmt.Sprint(e.Reply.Status), "", false)
			}
			continue
		}
		all.Compared++
		compareReplies(e, e.Reply, fake.Exchanges[i].Reply, add)
	}
	return all
}

// explained reports whether the fake did not receive the request because of another difference, which is reported: the
// fake names another token server, issues no token, or has no digest.
func (c Capture) explained(fake Capture, e Exchange) bool {
	if e.Question == "manifest-digest" || c.TokenServer != fake.TokenServer && (e.Login != NoLogin && e.Login != BasicLogin || strings.HasPrefix(e.Question, "token")) {
		return true
	}
	token := Exchange{Login: BasicLogin}
	switch e.Login {
	case TokenLogin:
	case AnonymousToken:
		token.Login = NoLogin
	case TwoScopesToken:
		token.Question = "token-two-scopes"
	default:
		return false
	}
	if token.Question == "" {
		token.Question = "token"
		for prefix, question := range tokenQuestions {
			if strings.HasPrefix(e.Question, prefix) {
				token.Question = question
			}
		}
	}
	return !slices.ContainsFunc(fake.Exchanges, func(f Exchange) bool {
		return f.key() == token.key() && f.Reply != nil && f.Reply.Status == http.StatusOK
	})
}

// tokenQuestions maps the start of a question's name to the question that requests its token.
var tokenQuestions = map[string]string{
	"repository-missing": "token-repository-missing", "tags-missing": "token-repository-missing", "owner-missing": "token-owner-missing",
	"other": "token-other", "public": "token-public", "catalog": "token-catalog",
}

func compareReplies(e Exchange, real, fake *Reply, add func(e Exchange, what, real, fake string, wording bool)) {
	add(e, "status", fmt.Sprint(real.Status), fmt.Sprint(fake.Status), false)
	add(e, "challenges", strings.Join(real.Challenges, " and "), strings.Join(fake.Challenges, " and "), false)
	for _, name := range headerNames(real, fake) {
		wording := name == "Docker-Distribution-Api-Version" ||
			name == "Content-Type" && real.Kind == "" && real.Status/100 != 2 // Of a response without a body.
		add(e, "header "+name, real.Headers[name], fake.Headers[name], wording)
	}
	if real.Kind != fake.Kind {
		add(e, "body", real.Kind, fake.Kind, real.Status != fake.Status)
		return
	}
	add(e, "codes", strings.Join(real.Codes, ", "), strings.Join(fake.Codes, ", "), false)
	add(e, "entries", number(real.Entries), number(fake.Entries), false)
	if real.Status != fake.Status {
		return
	}
	if d := real.ExpiresIn - fake.ExpiresIn; e.Question == "token" && (d < -5 || d > 5) {
		add(e, "lifetime of the token", seconds(real.ExpiresIn), seconds(fake.ExpiresIn), false) // It is the same for all tokens.
	}
	if token := strings.HasPrefix(e.Question, "token") && real.Status == http.StatusOK; token && tokenFields(real.Body) != tokenFields(fake.Body) {
		add(e, "fields of the token", tokenFields(real.Body), tokenFields(fake.Body), false)
	}
	add(e, "text of the body", real.Body, fake.Body, real.Entries == nil)
}

var tokenField = regexp.MustCompile(`'(token|access_token|refresh_token|expires_in|issued_at)':('[^']*'|N)`)

// tokenFields returns the fields that clients use of a token server's response.
func tokenFields(body string) string { return strings.Join(tokenField.FindAllString(body, -1), ", ") }

func headerNames(replies ...*Reply) []string {
	var names []string
	for _, r := range replies {
		for name := range r.Headers {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func number(n *int) string {
	switch {
	case n == nil:
		return ""
	case *n > 1:
		return "two or more"
	}
	return fmt.Sprint(*n)
}

func seconds(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n, " seconds")
}

// addRateLimit compares the response of a registry that limited the rate of the requests.
func (c *Comparison) addRateLimit(ctx context.Context, capture Capture, d registrytest.Dialect) error {
	i := slices.IndexFunc(capture.Exchanges, func(e Exchange) bool { return e.Reply != nil && e.Reply.Status == http.StatusTooManyRequests })
	if i < 0 {
		return nil
	}
	r, t, err := newFake(d, capture.Setup, world{})
	if err != nil {
		return err
	}
	r.Inject(registrytest.Fault{Answer: d.RateLimited()})
	fake, err := probeFake(ctx, r, t)
	if err != nil {
		return err
	}
	c.Compared++
	real := *capture.Exchanges[i].Reply
	same := *fake.Exchanges[0].Reply
	if real.Kind == "" { // The response to a HEAD request.
		same.Kind, same.Body, same.Codes = "", "", nil
	}
	compareReplies(capture.Exchanges[i], &real, &same, func(e Exchange, what, real, fake string, wording bool) {
		if real != fake && !strings.HasPrefix(what, "header") {
			c.Differences = append(c.Differences, Difference{e.Question, e.Login, what, real, fake, wording})
		}
	})
	return nil
}
