package systemregistry

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/distribution/distribution/v3/registry/handlers"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"golang.org/x/crypto/bcrypt"

	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/ca"
	"github.com/regcred/regcred/systemregistry/internal/catalog"
	"github.com/regcred/regcred/systemregistry/internal/gate"
	"github.com/regcred/regcred/systemregistry/internal/login"
	"github.com/regcred/regcred/systemregistry/internal/shared"
	"github.com/regcred/regcred/systemregistry/internal/token"
	"github.com/regcred/regcred/systemregistry/store"
)

// A Registry is an open registry. It is an [http.Handler], and safe for concurrent use. Close it after use. A program
// that serves it itself also calls [Registry.Maintain].
type Registry struct {
	config    Server
	store     store.Store
	closer    func() error // Closes the store, if Open opened it.
	accounts  *accounts.Manager
	disk      *diskDriver
	catalog   *catalog.Catalog
	ring      *token.Ring
	login     *login.Authenticator
	sessions  login.Sessions
	gate      *gate.Gate
	authority *ca.Authority
	app       *handlers.App
	handler   http.Handler
	storage   storagedriver.StorageDriver // The storage under distribution.
	metrics   *metrics
	warnProxy sync.Once
}

// Open opens the storage, the accounts and the keys without serving the registry. It creates the keys if there are
// none.
func (s Server) Open(ctx context.Context) (*Registry, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	r := &Registry{config: s, metrics: newMetrics(), closer: func() error { return nil }}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(err, r.closer())
	}
	return r, nil
}

func (s Server) validate() error {
	for _, pattern := range s.Public {
		if err := accounts.ValidPattern(pattern); err != nil {
			return fmt.Errorf("open registry: public: %w", err)
		}
	}
	for i, issuer := range s.Issuers {
		if err := issuer.Validate(); err != nil {
			return fmt.Errorf("open registry: %w", err)
		}
		if issuer.URL == s.service() || slices.ContainsFunc(s.Issuers[:i], func(o accounts.Issuer) bool { return o.URL == issuer.URL }) {
			return fmt.Errorf("open registry: issuer %q is there twice, or is the registry's own Service", issuer.URL)
		}
	}
	if option.OrDefault(s.MaxLoginLifetime, defaultLoginLife) < option.OrDefault(s.TokenLifetime, defaultTokenLife) {
		return errors.New("open registry: MaxLoginLifetime is shorter than TokenLifetime")
	}
	if s.PasswordCost > 0 && (s.PasswordCost < bcrypt.MinCost || s.PasswordCost > bcrypt.MaxCost) {
		return fmt.Errorf("open registry: PasswordCost is %d, expected %d to %d", s.PasswordCost, bcrypt.MinCost, bcrypt.MaxCost)
	}
	return nil
}

func (r *Registry) open(ctx context.Context) error {
	if err := r.openStore(); err != nil {
		return err
	}
	inner, dir, err := r.driver()
	if err != nil {
		return err
	}
	r.disk = newDiskDriver(inner, dir, r.metrics.full.Inc)
	driver := storagedriver.StorageDriver(r.disk)
	if r.config.Store != nil { // Replicas may share the Store, and so the storage.
		if driver, err = shared.New(ctx, r.disk, r.store, catalog.MayReplace(r.config.Policies)); err != nil {
			return fmt.Errorf("open registry: %w", err)
		}
	}
	r.storage = driver
	if r.catalog, err = catalog.Open(ctx, driver, r.config.Policies); err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	r.accounts = &accounts.Manager{Store: r.store, PasswordCost: r.config.PasswordCost}
	if err := r.firstAccount(ctx); err != nil {
		return err
	}
	r.ring = &token.Ring{Store: r.store, RotateEvery: r.config.RotateEvery, MaxLife: option.OrDefault(r.config.MaxLoginLifetime, defaultLoginLife)}
	if err := r.ring.Rotate(ctx); err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	if r.authority, err = ca.Load(ctx, r.store, r.config.permitted()); err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	secret, err := r.uploadSecret(ctx)
	if err != nil {
		return err
	}
	r.login = &login.Authenticator{
		Accounts: r.accounts, Ring: r.ring, Service: r.config.service(), Issuers: login.NewIssuers(r.config.Issuers),
	}
	r.sessions = login.Sessions{Store: r.store}
	r.gate = &gate.Gate{
		Authenticator: r.login, Ring: r.ring, Service: r.config.service(),
		Life: option.OrDefault(r.config.TokenLifetime, defaultTokenLife), Public: r.config.Public,
		BaseURL: r.baseURL, Address: r.client, Audit: r.loggedIn,
	}
	// The context is detached because distribution works until Close, and ctx may be the context of one call.
	if r.app, err = newApp(context.WithoutCancel(ctx), driver, r.catalog, r.gate, secret, r.config.Redirect); err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	r.handler = r.routes()
	return nil
}

func (r *Registry) openStore() error {
	switch {
	case r.config.Store != nil:
		r.store = r.config.Store
	case r.config.Dir == "":
		r.store = new(store.Memory)
	default:
		path := filepath.Join(r.config.Dir, "accounts.db")
		file, err := store.Open(path)
		if err != nil {
			return fmt.Errorf("open registry: %w", err)
		}
		r.store, r.closer = file, file.Close
		return r.protect(path)
	}
	return nil
}

// protect makes the file of accounts and keys accessible to its owner only. A restored backup may have other
// permissions.
func (r *Registry) protect(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		r.config.failed(fmt.Errorf("%s has mode %#o, so other users of this machine could read the registry's keys: it has 0600 now; "+
			"if they did, change passwords and delete %q from the store", path, mode, "keys/"))
		if err := os.Chmod(path, 0o600); err != nil {
			return fmt.Errorf("open registry: %w", err)
		}
	}
	return nil
}

// maxThreads is distribution's default limit of files that are open at once.
const maxThreads = 100

// driver returns the storage, and its folder if it is one of this machine.
func (r *Registry) driver() (driver storagedriver.StorageDriver, dir string, err error) {
	switch {
	case r.config.Driver != nil:
		return r.config.Driver, "", nil
	case r.config.Dir == "":
		return inmemory.New(), "", nil
	}
	if dir, err = filepath.Abs(filepath.Join(r.config.Dir, "images")); err != nil {
		return nil, "", fmt.Errorf("open registry: %w", err)
	}
	return filesystem.New(filesystem.DriverParameters{RootDirectory: dir, MaxThreads: maxThreads}), dir, nil
}

// firstAccount creates the admin account if there is no account yet.
func (r *Registry) firstAccount(ctx context.Context) error {
	if r.config.Admin == "" {
		return nil
	}
	for _, err := range r.accounts.All(ctx) {
		if err != nil {
			return fmt.Errorf("open registry: %w", err)
		}
		return nil
	}
	admin := accounts.Account{
		Name: r.config.Admin, Description: "made at the first start", Admin: true,
		Rules: []accounts.Rule{{Repositories: "**", Actions: []accounts.Action{accounts.Pull, accounts.Push, accounts.Delete}}},
	}
	err := r.accounts.Create(ctx, admin, r.config.AdminPassword)
	if err != nil && !errors.Is(err, accounts.ErrAccountExists) { // Another replica may have created it first.
		return fmt.Errorf("open registry: make admin: %w", err)
	}
	return nil
}

// uploadSecretKey is the key of the secret with which distribution signs the state of uploads. Replicas must share it
// because a client may continue an upload at another replica.
const uploadSecretKey = "keys/upload"

func (r *Registry) uploadSecret(ctx context.Context) (string, error) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // Never fails: crypto/rand ends the program instead.
	_, err := r.store.Put(ctx, uploadSecretKey, []byte(base64.StdEncoding.EncodeToString(random[:])), 0)
	if err != nil && !errors.Is(err, store.ErrKeyChanged) {
		return "", fmt.Errorf("open registry: %w", err)
	}
	e, err := r.store.Get(ctx, uploadSecretKey)
	if err != nil {
		return "", fmt.Errorf("open registry: %w", err)
	}
	return string(e.Value), nil
}

// Close stops distribution and closes everything that Open opened. It does not wait for requests in flight.
func (r *Registry) Close() error {
	return errors.Join(r.app.Shutdown(), r.closer())
}

// Accounts returns the registry's accounts and their rights.
func (r *Registry) Accounts() *accounts.Manager { return r.accounts }

// CA returns the certificate of the registry's own authority, in PEM. If Server.TLS is nil, clients must trust it, and
// a registry profile needs it in its transport.
func (r *Registry) CA() string { return r.authority.PEM() }

// ReplaceCA starts the replacement of the registry's own authority, for example because its hosts have changed or its
// key may have leaked. It creates a second authority. [Registry.CA] then returns both certificates, and the old
// authority still signs. Distribute both certificates to all clients, then call [Registry.RetireCA].
func (r *Registry) ReplaceCA(ctx context.Context) error {
	return r.authority.Add(ctx, r.config.permitted())
}

// RetireCA completes the replacement that [Registry.ReplaceCA] started: the new authority signs, and the old one is
// deleted. Other replicas follow within ten minutes.
func (r *Registry) RetireCA(ctx context.Context) error { return r.authority.Retire(ctx) }

// ServeHTTP implements [http.Handler]. It serves the registry under /v2/, tokens under /token, the API under /api/, the
// console under /console/, and /healthz and /readyz.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.handler.ServeHTTP(w, req) }
