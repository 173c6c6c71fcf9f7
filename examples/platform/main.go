// Platform is the backend of a form "New registry": it stores the profiles of tenants with their secrets encrypted,
// checks their logins, and lists repositories and tags for pickers of images. It runs on loopback, keeps everything in
// memory, and has one tenant for each bearer token:
//
//	go run ./examples/platform -addr 127.0.0.1:8080
//	curl -H "Authorization: Bearer acme" http://127.0.0.1:8080/vendors
//
// docs/platform.md explains it.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/acr"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilestore"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the `address` to listen on")
	flag.Parse() // Exits with 2 if the flags are wrong.
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "platform: unexpected argument %q: there are flags only\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := serve(ctx, *addr); err != nil {
		fmt.Fprintln(os.Stderr, "platform:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println(start(listener.Addr()))
	s := newServer()
	renewing := make(chan error, 1)
	go func() { renewing <- s.Pipeline.Cache.Run(ctx) }() // Renews credentials before a caller has to wait for them.
	h := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = h.Close() })
	if err := h.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-renewing
}

// start returns the command to start with: the API has no page at /.
func start(addr net.Addr) string {
	return fmt.Sprintf(`curl -H "Authorization: Bearer acme" http://%s/vendors`, addr)
}

func newServer() *Server {
	// In production the data key comes from a key management service, which decrypts it once at the start.
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return &Server{
		Pipeline: &regcred.Pipeline{
			Egress: &egress.Policy{}, // Tenants are not trusted: public addresses only, and no identity of this program.
			Provider: providers.Set{
				registry.DockerHub: dockerhub.Provider{},
				registry.Custom:    custom.Provider{},
				registry.ECR:       ecr.Provider{},
				registry.GCR:       gcr.Provider{},
				registry.ACR:       acr.Provider{},
				registry.System:    system.Provider{},
			},
		},
		Rows:    &memory{rows: make(map[[2]string]row)},
		Keys:    profilestore.Keyring{Primary: "1", Keys: map[string]credentials.Secret{"1": credentials.NewSecret(string(key))}},
		Session: session,
	}
}

// session replaces the sessions of the platform: a cookie, or a token that it verifies.
func session(r *http.Request) (string, bool) {
	tenant, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return tenant, ok && tenant != ""
}

// memory is a database table in memory.
type memory struct {
	mu   sync.Mutex
	rows map[[2]string]row
}

type row struct {
	data    []byte
	version int
}

func (m *memory) Names(_ context.Context, tenant string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := []string{}
	for key := range m.rows {
		if key[0] == tenant {
			names = append(names, key[1])
		}
	}
	slices.Sort(names)
	return names, nil
}

func (m *memory) Get(_ context.Context, tenant, name string) ([]byte, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.rows[[2]string{tenant, name}]
	return r.data, r.version, nil
}

func (m *memory) Put(_ context.Context, tenant, name string, data []byte, version int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{tenant, name}
	if m.rows[key].version != version {
		return errChanged
	}
	if data == nil {
		delete(m.rows, key)
	} else {
		m.rows[key] = row{data, version + 1}
	}
	return nil
}
