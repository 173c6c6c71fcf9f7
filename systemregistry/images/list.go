package images

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Repositories yields the names of all repositories that have or had a layer and come after a name; an error is the last
// thing that it yields. Names are in the order of their parts: team/app comes before team-two. An empty name means from
// the start.
func (c *Catalog) Repositories(ctx context.Context, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		l := lister{catalog: c, after: parts(after), left: -1, found: func(name string) bool { return yield(name, nil) }}
		if _, err := l.list(ctx, ""); err != nil {
			yield("", err)
		}
	}
}

const (
	// visits bounds how many folders one page looks into, and so how long it takes.
	visits = 2000
	// reads bounds how many manifests and configs one page of images reads, and childReads those of one image: what an
	// index has beyond that counts by what the index says.
	reads      = 1000
	childReads = 100
)

// RepositoryPage returns the names of at most n repositories that come after a name, are in one of the folders, which
// are names or the first parts of names, and for which match reports true. An empty folder is all. Next is what "after"
// of the next page is, and empty after the last one: a page may hold fewer than n, and none, where much was looked at.
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

// lister goes through folders in the order of their parts.
type lister struct {
	catalog *Catalog
	after   []string
	left    int // How many folders may be looked into still. Negative means any number.
	last    string
	found   func(name string) (more bool)
}

// list looks into the folder and those below it. It returns false if it ended early.
func (l *lister) list(ctx context.Context, folder string) (ended bool, err error) {
	here := parts(folder)
	if slices.Compare(here, l.after) < 0 && !slices.Equal(here, l.after[:min(len(here), len(l.after))]) {
		return true, nil // All below comes before, too.
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

// ImagePage returns the images of the tags of the repository that come after a tag, at most n. Next is what "after" of
// the next page is, and empty after the last one: a page may hold fewer than n where an image has many platforms. An
// image that several tags mean is read once.
func (c *Catalog) ImagePage(ctx context.Context, repository, after string, n int) (page []Image, next string, err error) {
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
	known := make(map[digest.Digest]Image)
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
		if errors.Is(err, ErrNoImage) {
			continue // Deleted meanwhile.
		}
		if err != nil {
			return nil, "", err
		}
		image.Tag, image.PushedAt = tag, c.pushedAt(ctx, repository, tag)
		page = append(page, image)
	}
	return page, "", nil
}
