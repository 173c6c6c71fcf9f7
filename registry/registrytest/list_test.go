package registrytest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// follow requests pages until there is no link to a next one.
func follow(t *testing.T, c client, path string) (all []string, pages int) {
	t.Helper()
	for path != "" {
		got := c.ask(t, "GET", path)
		require.Equal(t, 200, got.StatusCode, got.body)
		var list struct{ Tags, Repositories []string }
		require.NoError(t, json.Unmarshal([]byte(got.body), &list))
		all = append(all, append(list.Tags, list.Repositories...)...)
		pages++
		path = ""
		if m := regexp.MustCompile(`^<(.*)>; rel="next"$`).FindStringSubmatch(got.Header.Get("Link")); m != nil {
			path = m[1]
		}
	}
	return all, pages
}

func TestTags(t *testing.T) {
	for _, d := range Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			r := newRegistry(t, d)
			want := []string{"1"}
			for i := range 250 {
				tag := fmt.Sprintf("v%03d", i)
				_, err := r.AddManifest("team/app:"+tag, "application/json", []byte("{}"))
				require.NoError(t, err)
				want = append(want, tag)
			}
			ann := newClient(r, "ann", "right")
			got, pages := follow(t, ann, "/v2/team/app/tags/list")
			require.Equal(t, want, got)
			if d.tags.trailing == trailingIfAnyone {
				pages-- // The last one is empty.
			}
			if d.tags.pageSize == 0 {
				require.Equal(t, 1, pages)
			} else {
				require.Equal(t, (len(want)+d.tags.pageSize-1)/d.tags.pageSize, pages)
			}
			got, pages = follow(t, ann, "/v2/team/app/tags/list?n=60")
			require.Equal(t, want, got)
			if d.tags.trailing == trailingIfAnyone {
				pages--
			}
			require.Equal(t, 5, pages)
			require.Contains(t, ann.ask(t, "GET", "/v2/team/app/tags/list?n=0").body, `"tags":[]`)
		})
	}
}

func TestPages(t *testing.T) {
	for name, c := range map[string]struct {
		dialect Dialect
		query   string
		want    string
	}{
		"ecr, too many":            {ECR(), "n=1001", "registry 405 UNSUPPORTED"},
		"ecr, a cursor made up":    {ECR(), "n=1&last=1", "registry 405 UNSUPPORTED"},
		"zot, unknown last":        {Zot(), "n=1&last=zzz", "registry 404 NAME_UNKNOWN"},
		"harbor, unknown last":     {Harbor(), "n=1&last=zzz", good},
		"quay, too many":           {Quay(), "n=1000", good},
		"distribution, not a page": {DistributionBasic(), "n=-1", "registry 400 PAGINATION_NUMBER_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			ann := newClient(newRegistry(t, c.dialect), "ann", "right")
			require.Equal(t, c.want, ann.ask(t, "GET", "/v2/team/app/tags/list?"+c.query).String())
		})
	}
}

func TestCatalog(t *testing.T) {
	// The lists of an administrator, and of an account that may pull only from other/.
	const (
		every  = "new/app other/app team/app"
		mine   = "new/app team/app"
		theirs = "other/app"
	)
	for name, want := range map[string][2]string{
		"dockerhub":          {"401", "401"},
		"ecr":                {mine, theirs},
		"ecr-public":         {"401", "401"},
		"gcr":                {mine, theirs},
		"gar":                {mine, theirs},
		"quay":               {mine, theirs},
		"nexus-basic":        {mine, theirs},
		"nexus-bearer":       {mine, theirs},
		"artifactory":        {mine, theirs},
		"mcr":                {every, every},
		"acr":                {mine, theirs},
		"harbor":             {every, "401"},
		"ghcr":               {"404", "404"},
		"gitlab":             {every, "401"},
		"distribution-basic": {mine, theirs},
		"distribution-token": {every, "401"},
		"zot":                {mine, theirs},
		"gitea":              {mine, theirs},
		"forgejo":            {mine, theirs},
	} {
		for _, d := range Dialects() {
			if d.Name != name {
				continue
			}
			for i, user := range []string{"ann", "bob"} {
				t.Run(name+"/"+user, func(t *testing.T) {
					c := newClient(newRegistry(t, d), user, "right")
					first := c.send(t, "registry", "GET", c.base+"/v2/_catalog", nil)
					m := challengeForm.FindStringSubmatch(first.Header.Get("WWW-Authenticate"))
					edit := c.basic
					if m != nil && strings.EqualFold(m[1], "bearer") && name != "harbor" {
						var scopes []string
						if name != "quay" && name != "ghcr" {
							scopes = []string{"registry:catalog:*"}
						}
						token := c.token(t, m[2], m[3], scopes...)
						require.Equal(t, 200, token.StatusCode, token.body)
						edit = bearer(token.text(t))
					}
					got := c.send(t, "registry", "GET", c.base+"/v2/_catalog", edit)
					if len(want[i]) == 3 {
						require.Equal(t, want[i], fmt.Sprint(got.StatusCode))
						return
					}
					require.Equal(t, 200, got.StatusCode, got.body)
					var list struct{ Repositories []string }
					require.NoError(t, json.Unmarshal([]byte(got.body), &list))
					require.Equal(t, want[i], strings.Join(list.Repositories, " "))
				})
			}
		}
	}
}

func TestQuayCursor(t *testing.T) {
	r := newRegistry(t, Quay())
	ann := newClient(r, "ann", "right")
	token := ann.token(t, ann.base+"/v2/auth", "registry.test").text(t)
	got := ann.send(t, "", "GET", ann.base+"/v2/_catalog?n=1", bearer(token))
	require.Contains(t, got.body, "new/app")
	next, err := url.Parse(strings.Trim(strings.Split(got.Header.Get("Link"), ";")[0], "<>"))
	require.NoError(t, err)
	require.NotContains(t, next.Query().Get("next_page"), "new/app")
	got = ann.send(t, "", "GET", ann.base+next.String(), bearer(token))
	require.Contains(t, got.body, "team/app")
	require.Empty(t, got.Header.Get("Link"))
}
