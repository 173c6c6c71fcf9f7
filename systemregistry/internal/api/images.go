package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/login"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

func pageSize(r *http.Request, who login.Identity) (int, error) {
	text := r.URL.Query().Get("n")
	if text == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPage {
		return 0, invalid("n is not a number from 1 to " + strconv.Itoa(maxPage))
	}
	if who.Anonymous() {
		n = min(n, defaultPage)
	}
	return n, nil
}

func (a *API) sees(who login.Identity, repository string) bool {
	return who.Allows(accounts.Pull, repository) || a.Public(repository)
}

type repositoryPage struct {
	Repositories []string `json:"repositories"`
	// Next is the value of "after" for the next page. It is empty on the last page.
	Next string `json:"next,omitempty"`
}

// repositories lists the repositories that the identity may pull from and whose names contain a text.
func (a *API) repositories(r *http.Request, who login.Identity) (any, error) {
	n, err := pageSize(r, who)
	if err != nil {
		return nil, err
	}
	done, err := a.turn(r, who)
	if err != nil {
		return nil, err
	}
	defer done()
	q := r.URL.Query()
	names, next, err := a.Catalog.RepositoryPage(r.Context(), a.folders(who), q.Get("after"), n, func(name string) bool {
		return strings.Contains(name, q.Get("q")) && a.sees(who, name)
	})
	if err != nil {
		return nil, err
	}
	return repositoryPage{append([]string{}, names...), next}, nil
}

// folders returns the folders that may contain repositories that the identity may pull from. They are the parts of
// patterns before the first wildcard.
func (a *API) folders(who login.Identity) []string {
	var folders []string
	add := func(pattern string) {
		if i := strings.IndexByte(pattern, '*'); i >= 0 {
			pattern = strings.TrimSuffix(pattern[:i], "/")
			if pattern == "" {
				pattern = who.Account.Tenant
			}
		}
		folders = append(folders, pattern)
	}
	for _, rule := range who.Account.Rules {
		add(rule.Repositories)
	}
	for _, pattern := range a.PublicPatterns {
		if i := strings.IndexByte(pattern, '*'); i >= 0 {
			pattern = strings.TrimSuffix(pattern[:i], "/")
		}
		folders = append(folders, pattern)
	}
	return folders
}

// anonymousLists is the number of concurrent lists for clients without a login. Others wait.
const anonymousLists = 4

// turn blocks until the client may make a list, or the request ends.
func (a *API) turn(r *http.Request, who login.Identity) (done func(), err error) {
	if !who.Anonymous() {
		return func() {}, nil
	}
	a.listsOnce.Do(func() { a.lists = make(chan struct{}, anonymousLists) })
	select {
	case a.lists <- struct{}{}:
		return func() { <-a.lists }, nil
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}

type imagePage struct {
	Images []images.Image `json:"images"`
	// Next is the value of "after" for the next page. It is empty on the last page.
	Next string `json:"next,omitempty"`
	// MayDelete reports that the identity has the right to delete in this repository.
	MayDelete bool `json:"mayDelete"`
}

// images lists the tagged images of a repository.
func (a *API) images(r *http.Request, who login.Identity) (any, error) {
	n, err := pageSize(r, who)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	repository := q.Get("repository")
	if !a.sees(who, repository) {
		return nil, errMissing
	}
	done, err := a.turn(r, who)
	if err != nil {
		return nil, err
	}
	defer done()
	page, next, err := a.Catalog.ImagePage(r.Context(), repository, q.Get("after"), n)
	if err != nil {
		return nil, err
	}
	return imagePage{append([]images.Image{}, page...), next, who.Allows(accounts.Delete, repository)}, nil
}

// shownPolicy is the policy of a repository. Quotas are shown after a login only, because they may reveal how much
// other tenants store.
type shownPolicy struct {
	Immutable           bool         `json:"immutable"`
	KeepTags            int          `json:"keepTags,omitempty"`
	KeepForSeconds      int64        `json:"keepForSeconds,omitempty"`
	KeepUntaggedSeconds int64        `json:"keepUntaggedSeconds,omitempty"`
	Quotas              []shownQuota `json:"quotas,omitempty"`
}

type shownQuota struct {
	Repositories string `json:"repositories"`
	Used         int64  `json:"used"`
	MaxBytes     int64  `json:"maxBytes"`
}

// policy returns the policy of a repository.
func (a *API) policy(r *http.Request, who login.Identity) (any, error) {
	repository := r.URL.Query().Get("repository")
	if !a.sees(who, repository) {
		return nil, errMissing
	}
	e, err := a.Catalog.Effective(r.Context(), repository)
	if err != nil {
		return nil, err
	}
	p := shownPolicy{
		Immutable: e.Immutable, KeepTags: e.KeepTags,
		KeepForSeconds: int64(e.KeepFor / time.Second), KeepUntaggedSeconds: int64(e.KeepUntagged / time.Second),
	}
	for _, q := range e.Quotas {
		if !who.Anonymous() {
			p.Quotas = append(p.Quotas, shownQuota(q))
		}
	}
	return p, nil
}

// deleteImage deletes a tag, or, given a digest, an image and all its tags.
func (a *API) deleteImage(r *http.Request, who login.Identity) (any, error) {
	q := r.URL.Query()
	repository, reference := q.Get("repository"), q.Get("reference")
	if !a.sees(who, repository) && !who.Allows(accounts.Delete, repository) {
		return nil, errMissing
	}
	if !who.Allows(accounts.Delete, repository) {
		return nil, errForbidden
	}
	err := a.Catalog.Delete(r.Context(), repository, reference)
	if !errors.Is(err, images.ErrNoImage) {
		separator := ":"
		if strings.Contains(reference, ":") { // A digest.
			separator = "@"
		}
		a.Changed(r, Change{ImageDelete, who.Account.Name, repository + separator + reference, err})
	}
	return nil, err
}
