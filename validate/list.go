package validate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/regcred/regcred/registry"
)

const (
	// pageSize is the largest page size that all registries accept: ECR and the distribution project reject larger ones.
	pageSize = 1000
	maxPage  = 8 << 20
	maxPages = 10_000
	// maxEmptyPages is the maximum number of consecutive pages without a name. A registry that filters by the rights of a
	// login sends some empty pages.
	maxEmptyPages = 100
)

// linkSeed is used to hash links. The hashes are kept in place of the links because links can be long.
var linkSeed = maphash.MakeSeed()

// Repositories returns the names of the repositories at the endpoint, and requests each page as it is needed. Some
// registries list the repositories that the login may see, some list all repositories to administrators only, and some
// have no such list: the error is then [registry.ErrUnsupported].
//
// An error ends the list; it is a [registry.Error]. Names that no image can have are left out.
func (c *Checker) Repositories(
	ctx context.Context, endpoint registry.Endpoint, candidate Candidate,
) iter.Seq2[string, error] {
	l := list{
		op: "list repositories", ref: endpoint.String(), host: endpoint.Host,
		step: StepRepositories, path: "/v2/_catalog", scope: catalogScope,
	}
	l.valid = func(name string) bool {
		image, err := registry.ParseImage(endpoint.Host + "/" + name)
		return err == nil && image.Repository == name && endpoint.Serves(image)
	}
	return l.all(ctx, c, &candidate)
}

// Tags returns the tags of the image's repository, and requests each page as it is needed. The image's own tag or
// digest is ignored.
//
// An error ends the list; it is a [registry.Error]. Tags that no image can have are left out.
func (c *Checker) Tags(ctx context.Context, image registry.Image, candidate Candidate) iter.Seq2[string, error] {
	l := list{
		op: "list tags", ref: image.Name(), host: image.Host,
		step: StepTags, path: "/v2/" + image.Repository + "/tags/list", scope: pullScope(image.Repository),
	}
	l.valid = func(tag string) bool {
		i, err := registry.ParseImage(image.Name() + ":" + tag)
		return err == nil && i.Tag == tag
	}
	return l.all(ctx, c, &candidate)
}

// A list is a list of names in a registry.
type list struct {
	op, ref, host string
	step          Step
	path, scope   string
	valid         func(string) bool
}

func (l list) all(ctx context.Context, c *Checker, candidate *Candidate) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var (
			a    *authorizer
			p    page
			next = l.path
		)
		start := func(ctx context.Context, own *authorizer, t *trace) (err *registry.Error) {
			a = own
			first := l.first(a.o.knownVendor())
			p, err = l.page(ctx, a, t, first)
			if err != nil && first != l.path && refusesPage(err) {
				p, err = l.page(ctx, a, t, l.path) // The registry then uses its own, shorter pages.
			}
			return err
		}
		sent := &sentLogins{}
		err := c.call().try(ctx, &Result{}, sent, candidate, ownRules, l.host, l.op, l.ref, start)
		seen, empty := make(map[uint64]bool), 0
		for pages := 1; ; pages++ {
			for _, name := range p.names { // The page may have names beside an error.
				if ctx.Err() != nil {
					err = canceled(ctx) // A page may have millions of names that no image can have.
					break
				}
				if l.valid(name) && !yield(name, nil) {
					return
				}
			}
			if err != nil {
				break
			}
			if p.next == "" {
				return
			}
			link := maphash.String(linkSeed, p.next)
			if empty++; len(p.names) > 0 {
				empty = 0
			}
			if p.next == next || seen[link] || pages == maxPages || empty == maxEmptyPages {
				err = errorf(registry.ErrUnavailable, "the list has no end")
				break
			}
			seen[link] = true
			next = p.next
			t := &trace{}
			p, err = l.page(ctx, a, t, next)
			sent.add(t.sent...)
		}
		named := *err
		named.Op, named.Ref = l.op, l.ref
		yield("", sent.outOf(&named, func() string { return l.ref + l.path }))
	}
}

// first returns the path of the first page. Google's registries do not divide lists into pages, and their own clients
// do not request pages.
func (l list) first(v vendor) string {
	if v == google {
		return l.path
	}
	return fmt.Sprintf("%s?n=%d", l.path, pageSize)
}

// refusesPage reports whether a page is too long for the registry: the distribution project and others have a
// configurable limit.
func refusesPage(err *registry.Error) bool {
	e, ok := errors.AsType[*exchangeError](err)
	return ok && (e.ex.Status == http.StatusBadRequest || e.ex.Status == http.StatusMethodNotAllowed)
}

type page struct {
	names []string
	next  string // The path of the next page; empty if there is none.
}

func (l list) page(ctx context.Context, a *authorizer, t *trace, path string) (page, *registry.Error) {
	ans, err := a.open(ctx, t, l.scope, apiRequest{step: l.step, method: http.MethodGet, path: path, limit: maxPage})
	if err == nil && ans.step == StepToken && l.scope == catalogScope && ans.status == http.StatusBadRequest {
		// Quay has no scope for this request, and lists to any token the repositories that its owner may see.
		ans, err = a.open(ctx, t, "", apiRequest{step: l.step, method: http.MethodGet, path: path, limit: maxPage})
	}
	switch {
	case err != nil:
		return page{}, err
	case ans.step == StepToken && l.step == StepRepositories && ans.status != http.StatusUnauthorized:
		denied := *ans       // A copy, because other calls may use the response too.
		denied.step = l.step // The token server denied this right; it did not reject the login.
		return page{}, a.classify(ctx, t, &denied, "")
	case !ans.ok():
		return page{}, a.classify(ctx, t, ans, "")
	}
	var body struct {
		Repositories []string `json:"repositories"`
		Tags         []string `json:"tags"`
	}
	if json.Unmarshal(ans.body, &body) != nil {
		cause := &exchangeError{ans.ex, errors.New("the response is not a list")}
		return page{}, &registry.Error{Code: registry.ErrNotRegistry, Err: cause}
	}
	p := page{names: body.Repositories}
	if l.step == StepTags {
		p.names = body.Tags
	}
	p.next, err = a.o.nextPage(ans, path)
	return p, err
}

// nextPage reads the header Link, in which a registry names the next page (OCI distribution specification, "Listing
// Tags"). The link may name another page, but no other server or list. If the request was redirected, as to the new
// name of a repository's owner, the link has the path that responded.
func (o *origin) nextPage(ans *response, path string) (string, *registry.Error) {
	target := linkTo(ans.header.Values("Link"), "next")
	if target == "" {
		return "", nil
	}
	list, _, _ := strings.Cut(path, "?")
	u, err := (&url.URL{Scheme: o.base.Scheme, Host: o.base.Host, Path: list}).Parse(target)
	switch {
	case err != nil || u.RawQuery == "":
		return "", errorf(registry.ErrUnavailable, "the registry names a next page that is not a URL")
	case !strings.EqualFold(u.Hostname(), o.base.Hostname()) || u.Path != list && (u.Path != ans.path || ans.host != o.base.Hostname()):
		where := ans.without(cleanLine(u.Host, 64))
		return "", errorf(registry.ErrInsecure, "the registry names a next page at another place, %s", where)
	}
	return list + "?" + u.RawQuery, nil
}

// linkTo returns the target of the link with the relation, from headers such as <https://a/b?last=c>; rel="next" (RFC
// 8288).
func linkTo(headers []string, relation string) string {
	for _, h := range headers {
		for {
			_, rest, ok := strings.Cut(h, "<")
			if !ok {
				break
			}
			target, rest, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			params, _, _ := strings.Cut(rest, "<")
			h = rest[len(params):] // The next link of the header.
			for p := range strings.SplitSeq(params, ";") {
				name, value, _ := strings.Cut(strings.Trim(p, " \t,"), "=")
				if strings.EqualFold(strings.TrimSpace(name), "rel") && strings.EqualFold(strings.Trim(value, `" `), relation) {
					return target
				}
			}
		}
	}
	return ""
}
