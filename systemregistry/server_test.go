package systemregistry_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/accounts"
)

func TestMain(m *testing.M) {
	logrus.SetLevel(logrus.PanicLevel) // Distribution logs each request there.
	if dir := os.Getenv(serveEnv); dir != "" {
		serve(dir)
		return
	}
	os.Exit(m.Run())
}

// running is a registry that serves on loopback.
type running struct {
	*systemregistry.Registry
	URL, Host string
	Client    *http.Client
	certs     string // A folder with the authority, in the layout that skopeo requires.

	mu     sync.Mutex
	events []systemregistry.Event
	errs   []error
}

func (r *running) event(e systemregistry.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}
func (r *running) error(err error) { r.mu.Lock(); defer r.mu.Unlock(); r.errs = append(r.errs, err) }

// takeErrors returns the errors since the last call.
func (r *running) takeErrors() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := errors.Join(r.errs...)
	r.errs = nil
	return err
}

// Events returns the events so far.
func (r *running) Events() []systemregistry.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]systemregistry.Event(nil), r.events...)
}

// fastCost is a password cost that does not slow down the tests, in particular under the race detector.
const fastCost = 4

// start serves the registry until the test ends or stop is called. It has the accounts "ann", who may do everything
// below team/, and "root", who manages all accounts. The password of each is "password of " and the name.
func start(t *testing.T, s systemregistry.Server) *running {
	r, _ := startStop(t, s)
	return r
}

func startStop(t *testing.T, s systemregistry.Server) (*running, func()) {
	t.Helper()
	r := new(running)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.Listener, s.OnEvent, s.OnError = listener, r.event, r.error
	s.Admin, s.AdminPassword, s.PasswordCost = "root", password("root"), fastCost
	ready := make(chan systemregistry.Ready, 1)
	s.OnReady = func(at systemregistry.Ready) { ready <- at }

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(stop)
	select {
	case at := <-ready:
		r.Registry, r.URL = at.Registry, at.URL
		u, err := url.Parse(at.URL)
		require.NoError(t, err)
		r.Host = u.Host
		r.trust(t, at.CA)
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	r.person(t, "ann", "", rule("team/**", "pull", "push", "delete"))
	return r, stop
}

func (r *running) trust(t *testing.T, bundle string) {
	pool := x509.NewCertPool()
	if bundle != "" {
		require.True(t, pool.AppendCertsFromPEM([]byte(bundle)))
		r.certs = t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(r.certs, "ca.crt"), []byte(bundle), 0o600))
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	r.Client = &http.Client{Transport: transport}
}

func rule(pattern string, actions ...accounts.Action) accounts.Rule {
	return accounts.Rule{Repositories: pattern, Actions: actions}
}

func password(name string) credentials.Secret { return credentials.NewSecret("password of " + name) }

func (r *running) person(t *testing.T, name, tenant string, rules ...accounts.Rule) {
	t.Helper()
	err := r.Accounts().Create(t.Context(), accounts.Account{Name: name, Tenant: tenant, Rules: rules}, password(name))
	if err != nil { // It exists since before a restart.
		require.ErrorIs(t, err, accounts.ErrAccountExists)
	}
}

func (r *running) robot(t *testing.T, tenant, name string, rules ...accounts.Rule) (string, credentials.Secret) {
	t.Helper()
	a := accounts.Account{Name: accounts.RobotName(tenant, name), Tenant: tenant, Rules: rules}
	secret, err := r.Accounts().CreateRobot(t.Context(), a)
	require.NoError(t, err)
	return a.Name, secret
}

// do sends a request and returns the response with its body read.
func (r *running) do(t *testing.T, method, path string, body string, change ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	resp, text, err := r.try(t, method, path, body, change...)
	require.NoError(t, err)
	return resp, text
}

// try is like do, for a request whose connection the server may cut, because it responds before it has read a long
// body.
func (r *running) try(t *testing.T, method, path string, body string, change ...func(*http.Request)) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	for _, c := range change {
		c(req)
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return nil, "", err
	}
	return resp, read(t, resp), nil
}

// failingListener is a listener that accepts one connection, and fails once fail is closed.
type failingListener struct {
	net.Listener
	accepted bool
	fail     chan struct{}
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.accepted {
		<-l.fail
		return nil, errors.New("too many open files")
	}
	l.accepted = true
	return l.Listener.Accept()
}

// If the registry cannot accept connections any more, Run also closes those that are open.
func TestRunClosesConnections(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	failing := &failingListener{Listener: listener, fail: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- systemregistry.Server{Listener: failing, PlainHTTP: true}.Run(context.Background()) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close() //nolint:errcheck // It is closed already.
	_, err = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, "ok\n", read(t, resp))
	close(failing.fail)
	require.ErrorContains(t, <-ended, "too many open files")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute))) // An idle connection stays open for longer.
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}
