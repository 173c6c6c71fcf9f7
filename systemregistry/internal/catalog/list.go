package catalog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/regcred/regcred/systemregistry/images"
)

// Repositories yields the names of all repositories that have or had a layer, starting after the given name. An error
// ends the iteration. Names are ordered by their parts: team/app comes before team-two. If the given name is empty, the
// iteration starts at the first repository.
func (c *Catalog) Repositories(ctx context.Context, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		l := lister{catalog: c, after: parts(after), left: -1, found: func(name string) bool { return yield(name, nil) }}
		if _, err := l.list(ctx, ""); err != nil {
			yield("", err)
		}
	}
}

const (
	// visits limits the folders that are listed for one page, and so the time of the call.
	visits = 2000
	// reads limits the manifests and configs that are read for one page of images, and childReads limits them for one
	// image. For the rest of an index, the values in the index are used.
	reads      = 1000
	childReads = 100
)

// RepositoryPage returns the names of at most n repositories that come after the given name, are in one of the folders,
// and for which match returns true. Folders are names or the first parts of names; the empty folder contains all
// repositories. Next is the value of after for the next page. It is empty after the last page. If many folders were
// listed, a page may have fewer than n names, or none.
func (c *Catalog) RepositoryPage(
	ctx context.Context, folders []string, after string, n int, match func(string) bool,
) (names []string, next string, err error) {
	l := lister{catalog: c, after: parts(after), left: visits}
	l.found = func(name string) bool {
		if len(names) == n {
			return false
		}
		if match(name) {
			names, next = append(names, name), name
		}
		return true
	}
	for _, folder := range outermost(folders) {
		ended, err := l.list(ctx, folder)
		if err != nil {
			return nil, "", err
		}
		if !ended {
			if l.left == 0 {
				next = l.last
			}
			return names, next, nil
		}
	}
	return names, "", nil
}

// outermost returns the folders in order, without those that are in another one.
func outermost(folders []string) []string {
	folders = slices.SortedFunc(slices.Values(folders), func(a, b string) int { return slices.Compare(parts(a), parts(b)) })
	var kept []string
	for _, f := range folders {
		if len(kept) == 0 || kept[len(kept)-1] != "" && !within(f, kept[len(kept)-1]) {
			kept = append(kept, f)
		}
	}
	return kept
}

func within(name, folder string) bool { return name == folder || strings.HasPrefix(name, folder+"/") }

func parts(name string) []string {
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

// lister walks through folders in the order of their parts.
type lister struct {
	catalog *Catalog
	after   []string
	left    int // Number of folders that may still be listed. If negative, there is no limit.
	last    string
	found   func(name string) (more bool)
}

// list lists the folder and the folders below it. It returns false if it ended early.
func (l *lister) list(ctx context.Context, folder string) (ended bool, err error) {
	here := parts(folder)
	if slices.Compare(here, l.after) < 0 && !slices.Equal(here, l.after[:min(len(here), len(l.after))]) {
		return true, nil // Everything below comes before, too.
	}
	if l.left == 0 {
		return false, nil
	}
	l.left--
	children, err := l.catalog.driver.List(ctx, path.Join(root, folder))
	if err != nil {
		if notFound(err) {
			return true, nil
		}
		return false, fmt.Errorf("list repositories: %w", err)
	}
	var names []string
	repository := false
	for _, child := range children {
		name := path.Base(child)
		repository = repository || name == "_layers"
		// No part of a name starts with an underscore.
		if !strings.HasPrefix(name, "_") && !strings.HasSuffix(name, ".tmp") {
			names = append(names, path.Join(folder, name))
		}
	}
	if repository && slices.Compare(here, l.after) > 0 && !l.found(folder) {
		return false, nil
	}
	l.last = folder
	slices.Sort(names)
	for _, name := range names {
		if ended, err := l.list(ctx, name); err != nil || !ended {
			return false, err
		}
	}
	return true, nil
}

// ImagePage returns the images of at most n tags of the repository that come after a tag. Next is the value of after
// for the next page, and empty after the last page. If an image has many platforms, a page may have fewer than n
// images. An image with several tags is read once.
func (c *Catalog) ImagePage(ctx context.Context, repository, after string, n int) (page []images.Image, next string, err error) {
	tags, err := c.Tags(ctx, repository)
	if err != nil {
		return nil, "", err
	}
	if after != "" {
		i, found := slices.BinarySearch(tags, after)
		if found {
			i++
		}
		tags = tags[i:]
	}
	left := reads
	known := make(map[digest.Digest]images.Image)
	for i, tag := range tags {
		if i == n || left <= 0 {
			return page, tags[i-1], nil
		}
		d, err := c.resolve(ctx, repository, tag)
		image, ok := known[d]
		if err == nil && !ok {
			var used int
			image, used, err = c.summarize(ctx, repository, d)
			left -= used
			known[d] = image
		}
		if errors.Is(err, images.ErrNoImage) {
			continue // Deleted during the call.
		}
		if err != nil {
			return nil, "", err
		}
		image.Tag, image.PushedAt = tag, c.pushedAt(ctx, repository, tag)
		page = append(page, image)
	}
	return page, "", nil
}
