package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// A world has the properties of a registry that a capture does not show, and that affect its responses.
type world struct {
	rights right
	public publicity
	admin  bool // The login may list all repositories.
	many   bool // There is more than one repository.
}

// A right defines which repositories the login may use.
type right int

const (
	pullRepository right = iota
	pullProject
	pushProject
	pullAll
	pushAll
	rights
)

// A publicity defines which repositories need no login.
type publicity int

const (
	nothingPublic publicity = iota
	repositoryPublic
	projectPublic
	publicities
)

// variants returns the worlds that differ from w in one property, in one slice for each property.
func (w world) variants(s Setup) [][]world {
	var public, right, listing, many []world
	for p := range publicities {
		next := w
		next.public = p
		public = append(public, next)
	}
	next := w
	next.many = !w.many
	many = append(many, next)
	if s.Login && !s.Rejected {
		for r := range rights {
			next := w
			next.rights = r
			right = append(right, next)
		}
		next := w
		next.admin = !w.admin
		listing = append(listing, next)
	}
	return [][]world{right, public, listing, many}
}

// assumptions are the properties of the world in plain words.
func (w world) assumptions(s Setup) []string {
	var all []string
	if s.Login && !s.Rejected {
		all = append(all, "the login may "+[]string{
			"pull from the image's repository", "pull from all repositories of the image's owner", "push to all repositories of the image's owner",
			"pull from all repositories", "push to all repositories",
		}[w.rights])
		if w.admin {
			all = append(all, "the login may list all repositories")
		}
	}
	return append(all, []string{"the image is not public", "the image is public", "all images of the image's owner are public"}[w.public])
}

// The names in the fake. None of them is in the vocabulary.
const (
	fakeTag      = "mallard"
	fakeAccount  = "sparrow"
	fakePassword = "goldcrest"
	fakeOther    = "osprey/wren"
	fakePublic   = "plover/finch"
)

// fakeRepository returns a repository's name with the number of parts.
func fakeRepository(depth int) string {
	return strings.Join(append([]string{"kestrel"}, strings.Split("heron/bittern/egret/curlew/dunlin/whimbrel/godwit", "/")...)[:max(1, min(depth, 8))], "/")
}

// fakeHosts are the hosts of registries whose texts contain their own name.
var fakeHosts = map[string]string{
	"dockerhub": "docker.io", "ecr": "123456789012.dkr.ecr.us-east-1.amazonaws.com", "ecr-public": "public.ecr.aws", "gcr": "gcr.io",
	"gar": "europe-west1-docker.pkg.dev", "quay": "quay.io", "mcr": "mcr.microsoft.com", "acr": "example.azurecr.io", "ghcr": "ghcr.io",
	"gitlab": "registry.gitlab.com",
}

// tokenHosts are the hosts of their token servers.
var tokenHosts = map[string]string{"dockerhub": "auth.docker.io", "gitlab": "gitlab.com"}

// imageOf returns an image with a manifest of the media type.
func imageOf(mediaType string) registrytest.Image {
	image := registrytest.Image{}
	if strings.HasPrefix(mediaType, "application/vnd.docker.") {
		image.Format = registrytest.DockerSchema2
	}
	if strings.Contains(mediaType, "index") || strings.Contains(mediaType, "list") {
		image.Index = true
	}
	return image
}

// newFake returns a fake in the world, and its target.
func newFake(d registrytest.Dialect, s Setup, w world) (*registrytest.Registry, Target, error) {
	repository := fakeRepository(s.Depth)
	project := "kestrel/*"
	r := &registrytest.Registry{Dialect: d, TokenHost: tokenHosts[d.Name]}
	if s.RateLimit {
		r.RateLimit.Limit = 10_000
	}
	host := fakeHosts[d.Name]
	if host == "" {
		host = "registry.example.com"
	}
	t := Target{
		Transport:  registry.TransportConfig{Proxy: registry.Direct},
		Credential: credentials.Credential{Anonymous: true},
		Image:      registry.Image{Host: host, Repository: repository, Tag: fakeTag},
	}
	if s.Login {
		account := registrytest.Account{Username: fakeAccount, Password: credentials.NewSecret(fakePassword), Admin: w.admin}
		switch w.rights {
		case pullRepository:
			account.Pull = []string{repository}
		case pullProject:
			account.Pull = []string{repository, project}
		case pushProject:
			account.Push = []string{repository, project}
		case pullAll:
			account.Pull = []string{"*"}
		case pushAll:
			account.Push = []string{"*"}
		}
		r.Accounts = []registrytest.Account{account}
		t.Credential = credentials.Credential{Username: fakeAccount, Password: account.Password}
		if s.Rejected {
			t.Credential.Password = credentials.NewSecret(wrongPassword)
		}
	}
	switch w.public {
	case repositoryPublic:
		r.Public = []string{repository}
	case projectPublic:
		r.Public = []string{repository, project}
	}
	images := []string{repository + ":" + fakeTag}
	if s.Tags > 1 {
		images = append(images, repository+":siskin")
	}
	if w.many {
		images = append(images, repository+"-two:"+fakeTag, repository+"-three:"+fakeTag)
		for name, has := range map[string]bool{"-two": len(r.Public) > 0, "-three": len(r.Public) > 0} {
			if has && w.public == projectPublic {
				r.Public = append(r.Public, repository+name)
			}
		}
		if s.Login && w.rights == pullRepository {
			r.Accounts[0].Pull = append(r.Accounts[0].Pull, repository+"-two", repository+"-three")
		}
	}
	if s.Other {
		t.Other = registry.Image{Host: host, Repository: fakeOther, Tag: fakeTag}
		images = append(images, fakeOther+":"+fakeTag)
	}
	if s.Public {
		t.Public = registry.Image{Host: host, Repository: fakePublic, Tag: fakeTag}
		images = append(images, fakePublic+":"+fakeTag)
		r.Public = append(r.Public, fakePublic)
	}
	for _, name := range images {
		if _, err := r.Add(name, imageOf(s.MediaType)); err != nil {
			return nil, Target{}, fmt.Errorf("add image to fake: %w", err)
		}
	}
	return r, t, nil
}

// probeFake returns the capture of a fake.
func probeFake(ctx context.Context, r *registrytest.Registry, t Target) (Capture, error) {
	p := Probe{Checker: &validate.Checker{RoundTripper: r.RoundTripper()}, WrongLogin: WrongLoginAlways}
	c, err := p.Run(ctx, t)
	if err != nil {
		return Capture{}, fmt.Errorf("probe fake: %w", errors.Unwrap(err))
	}
	c.Dialect = r.Dialect.Name
	return c, nil
}
