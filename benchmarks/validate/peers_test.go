package validate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/regclient/regclient"
	"github.com/regclient/regclient/config"
	"github.com/regclient/regclient/scheme/reg"
	"github.com/regclient/regclient/types/ref"
	orasremote "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

const username, password = "ann", "right"

// A work is images to check at a registry.
type work struct {
	images []registry.Image
	atOnce int

	way        *http.Transport      // As a program would make it.
	transports *registry.Transports // The same, as this project keeps it.
	transport  registry.TransportConfig
}

func (w work) close() {
	w.way.CloseIdleConnections()
	w.transports.CloseIdleConnections()
}

// each does something for all images, so many at once.
func (w work) each(do func(registry.Image) error) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
		next  = make(chan registry.Image)
	)
	for range min(w.atOnce, len(w.images)) {
		wg.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
				}
			}
		})
	}
	for _, i := range w.images {
		next <- i
	}
	close(next)
	wg.Wait()
	return first
}

// A peer checks that all images of a work are there. Each call is cold: nothing is known of the registry.
type peer func(context.Context, work) error

var peers = map[string]peer{
	"regcred": func(ctx context.Context, w work) error {
		c := &validate.Checker{Concurrency: w.atOnce, PerRegistry: w.atOnce, Transports: w.transports}
		credential := credentials.Credential{Username: username, Password: credentials.NewSecret(password)}
		candidates := []validate.Candidate{{Source: credentials.Static(credential), Transport: w.transport}}
		if len(w.images) == 1 {
			_, err := c.Image(ctx, w.images[0], candidates...)
			return err
		}
		requests := make([]validate.Request, len(w.images))
		for i, image := range w.images {
			requests[i] = validate.Request{Image: image, Candidates: candidates}
		}
		_, err := c.Images(ctx, requests)
		return err
	},
	"ggcr remote.Head": func(ctx context.Context, w work) error {
		login := remote.WithAuth(&authn.Basic{Username: username, Password: password})
		options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(w.way), login}
		return w.each(func(i registry.Image) error {
			ref, err := name.ParseReference(i.String())
			if err != nil {
				return err
			}
			_, err = remote.Head(ref, options...)
			return err
		})
	},
	"ggcr Puller": func(ctx context.Context, w work) error {
		login := remote.WithAuth(&authn.Basic{Username: username, Password: password})
		puller, err := remote.NewPuller(remote.WithTransport(w.way), login)
		if err != nil {
			return err
		}
		return w.each(func(i registry.Image) error {
			ref, err := name.ParseReference(i.String())
			if err != nil {
				return err
			}
			_, err = puller.Head(ctx, ref)
			return err
		})
	},
	"oras": func(ctx context.Context, w work) error {
		login := auth.StaticCredential(host, auth.Credential{Username: username, Password: password})
		client := &auth.Client{Client: &http.Client{Transport: w.way}, Cache: auth.NewCache(), Credential: login}
		return w.each(func(i registry.Image) error {
			repo, err := orasremote.NewRepository(i.Name())
			if err != nil {
				return err
			}
			repo.Client = client
			_, err = repo.Resolve(ctx, i.Reference())
			return err
		})
	},
	"regclient": func(ctx context.Context, w work) error {
		way := config.Host{Name: host, Hostname: host, TLS: config.TLSEnabled, User: username, Pass: password}
		way.ReqConcurrent = int64(w.atOnce) // Its default is 3.
		client := regclient.New(regclient.WithConfigHost(way), regclient.WithRegOpts(reg.WithTransport(w.way)))
		return w.each(func(i registry.Image) error {
			r, err := ref.New(i.String())
			if err != nil {
				return err
			}
			_, err = client.ManifestHead(ctx, r)
			return err
		})
	},
	"limit": limit,
}

// limit is the least that could do the work: a ping, a token for all repositories where one is wanted, and a HEAD each;
// no verdicts, no evidence.
func limit(ctx context.Context, w work) error {
	way, err := w.transports.For(w.transport)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: way}
	do := func(method, u, authorization string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, method, u, nil)
		if err != nil {
			return nil, err
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
		return client.Do(req)
	}
	res, err := do(http.MethodGet, "https://"+host+"/v2/", "")
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	authorization := basic()
	if strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer") {
		seen := map[string]bool{}
		query := url.Values{"service": {"registry"}}
		for _, i := range w.images {
			if !seen[i.Repository] {
				seen[i.Repository] = true
				query.Add("scope", "repository:"+i.Repository+":pull")
			}
		}
		res, err := do(http.MethodGet, "https://"+host+"/auth/token?"+query.Encode(), authorization)
		if err != nil {
			return err
		}
		var token struct{ Token string }
		err = json.NewDecoder(res.Body).Decode(&token)
		_ = res.Body.Close()
		if err != nil {
			return err
		}
		authorization = "Bearer " + token.Token
	}
	return w.each(func(i registry.Image) error {
		res, err := do(http.MethodHead, "https://"+host+"/v2/"+i.Repository+"/manifests/"+i.Reference(), authorization)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", i, res.Status)
		}
		return nil
	})
}

func basic() string {
	req := &http.Request{Header: http.Header{}}
	req.SetBasicAuth(username, password)
	return req.Header.Get("Authorization")
}

// Every peer does the work that is measured.
func TestPeers(t *testing.T) {
	for name, peer := range peers {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, 10, 2, "bearer", "h2", 0)
			w := s.work(t, 4)
			defer w.close()
			if err := peer(t.Context(), w); err != nil {
				t.Error(err)
			}
			w.images[0].Tag = "gone"
			if peer(t.Context(), w) == nil {
				t.Error("it does not see that an image is missing")
			}
		})
	}
}

// The check sends images + 1 requests with Basic logins, images + 2 with tokens, and one more if the token server rejects
// POST.
func TestRequests(t *testing.T) {
	for scheme, more := range map[string]int{"basic": 1, "bearer": 2, "bearer-get": 3} {
		t.Run(scheme, func(t *testing.T) {
			s := newServer(t, 10, 2, scheme, "h2", 0)
			w := s.work(t, 4)
			defer w.close()
			s.registry.ResetRequests()
			if err := peers["regcred"](t.Context(), w); err != nil {
				t.Error(err)
			}
			if got, want := len(s.registry.Requests()), len(w.images)+more; got != want {
				t.Errorf("%d requests, want %d", got, want)
			}
		})
	}
}
