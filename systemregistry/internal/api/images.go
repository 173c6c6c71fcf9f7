package api

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/login"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

func pageSize(r *http.Request) (int, error) {
	text := r.URL.Query().Get("n")
	if text == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPage {
		return 0, invalid("n is not a number from 1 to " + strconv.Itoa(maxPage))
	}
	return n, nil
}

func (a *API) sees(who login.Identity, repository string) bool {
	return who.Allows(accounts.Pull, repository) || a.Public(repository)
}

type repositoryPage struct {
	Repositories []string `json:"repositories"`
	// Next is what "after" of the next page is. Empty means that this is the last one.
	Next string `json:"next,omitempty"`
}

// repositories lists those that one may pull from.
func (a *API) repositories(r *http.Request, who login.Identity) (any, error) {
	n, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	p := repositoryPage{Repositories: []string{}}
	for name, err := range a.Catalog.Repositories(r.Context(), r.URL.Query().Get("after")) {
		if err != nil {
			return nil, err
		}
		if !a.sees(who, name) {
			continue
		}
		if len(p.Repositories) == n {
			p.Next = p.Repositories[n-1]
			break
		}
		p.Repositories = append(p.Repositories, name)
	}
	return p, nil
}

type imagePage struct {
	Images []images.Image `json:"images"`
	// Next is what "after" of the next page is. Empty means that this is the last one.
	Next string `json:"next,omitempty"`
	// MayDelete says that one has the right to delete here.
	MayDelete bool `json:"mayDelete"`
}

// images lists the tagged images of a repository.
func (a *API) images(r *http.Request, who login.Identity) (any, error) {
	n, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	repository := q.Get("repository")
	if !a.sees(who, repository) {
		return nil, errMissing
	}
	tags, err := a.Catalog.Tags(r.Context(), repository)
	if err != nil {
		return nil, err
	}
	if after := q.Get("after"); after != "" {
		i, found := slices.BinarySearch(tags, after)
		if found {
			i++
		}
		tags = tags[i:]
	}
	p := imagePage{Images: []images.Image{}, MayDelete: who.Allows(accounts.Delete, repository)}
	if len(tags) > n {
		tags = tags[:n]
		p.Next = tags[n-1]
	}
	for _, tag := range tags {
		image, err := a.Catalog.Image(r.Context(), repository, tag)
		if errors.Is(err, images.ErrNoImage) {
			continue // Deleted meanwhile.
		}
		if err != nil {
			return nil, err
		}
		p.Images = append(p.Images, image)
	}
	return p, nil
}

// deleteImage deletes a tag, or with a digest an image and all its tags.
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
