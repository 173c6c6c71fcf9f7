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

// A Server is the configuration of a registry. The zero Server is a registry in memory on port 5000, with TLS by its
// own certificate authority and without accounts, so that no client can log in until an account is created. A Server is
// plain data: set the fields, then call [Server.Run] or [Server.Open].
type Server struct {
	// Dir is the folder of images, accounts and keys. If empty, they are in memory and are lost when the process ends.
	Dir string
	// Driver stores the images instead of Dir: one of distribution's drivers for S3, Google Cloud Storage, Azure and
	// others. If nil, images are files in Dir.
	Driver storagedriver.StorageDriver
	// Store is a database for accounts and keys, and for the tags, manifests and layers of each repository. Several
	// replicas share it, together with Driver. Call [Import] first for a Driver that was used without a Store. If nil,
	// accounts and keys are in a file in Dir, which one process uses at a time.
	Store store.Store

	// Admin and AdminPassword are the name and password of the account that is created if there is no account yet. It
	// manages all accounts, and may push and delete in every repository. If Admin is empty, no account is created. Both
	// are ignored once there is an account.
	Admin         string
	AdminPassword credentials.Secret

	// Service is the name of this registry in its tokens. Another registry rejects the tokens, unless it has the same
	// Service and Store. If empty, it is "regcred".
	Service string
	// URL is the address at which clients reach the registry: "https://registry.example.com". If empty, it is the host
	// in each request, which is right unless a proxy changes the host. Set it behind a proxy that terminates TLS.
	URL string
	// TrustedProxies are the networks of proxies whose X-Forwarded-For header names the client's address. If empty, the
	// client's address is the remote address of the connection.
	TrustedProxies []netip.Prefix

	// Issuers are OpenID Connect issuers whose tokens are accepted as passwords, with any user name: tokens of
	// Kubernetes service accounts, for example. Each token is verified with its issuer's keys. If empty, no such token
	// is accepted.
	Issuers []accounts.Issuer

	// Public lists patterns of repositories that clients may pull without a login; see [accounts.Rule]. If empty, every
	// pull requires a login.
	Public []string
	// Policies set immutable tags, retention and quotas by repository. If several policies match a repository, all of
	// them apply.
	Policies []images.Policy

	// TokenLifetime is the lifetime of the token that a client gets for a login. If zero, it is 5 minutes. Clients
	// request the next token by themselves.
	TokenLifetime time.Duration
	// MaxLoginLifetime is the longest lifetime of a short-lived login that is created through the API or with a key. If
	// zero, it is a day.
	MaxLoginLifetime time.Duration
	// PasswordCost is the bcrypt cost of the passwords that people set, from 4 to 31; each step doubles the time of a
	// login. If zero, it is 10, about 50 ms. Lower costs are for tests.
	PasswordCost int
	// RotateEvery is the time for which a key signs tokens before the next key replaces it. If zero, it is 30 days.
	RotateEvery time.Duration
	// CollectEvery is the interval at which the registry removes images that have expired by the policies, and data
	// that no image uses; see [Registry.Maintain]. If zero, it is a day. If negative, nothing is collected.
	CollectEvery time.Duration
	// Redirect sends clients to the storage itself for layers, if the driver can sign URLs. If false, this server sends
	// all data.
	Redirect bool

	// Addr is the address on which [Server.Run] listens. If empty, it is ":5000". Listener, if not nil, is an open
	// listener that is used instead, and that Run closes.
	Addr     string
	Listener net.Listener
	// TLS is the TLS configuration of Run. If nil, Run serves a certificate from an authority that is created once and
	// kept in the store; see [Registry.CA].
	TLS *tls.Config
	// Hosts are the names and addresses in that certificate. If empty, they are the host of URL, the machine's, and
	// loopback.
	Hosts []string
	// PlainHTTP serves without TLS, so that anyone on the network path can read passwords. It is meant for a proxy on
	// the same machine that terminates TLS.
	PlainHTTP bool
	// MaxAnonymous is the number of connections from clients without a login that Run keeps open. Above it, Run closes
	// the oldest connection of the address with the most connections; for IPv6, of the /64 network. Connections from
	// TrustedProxies do not count. If zero, it is 1000.
	MaxAnonymous int
	// ShutdownTimeout is the time that Run gives requests in flight when its context ends. If zero, it is 30 seconds.
	ShutdownTimeout time.Duration

	// OnReady, if not nil, is called once when Run is listening.
	OnReady func(Ready)
	// OnEvent, if not nil, is called for each login and for each change of accounts and images. It must not block.
	OnEvent func(Event)
	// OnRequest, if not nil, is called for each request after its response. It must not block.
	OnRequest func(Request)
	// OnError, if not nil, is called with errors that no caller receives, such as those in [Registry.Maintain]. It must
	// not block.
	OnError func(error)
}

// Ready holds the addresses and the CA of a running registry.
type Ready struct {
	Registry *Registry
	// Addr is the address of the listener.
	Addr net.Addr
	// URL is the Server's URL, or, if that is empty, a URL that works on this machine.
	URL string
	// CA is the certificate that clients must trust, in PEM. It is empty if the Server has its own TLS configuration or
	// serves plain HTTP.
	CA string
}

const (
	defaultService         = "regcred"
	defaultAddr            = ":5000"
	defaultTokenLife       = 5 * time.Minute
	defaultLoginLife       = 24 * time.Hour
	defaultShutdownTimeout = 30 * time.Second
	defaultCollectEvery    = 24 * time.Hour
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

// Run opens the registry and serves it until ctx ends. It then waits for requests in flight, for at most
// ShutdownTimeout, and returns nil. It returns early with an error if it cannot serve.
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
