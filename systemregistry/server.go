package systemregistry

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/store"
)

// A Server says how a registry is run. The zero Server is a registry in memory on port 5000, with TLS by an authority
// of its own, that nobody can log in to until an account is made. It is plain data: set the fields, then call
// [Server.Run] or [Server.Open].
type Server struct {
	// Dir is where images, accounts and keys are kept. Empty means in memory: they end with the process.
	Dir string
	// Driver keeps images instead: one of distribution's drivers for S3, Google Cloud Storage, Azure and others. Nil
	// means files in Dir.
	Driver storagedriver.StorageDriver
	// Store keeps accounts and keys instead, and which repositories have which tags, manifests and layers: a database that
	// several replicas share, together with Driver. See [Import] for a Driver that was used without it. If nil, accounts and
	// keys are in a file in Dir, which one process uses at a time.
	Store store.Store

	// Admin and AdminPassword are the account that is made when there is none yet. It manages all accounts, and may
	// push and delete everywhere. An empty Admin means that none is made. Once there is an account, both are ignored.
	Admin         string
	AdminPassword credentials.Secret

	// Service is the name of this registry in its tokens: those of one registry are worth nothing at another, unless
	// they share it and the store. Empty means "regcred".
	Service string
	// URL is how clients reach the registry: "https://registry.example.com". Empty means the host that each client asks
	// for, which is right where nothing is in between that changes it. Set it behind a proxy that ends TLS.
	URL string
	// TrustedProxies are the networks of proxies whose X-Forwarded-For tells where a client is. None means that the
	// connection tells.
	TrustedProxies []netip.Prefix

	// Issuers are OpenID Connect issuers whose tokens are accepted as passwords, with any user name: those of Kubernetes
	// service accounts, for example. Each token is checked against its issuer's keys. None means that there are none.
	Issuers []accounts.Issuer

	// Public are patterns of repositories that anybody may pull without a login; see [accounts.Rule]. None means that
	// there are none.
	Public []string
	// Policies are what holds for some repositories: tags that never change, how long images are kept, how much fits.
	// All that match count.
	Policies []images.Policy

	// TokenLife is how long the token lives that a client gets for a login. Zero means 5 minutes. A client asks again
	// by itself.
	TokenLife time.Duration
	// MaxLoginLife is how long a short-lived login may live that is made through the API or with a key. Zero means a
	// day.
	MaxLoginLife time.Duration
	// PasswordCost is bcrypt's cost of the passwords that people set, from 4 to 31; each step doubles the time of a
	// login. Zero means 10, about 50 ms, and less is for tests.
	PasswordCost int
	// RotateEvery is how long a key signs tokens until the next one does. Zero means 30 days.
	RotateEvery time.Duration
	// CollectEvery is how often images are removed that the policies keep no longer, and data that no image uses. Zero
	// means once a day, negative never.
	CollectEvery time.Duration
	// Redirect lets clients fetch layers from the storage itself, where the driver can make URLs for that. False means
	// that all goes through this server.
	Redirect bool

	// Addr is where [Server.Run] listens. Empty means ":5000". Listener is an open listener instead, which Run closes.
	Addr     string
	Listener net.Listener
	// TLS is how Run serves. Nil means a certificate from an authority that is made once and kept in the store; see
	// [Registry.CA].
	TLS *tls.Config
	// Hosts are the names and addresses in that certificate. None means those of URL, of the machine, and loopback.
	Hosts []string
	// PlainHTTP has Run serve without TLS: whoever is on the way reads passwords. It is for a proxy on the same machine
	// that ends TLS.
	PlainHTTP bool
	// MaxAnonymous is how many connections of clients that have not logged in Run has open at once. For one more, the
	// oldest one is closed of the address with most of them. Those of TrustedProxies do not count. Zero means 1000.
	MaxAnonymous int
	// Grace is how long Run waits for requests under way when its context ends. Zero means 30 seconds.
	Grace time.Duration

	// OnReady is called once when Run is listening. Nil means that nobody is told.
	OnReady func(Ready)
	// OnEvent is told of logins and of what changed accounts and images. It must not block. Nil means that nobody is
	// told.
	OnEvent func(Event)
	// OnRequest is told of each request that was answered. It must not block. Nil means that nobody is told.
	OnRequest func(Request)
	// OnError is told what went wrong where nobody waits for an answer, such as in [Registry.Maintain]. It must not
	// block. Nil means that nobody is told.
	OnError func(error)
}

// Ready says where a registry is that runs.
type Ready struct {
	Registry *Registry
	// Addr is where it listens.
	Addr net.Addr
	// URL is how to reach it: that of the Server, or one that works on this machine.
	URL string
	// CA is the certificate that clients must trust, in PEM. Empty means that the Server has TLS of its own, or none.
	CA string
}

const (
	defaultService      = "regcred"
	defaultAddr         = ":5000"
	defaultTokenLife    = 5 * time.Minute
	defaultLoginLife    = 24 * time.Hour
	defaultGrace        = 30 * time.Second
	defaultCollectEvery = 24 * time.Hour
)

func (s Server) service() string {
	if s.Service == "" {
		return defaultService
	}
	return s.Service
}

func (s Server) failed(err error) {
	if s.OnError != nil && err != nil {
		s.OnError(err)
	}
}

// Run opens the registry and serves it until ctx ends; then it lets requests under way end, and returns nil. It returns
// early with an error if it cannot serve.
func (s Server) Run(ctx context.Context) error {
	registry, err := s.Open(ctx)
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return nil
	case err != nil:
		return err
	}
	err = registry.run(ctx)
	if closeErr := registry.Close(); err == nil {
		err = closeErr
	}
	return err
}
