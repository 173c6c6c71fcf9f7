package conformance_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
)

// as sends a request to one replica, with an Authorization header if it is not empty.
func (s *site) as(n int, method, path, authorization, body string) (int, string) {
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.replicas[n].url()+path, strings.NewReader(body))
	require.NoError(s.t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", manifestType)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(s.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return response.StatusCode, string(text)
}

// TestAttacksOnReplicas sends attacks to two processes over PostgreSQL and a bucket at the same time. Each process by
// itself would reject them.
func TestAttacksOnReplicas(t *testing.T) {
	s := newSite(t, 2, place{Bucket: service(t), Database: testtool.PostgreSQL(t).URL}, startProcess)
	attackers := make([]*client, 6)
	for i := range attackers {
		attackers[i] = &client{
			site: s, random: rand.New(rand.NewPCG(s.seed, uint64(i))), name: fmt.Sprint("a", i),
			tags: make(map[string]tagState), images: make(map[string]picture), counts: make(map[string]int),
		}
	}
	together := func(f func(i int, c *client)) {
		var wg sync.WaitGroup
		for i, c := range attackers {
			wg.Go(func() { f(i, c) })
		}
		wg.Wait()
	}

	t.Run("a new immutable tag gets several images", func(t *testing.T) {
		pictures := make([]picture, len(attackers))
		together(func(i int, c *client) {
			pictures[i] = c.picture()
			for _, blob := range pictures[i].blobs {
				for !c.upload("team/fixed", blob) {
				}
			}
		})
		for round := range 10 {
			path := fmt.Sprint("/v2/team/fixed/manifests/round-", round)
			statuses := make([]int, len(attackers))
			together(func(i int, c *client) { statuses[i], _, _ = c.do(http.MethodPut, path, pictures[i].manifest) })
			winner := ""
			for i, status := range statuses {
				if status == http.StatusCreated {
					require.Contains(t, []string{"", digestOf(pictures[i].manifest)}, winner, "two images were accepted: %v", statuses)
					winner = digestOf(pictures[i].manifest)
				}
			}
			require.NotEmpty(t, winner, statuses)
			for n := range s.replicas {
				status, manifest := s.as(n, http.MethodGet, path, "Bearer "+s.token, "")
				require.Equal(t, http.StatusOK, status)
				require.Equal(t, winner, digestOf([]byte(manifest)))
			}
		}
	})
	t.Run("many unfinished uploads fill a quota", func(t *testing.T) {
		var mu sync.Mutex
		statuses := make(map[int]int)
		together(func(_ int, c *client) {
			for range 10 {
				status, header, _ := c.do(http.MethodPost, "/v2/team/limited/blobs/uploads/", nil)
				u, err := url.Parse(header.Get("Location"))
				if err != nil {
					t.Error(err)
					return
				}
				if status == http.StatusAccepted {
					status, _, _ = c.do(http.MethodPatch, u.RequestURI(), make([]byte, 4000))
				}
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
		require.LessOrEqual(t, s.usage(), int64(quota))
		require.Positive(t, statuses[http.StatusAccepted], statuses)
		require.LessOrEqual(t, statuses[http.StatusAccepted], quota/(entry+block+4000), statuses)
		require.Positive(t, statuses[http.StatusForbidden], statuses) // A busy machine fails some requests in other ways.
	})
	t.Run("a deleted robot goes to the other replica", func(t *testing.T) {
		basic := func(name, password string) string {
			request := &http.Request{Header: make(http.Header)}
			request.SetBasicAuth(name, password)
			return request.Header.Get("Authorization")
		}
		root := basic("root", rootPassword.Reveal())
		status, body := s.as(0, http.MethodPost, "/api/v1/accounts", root,
			`{"name":"ci","tenant":"team","robot":true,"rules":[{"repositories":"team/**","actions":["pull"]}]}`)
		require.Equal(t, http.StatusCreated, status, body)
		var robot struct{ Name, Secret string }
		require.NoError(t, json.Unmarshal([]byte(body), &robot))
		status, body = s.as(1, http.MethodGet, "/token?scope=repository:team/fixed:pull", basic(robot.Name, robot.Secret), "")
		require.Equal(t, http.StatusOK, status, body)
		var issued struct{ Token string }
		require.NoError(t, json.Unmarshal([]byte(body), &issued))
		pull := func(n int) int {
			status, _ := s.as(n, http.MethodGet, "/v2/team/fixed/tags/list", "Bearer "+issued.Token, "")
			return status
		}
		require.Equal(t, []int{http.StatusOK, http.StatusOK}, []int{pull(0), pull(1)})
		status, body = s.as(1, http.MethodDelete, "/api/v1/accounts?name="+url.QueryEscape(robot.Name), root, "")
		require.Equal(t, http.StatusNoContent, status, body)
		require.Equal(t, []int{http.StatusUnauthorized, http.StatusUnauthorized}, []int{pull(0), pull(1)})
		for n := range s.replicas {
			status, _ := s.as(n, http.MethodGet, "/token?scope=repository:team/fixed:pull", basic(robot.Name, robot.Secret), "")
			require.Equal(t, http.StatusUnauthorized, status)
		}
	})
}
