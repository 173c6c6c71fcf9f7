package registrytest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func manifests(q Request) bool {
	return q.Part == PartRegistry && strings.Contains(q.Path, "/manifests/")
}

// An answered is the result of a request that may have failed on the way.
type answered struct {
	err    error // Of the request.
	status int
	header http.Header
	body   string
	cut    error // Of the body.
}

func ask(ctx context.Context, t *testing.T, rt http.RoundTripper, base string) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", base+image, nil)
	require.NoError(t, err)
	res, err := rt.RoundTrip(req)
	if err != nil {
		return answered{err: err}
	}
	body, err := io.ReadAll(res.Body)
	require.NoError(t, res.Body.Close())
	return answered{nil, res.StatusCode, res.Header, string(body), err}
}

type faultCase struct {
	fault Fault
	check func(t *testing.T, got answered)
}

// faultTable has the faults and their effects on a client, compared with the whole response.
func faultTable(whole answered) map[string]faultCase {
	return map[string]faultCase{
		"status": {Fault{Answer: Answer{Status: 503, Body: "try later"}}, func(t *testing.T, got answered) {
			require.Equal(t, 503, got.status)
			require.Equal(t, "try later", got.body)
			require.Equal(t, "text/plain; charset=utf-8", got.header.Get("Content-Type"))
		}},
		"html": {Fault{Answer: Answer{Status: 200, Body: "<html>Log in to the hotel's network</html>"}}, func(t *testing.T, got answered) {
			require.Equal(t, "text/html; charset=utf-8", got.header.Get("Content-Type"))
		}},
		"redirect": {Fault{Answer: Answer{Status: 302, Header: map[string]string{"Location": "https://login.test/?from={repository}"}}}, func(t *testing.T, got answered) {
			require.Equal(t, "https://login.test/?from=team/app", got.header.Get("Location"))
		}},
		"cut": {Fault{Cut: true}, func(t *testing.T, got answered) {
			require.Error(t, got.err)
		}},
		"cut in the body": {Fault{CutAfter: 10}, func(t *testing.T, got answered) {
			require.NoError(t, got.err)
			require.Error(t, got.cut)
			require.Equal(t, whole.body[:10], got.body)
		}},
		"no digest": {Fault{Header: map[string]string{"Docker-Content-Digest": ""}}, func(t *testing.T, got answered) {
			require.Empty(t, got.header.Values("Docker-Content-Digest"))
			require.Equal(t, whole.body, got.body)
		}},
		"wrong type": {Fault{Header: map[string]string{"Content-Type": "text/plain"}}, func(t *testing.T, got answered) {
			require.Equal(t, "text/plain", got.header.Get("Content-Type"))
		}},
		"large header": {Fault{Header: map[string]string{"X-Large": strings.Repeat("x", 32<<10)}}, func(t *testing.T, got answered) {
			require.Len(t, got.header.Get("X-Large"), 32<<10)
		}},
		"large body": {Fault{Padding: 3 << 20}, func(t *testing.T, got answered) {
			require.Len(t, got.body, len(whole.body)+3<<20)
			require.Equal(t, whole.body, strings.TrimRight(got.body, " "))
		}},
	}
}

// The same faults over a socket, in both versions of HTTP, and in memory.
func TestFaults(t *testing.T) {
	for transport, open := range map[string]func(*testing.T, *Registry) (http.RoundTripper, string){
		"tls": func(t *testing.T, r *Registry) (http.RoundTripper, string) {
			s := startServer(t, r)
			return s.Client().Transport, s.URL
		},
		"plain http": func(t *testing.T, r *Registry) (http.RoundTripper, string) {
			s, err := StartPlainHTTP(r)
			require.NoError(t, err)
			t.Cleanup(s.Close)
			return s.Client().Transport, s.URL
		},
		"memory": func(_ *testing.T, r *Registry) (http.RoundTripper, string) {
			return r.RoundTripper(), "https://registry.test"
		},
	} {
		t.Run(transport, func(t *testing.T) {
			r := newRegistry(t, MCR())
			rt, base := open(t, r)
			whole := ask(t.Context(), t, rt, base)
			require.Equal(t, 200, whole.status)
			for name, c := range faultTable(whole) {
				t.Run(name, func(t *testing.T) {
					remove := r.Inject(c.fault)
					got := ask(t.Context(), t, rt, base)
					remove()
					c.check(t, got)
					require.Equal(t, whole.body, ask(t.Context(), t, rt, base).body, "fixed")
				})
			}
			t.Run("hang", func(t *testing.T) {
				defer r.Inject(Fault{Hang: true})()
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				require.ErrorIs(t, ask(ctx, t, rt, base).err, context.DeadlineExceeded)
			})
		})
	}
}

func TestFaultsAreCounted(t *testing.T) {
	r := newRegistry(t, ECR())
	ann := newClient(r, "ann", "right")
	r.Inject(Fault{Match: manifests, Times: 2, Answer: Answer{Status: 500}})
	r.Inject(Fault{Match: manifests, Times: 1, Answer: Answer{Status: 502}})
	require.Equal(t, 200, ann.ask(t, "GET", "/v2/").StatusCode, "no match")
	for i, want := range []int{500, 500, 502, 200} {
		require.Equal(t, want, ann.ask(t, "GET", image).StatusCode, i)
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, MCR())
		r.Inject(Fault{Delay: time.Minute, Header: map[string]string{"X-Late": "yes"}})
		c := newClient(r, "", "")
		start := time.Now()
		got := c.ask(t, "GET", image)
		require.Equal(t, time.Minute, time.Since(start))
		require.Equal(t, "yes", got.Header.Get("X-Late"))
		require.Equal(t, 200, got.StatusCode)

		why := errors.New("no time")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		req, err := http.NewRequestWithContext(ctx, "GET", c.base+image, nil)
		require.NoError(t, err)
		_, err = c.http.RoundTrip(req)
		require.ErrorIs(t, err, why)
		require.Equal(t, time.Minute+time.Second, time.Since(start))
	})
}
