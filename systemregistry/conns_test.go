package systemregistry_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
)

// A client that opens many connections without a login loses the oldest of them, and other clients can connect.
func TestConnectionsOfStrangers(t *testing.T) {
	r := start(t, systemregistry.Server{PlainHTTP: true, MaxAnonymous: 10})
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	r.do(t, "GET", "/v2/", "", bearer(token))
	var conns []net.Conn
	for range 30 {
		conn, err := net.Dial("tcp", r.Host)
		require.NoError(t, err)
		defer conn.Close() //nolint:errcheck // It may be closed already.
		conns = append(conns, conn)
	}
	r.Client.CloseIdleConnections()
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	for _, conn := range conns[:15] {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
		_, err := conn.Read(make([]byte, 1))
		require.Error(t, err)
		var timeout net.Error
		require.NotErrorAs(t, err, &timeout, "it is open still")
	}
}

// addressed is a listener whose connections come from the given addresses.
type addressed struct {
	net.Listener
	from []string
	made map[string]*addressedConn
}

func (l *addressed) Accept() (net.Conn, error) {
	if len(l.from) == 0 {
		return nil, net.ErrClosed
	}
	c := &addressedConn{from: netip.MustParseAddrPort(l.from[0])}
	l.made[l.from[0]], l.from = c, l.from[1:]
	return c, nil
}

type addressedConn struct {
	net.Conn
	from   netip.AddrPort
	closed bool
}

func (c *addressedConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.from) }
func (c *addressedConn) Close() error         { c.closed = true; return nil }

// All addresses of a /64 network count as one client, because anyone with an IPv6 address has as many.
func TestConnectionsOfOneNetwork(t *testing.T) {
	inner := &addressed{made: make(map[string]*addressedConn)}
	for i := range 3 {
		inner.from = append(inner.from, fmt.Sprintf("192.0.2.1:%d", 1000+i))
	}
	for i := range 20 {
		inner.from = append(inner.from, fmt.Sprintf("[2001:db8::%x]:1000", 1+i))
	}
	r := open(t, systemregistry.Server{Listener: inner, PlainHTTP: true, MaxAnonymous: 10})
	l, err := r.Listen(t.Context())
	require.NoError(t, err)
	byHost := make(map[bool][]net.Conn)
	for range 23 {
		c, err := l.Accept()
		require.NoError(t, err)
		v6 := strings.HasPrefix(c.RemoteAddr().String(), "[")
		byHost[v6] = append(byHost[v6], c)
	}
	closed := func(conns []net.Conn) (n int) {
		for _, c := range conns {
			if inner.made[c.RemoteAddr().String()].closed {
				n++
			}
		}
		return n
	}
	require.Zero(t, closed(byHost[false]))
	require.Equal(t, 13, closed(byHost[true]))
}

// 200 connections that send arbitrary data take less than 64 MB, and do not delay a pull.
func TestMemoryUnderAttack(t *testing.T) {
	r := start(t, systemregistry.Server{PlainHTTP: true, Dir: t.TempDir()})
	layer := strings.Repeat("0123456789abcdef", 1<<19)
	r.push(t, "ann", password("ann"), "team/app", "1", layer)
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
	upload := resp.Header.Get("Location")
	pull := func() time.Duration {
		best := time.Hour
		for range 3 {
			began := time.Now()
			req, err := http.NewRequestWithContext(t.Context(), "GET", r.URL+"/v2/team/app/blobs/"+digestOf(layer), nil)
			require.NoError(t, err)
			bearer(token)(req)
			resp, err := r.Client.Do(req)
			require.NoError(t, err)
			n, err := io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.EqualValues(t, len(layer), n)
			best = min(best, time.Since(began))
		}
		return best
	}
	memory := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	quiet, idle := pull(), memory()

	head := " HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n"
	form, authorized := "Content-Type: multipart/form-data; boundary=b\r\n\r\n"+multipartBody, "Authorization: Bearer "+token+"\r\n"
	chunk := []byte(strings.Repeat("x", 64<<10))
	for i := range 200 {
		conn, err := net.Dial("tcp", r.Host)
		require.NoError(t, err)
		defer conn.Close() //nolint:errcheck // It may be closed already.
		request := []string{
			"POST /v2/team/app/blobs/uploads/" + head + form,
			"POST /token" + head + form,
			"POST /api/v1/session" + head + "Content-Type: application/json\r\n\r\n{\"username\":\"",
			"PUT " + upload + "&digest=x" + head + form,
			"PUT /v2/team/app/manifests/1 HTTP/1.1\r\nHost: x\r\n" + authorized + "Transfer-Encoding: chunked\r\n\r\n10000\r\n",
			"PUT /v2/team/app/manifests/1 HTTP/1.1\r\nHost: x\r\n" + authorized + "Content-Length: 4194304\r\n\r\n",
			"GET /v2/" + strings.Repeat("a", 60<<10) + " HTTP/1.1\r\n",
			"GET /v2/ HTTP/1.1\r\nAuthorization: Basic " + strings.Repeat("a", 60<<10),
		}[i%8]
		require.NoError(t, conn.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
		_, _ = io.WriteString(conn, request)
		for range 16 { // As much as possible.
			if _, err := conn.Write(chunk); err != nil {
				break
			}
		}
	}
	attacked, used := pull(), memory()
	const most = 50 * time.Millisecond // A pull may take twice as long, and this in addition.
	for began := time.Now(); attacked >= 2*quiet+most && time.Since(began) < 2*time.Minute; {
		attacked = min(attacked, pull()) // Other load on the machine delays some pulls.
	}
	t.Logf("idle %d MB, under attack %d MB; a pull takes %v, %v", idle>>20, used>>20, quiet, attacked)
	require.Less(t, int64(used)-int64(idle), int64(64<<20))
	require.Less(t, attacked, 2*quiet+most)
}
