package validate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

func TestLogin(t *testing.T) {
	for _, d := range registrytest.Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			r := newRegistry(d, user("ann", "right", "*"))
			s := start(t, r)
			c := &validate.Checker{}
			got, err := c.Login(t.Context(), endpoint(t, s.Host), login(s, "ann", "right"))
			require.NoError(t, err)
			require.Equal(t, "ann", got.Candidate)
			if d.Open() {
				require.NotEmpty(t, got.Warnings, "nobody looked at the login, and nobody was told so")
				return
			}
			require.Empty(t, got.Warnings)

			_, err = c.Login(t.Context(), endpoint(t, s.Host), login(s, "ann", "wrong"))
			want := registry.ErrUnauthorized
			if d.Name == "ghcr" { // GHCR is recognized by its host only, and others respond with 403 to a missing right.
				want = registry.ErrDenied
			}
			require.ErrorIs(t, err, want)
			require.NotContains(t, err.Error(), "wrong")
		})
	}
}

func TestImage(t *testing.T) {
	for _, d := range registrytest.Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			r := newRegistry(d, user("ann", "right", "team/app"))
			digest := add(t, r, registrytest.Image{Platforms: []string{"linux/amd64", "linux/arm64"}}, "team/app:1")
			s := start(t, r)
			for name, c := range map[string]*validate.Checker{
				"as it is": {},
				"platform": {Platforms: []validate.Platform{{OS: "linux", Architecture: "arm64"}}},
				"deep":     {Deep: true},
			} {
				for _, reference := range []string{":1", "@" + digest} {
					got, err := c.Image(t.Context(), image(t, s.Host+"/team/app"+reference), login(s, "ann", "right"))
					require.NoError(t, err, "%s %s", name, reference)
					require.Equal(t, digest, got.Digest)
					require.Equal(t, "application/vnd.oci.image.index.v1+json", got.MediaType)
					require.Equal(t, "ann", got.Candidate)
				}
				_, err := c.Image(t.Context(), image(t, s.Host+"/team/app:2"), login(s, "ann", "right"))
				require.ErrorIs(t, err, registry.ErrImageNotFound, name)
			}
		})
	}
}

// Like a kubelet, the check tries the next candidate after one was rejected.
func TestImageCandidates(t *testing.T) {
	r := newRegistry(registrytest.DistributionToken(), user("ann", "a", "team/ann"), user("bob", "b", "team/bob"))
	add(t, r, registrytest.Image{}, "team/ann:1", "team/bob:1")
	s := start(t, r)
	ann, bob, nobody := login(s, "ann", "a"), login(s, "bob", "b"), login(s, "bob", "wrong")
	nobody.Name = "nobody"
	var c validate.Checker

	got, err := c.Image(t.Context(), image(t, s.Host+"/team/bob:1"), nobody, ann, bob)
	require.NoError(t, err)
	require.Equal(t, "bob", got.Candidate)
	require.Len(t, got.Attempts, 3)
	require.ErrorIs(t, got.Attempts[0].Err, registry.ErrUnauthorized)
	require.ErrorIs(t, got.Attempts[1].Err, registry.ErrHidden)
	require.NoError(t, got.Attempts[2].Err)

	// The verdict is the response to the candidate that came farthest.
	_, err = c.Image(t.Context(), image(t, s.Host+"/team/bob:2"), nobody, bob, ann)
	require.ErrorIs(t, err, registry.ErrImageNotFound)
}

// If the registry rejects a cached credential, it is dropped from the cache and the source is called again, once.
func TestImageRenewsRefused(t *testing.T) {
	r := newRegistry(registrytest.ECR(), user("AWS", "new", "team/app"))
	add(t, r, registrytest.Image{}, "team/app:1")
	s := start(t, r)
	password, asked := "old", 0
	var refused []credentials.Credential
	candidate := validate.Candidate{
		Name: "cached",
		Source: credentials.Func(func(context.Context) (credentials.Credential, error) {
			asked++
			return credentials.Credential{Username: "AWS", Password: credentials.NewSecret(password)}, nil
		}),
		OnRejected: func(c credentials.Credential) {
			refused = append(refused, c)
			password = "new"
		},
		Transport: s.TransportConfig(),
	}
	got, err := (&validate.Checker{}).Image(t.Context(), image(t, s.Host+"/team/app:1"), candidate)
	require.NoError(t, err)
	require.Len(t, got.Attempts, 2)
	require.True(t, got.Attempts[1].Renewed)
	require.Len(t, refused, 1)
	require.Equal(t, "old", refused[0].Password.Reveal())
	require.Equal(t, 2, asked)

	// If the new credential is rejected too, that is the verdict. If none was rejected, none is dropped.
	r.SetAccounts(user("AWS", "another", "team/app"))
	password, asked, refused = "old", 0, nil
	_, err = (&validate.Checker{}).Image(t.Context(), image(t, s.Host+"/team/app:1"), candidate)
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	require.Len(t, refused, 1)
	r.SetAccounts(user("AWS", "new"))
	refused = nil
	_, err = (&validate.Checker{}).Image(t.Context(), image(t, s.Host+"/team/app:1"), candidate)
	require.ErrorIs(t, err, registry.ErrDenied)
	require.Empty(t, refused)
}

// If a login is rejected and the image is public, the evidence reports it. The verdict does not change, because a
// kubelet that has a credential does not pull without one.
func TestImagePublic(t *testing.T) {
	for _, d := range registrytest.Dialects() {
		if d.Open() || d.Name == "ecr" {
			continue // The login is not rejected, or no image is public.
		}
		for _, public := range [][]string{{"team/app"}, nil} {
			accounts := []registrytest.Account{user("ann", "right", "team/app")}
			r := &registrytest.Registry{Dialect: d, TokenHost: homes[d.Name].tokenHost, Public: public, Accounts: accounts}
			add(t, r, registrytest.Image{}, "team/app:1")
			c := &validate.Checker{RoundTripper: r.RoundTripper()}
			i := image(t, homes[d.Name].host+"/team/app:1")
			got, err := c.Image(t.Context(), i, as("ann", "wrong"))
			if d.Name == "harbor" && public != nil {
				require.NoError(t, err, "Harbor lets everybody pull what is public, whatever the login")
				continue
			}
			require.ErrorIs(t, err, registry.ErrUnauthorized, d.Name)
			require.Equal(t, public != nil, slices.ContainsFunc(got.Warnings, func(w string) bool {
				return strings.Contains(w, "public")
			}), "%s: %v", d.Name, steps(got.Attempts[0]))
			exchanges := got.Attempts[0].Exchanges
			require.True(t, slices.ContainsFunc(exchanges, func(e validate.Exchange) bool {
				return e.Step == validate.StepProbe || e.Step == validate.StepToken && e.Auth == ""
			}), "%s: %v", d.Name, steps(got.Attempts[0]))
		}
	}
}

// If a source has no credential, the candidate's verdict is the source's error, with its code, and no request is sent.
func TestImageSourceFails(t *testing.T) {
	r := &registrytest.Registry{Dialect: registrytest.DockerHub(), Public: []string{"*"}}
	add(t, r, registrytest.Image{}, "team/app:1")
	s := start(t, r)
	cause := errors.New("no such key")
	for name, tc := range map[string]struct {
		source credentials.Source
		want   registry.Code
	}{
		"code": {credentials.Func(func(context.Context) (credentials.Credential, error) {
			return credentials.Credential{}, &registry.Error{Op: "get credential", Code: registry.ErrDenied, Err: cause}
		}), registry.ErrDenied},
		"refused": {credentials.Func(func(context.Context) (credentials.Credential, error) {
			return credentials.Credential{}, &registry.Error{Op: "get credential", Code: registry.ErrUnauthorized, Err: cause}
		}), registry.ErrUnauthorized},
		"no code": {credentials.Func(func(context.Context) (credentials.Credential, error) {
			return credentials.Credential{}, cause
		}), registry.ErrUnknown},
		"empty": {credentials.Func(func(context.Context) (credentials.Credential, error) {
			return credentials.Credential{}, nil
		}), registry.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			r.ResetRequests()
			candidate := validate.Candidate{Name: "x", Source: tc.source, Transport: s.TransportConfig()}
			_, err := (&validate.Checker{}).Image(t.Context(), image(t, s.Host+"/team/app:1"), candidate)
			require.Equal(t, tc.want, registry.CodeOf(err))
			require.Empty(t, r.Requests(), "a source that failed became an anonymous pull")
		})
	}
}

// A batch needs one ping and one token for all images.
func TestImagesRequests(t *testing.T) {
	const repositories, tags = 20, 5
	for name, tc := range map[string]struct {
		dialect registrytest.Dialect
		more    int // In addition to one for each image.
	}{
		"bearer": {registrytest.DistributionToken(), 2},
		"basic":  {registrytest.DistributionBasic(), 1},
		"open":   {registrytest.MCR(), 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(tc.dialect, user("ann", "right", "*"))
			s := start(t, r)
			candidates := []validate.Candidate{login(s, "ann", "right")}
			var requests []validate.Request
			for i := range repositories * tags {
				n := fmt.Sprintf("team/app%d:%d", i%repositories, i/repositories)
				add(t, r, registrytest.Image{}, n)
				requests = append(requests, validate.Request{Image: image(t, s.Host+"/"+n), Candidates: candidates})
			}
			requests = append(requests, requests[0]) // Requested twice, checked once.
			var last validate.Progress
			c := &validate.Checker{Progress: func(p validate.Progress) {
				require.Greater(t, p.Done, last.Done)
				last = p
			}}
			got, err := c.Images(t.Context(), requests)
			require.NoError(t, err)
			for i := range got {
				require.Equal(t, requests[i].Image, got[i].Image)
				require.NotEmpty(t, got[i].Digest)
			}
			require.Len(t, r.Requests(), repositories*tags+tc.more)
			require.Equal(t, len(requests), last.Done)
			require.Equal(t, len(requests), last.Total)
		})
	}
}

// If a registry honors one scope only, each repository still gets its own verdict, and a missing or forbidden
// repository affects no other.
func TestImagesNarrowed(t *testing.T) {
	for name, d := range map[string]registrytest.Dialect{
		"one scope": registrytest.DistributionToken(), "refuses": registrytest.DistributionToken(),
		"hub": registrytest.DockerHub(), "quay": registrytest.Quay(), "gar": registrytest.ArtifactRegistry(), "harbor": registrytest.Harbor(),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(d, user("ann", "right", "team/app1", "team/app2", "team/app3"))
			switch name {
			case "one scope":
				r.OneScope = true
			case "refuses":
				r.Inject(registrytest.Fault{
					Match: func(q registrytest.Request) bool {
						return q.Part == registrytest.PartToken && strings.Contains(q.Query, "odd")
					},
					Answer: registrytest.Answer{Status: 400, Body: `{"errors":[{"code":"INVALID_REQUEST"}]}`},
				})
			}
			add(t, r, registrytest.Image{}, "team/app1:1", "team/app2:1", "team/app3:1", "team/app4:1")
			s := start(t, r)
			candidates := []validate.Candidate{login(s, "ann", "right")}
			var requests []validate.Request
			for _, n := range []string{"app4:1", "app1:1", "app9:1", "app2:1", "odd:1", "app3:1", "app3:2"} {
				requests = append(requests, validate.Request{Image: image(t, s.Host+"/team/"+n), Candidates: candidates})
			}
			batch, err := (&validate.Checker{}).Images(t.Context(), requests)
			require.Error(t, err)
			for i, r := range requests {
				alone, _ := (&validate.Checker{}).Image(t.Context(), r.Image, r.Candidates...)
				require.Equal(t, registry.CodeOf(alone.Err), registry.CodeOf(batch[i].Err),
					"%s: in a batch the verdict is another one: %v, not %v", r.Image, batch[i].Err, alone.Err)
			}
			require.NoError(t, batch[1].Err)
			require.NoError(t, batch[3].Err)
			require.NoError(t, batch[5].Err)
		})
	}
}
