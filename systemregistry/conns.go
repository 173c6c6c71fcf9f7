package systemregistry

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/regcred/regcred/systemregistry/internal/login"
)

// defaultAnonymous is the default of [Server.MaxAnonymous]. That many connections with TLS use about 50 MB.
const defaultAnonymous = 1000

// strangers tracks the connections of clients that have not logged in, by address, or by network for IPv6. If there are
// too many connections, it closes the oldest connection of the client that has the most. So a client with many
// connections loses its own, and other clients can still connect.
type strangers struct {
	most int
	// exempt reports whether the address belongs to a proxy, which connects on behalf of many clients.
	exempt func(addr string) bool

	mu    sync.Mutex
	count int
	by    map[string][]*stranger // By client; oldest first.
}

type stranger struct {
	net.Conn
	of     *strangers
	client string
}

type strangerKey struct{}

// listener returns a listener whose connections count until they are closed, or until the client logs in.
func (s *strangers) listener(inner net.Listener) net.Listener { return &strangerListener{inner, s} }

type strangerListener struct {
	net.Listener
	of *strangers
}

func (l *strangerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || l.of.exempt(conn.RemoteAddr().String()) {
		return conn, err
	}
	c := &stranger{conn, l.of, login.ClientKey(conn.RemoteAddr().String())}
	if over := l.of.add(c); over != nil {
		_ = over.Close() // The oldest connection makes room.
	}
	return c, nil
}

// add returns the connection to close in exchange for this one, or nil.
func (s *strangers) add(c *stranger) (over *stranger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = make(map[string][]*stranger)
	}
	if s.count >= s.most {
		var worst string
		for client, conns := range s.by {
			if len(conns) > len(s.by[worst]) {
				worst = client
			}
		}
		over = s.by[worst][0]
		s.drop(over)
	}
	s.by[c.client] = append(s.by[c.client], c)
	s.count++
	return over
}

func (s *strangers) drop(c *stranger) {
	i := slices.Index(s.by[c.client], c)
	if i < 0 {
		return
	}
	s.count--
	if s.by[c.client] = slices.Delete(s.by[c.client], i, i+1); len(s.by[c.client]) == 0 {
		delete(s.by, c.client)
	}
}

func (c *stranger) known() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.drop(c)
}

func (c *stranger) Close() error {
	c.known() // Stop counting it.
	return c.Conn.Close()
}

// connContext is a function for [http.Server.ConnContext].
func connContext(ctx context.Context, conn net.Conn) context.Context {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if c, ok := conn.(*stranger); ok {
		return context.WithValue(ctx, strangerKey{}, c)
	}
	return ctx
}

// loggedInOn records that the client of the request's connection has logged in.
func loggedInOn(r *http.Request) {
	if c, ok := r.Context().Value(strangerKey{}).(*stranger); ok {
		c.known()
	}
}
