package systemregistry

import (
	"context"
	"errors"
	"sync"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/auth"
	"github.com/distribution/distribution/v3/registry/handlers"
	registrymiddleware "github.com/distribution/distribution/v3/registry/middleware/registry"
	repositorymiddleware "github.com/distribution/distribution/v3/registry/middleware/repository"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"

	"github.com/regcred/regcred/systemregistry/internal/catalog"
)

// extension is the name under which distribution finds the registry's driver, access controller and repositories.
// Distribution creates them by name from its configuration, but these objects exist already.
const extension = "regcred"

// register adds constructors to distribution's tables of names, which are global to the process. A constructor takes
// the object out of the configuration, so the tables hold no server.
var register = sync.OnceValue(func() error {
	factory.Register(extension, driverFactory{})
	return errors.Join(
		auth.Register(extension, func(options map[string]any) (auth.AccessController, error) {
			return extensionOption[auth.AccessController](options)
		}),
		registrymiddleware.Register(extension, registerNamespace),
		repositorymiddleware.Register(extension, openRepository),
	)
})

func extensionOption[T any](options map[string]any) (T, error) {
	value, ok := options[extension].(T)
	if !ok {
		return value, errors.New("made by package systemregistry only")
	}
	return value, nil
}

type driverFactory struct{}

func (driverFactory) Create(_ context.Context, parameters map[string]any) (storagedriver.StorageDriver, error) {
	return extensionOption[storagedriver.StorageDriver](parameters)
}

// newApp returns distribution's handlers over the driver. It configures no cache of blobs: a cache in memory becomes
// wrong when another replica or a collection removes a blob, and looking up files is as fast.
func newApp(
	ctx context.Context, driver storagedriver.StorageDriver, catalog *catalog.Catalog, controller auth.AccessController, secret string, redirect bool,
) (*handlers.App, error) {
	if err := register(); err != nil {
		return nil, err
	}
	ours := []configuration.Middleware{{Name: extension, Options: map[string]any{extension: &repositories{driver: driver, catalog: catalog, redirect: redirect}}}}
	config := &configuration.Configuration{
		Middleware: map[string][]configuration.Middleware{"registry": ours, "repository": ours},
		Storage: configuration.Storage{
			extension:  {extension: driver},
			"delete":   {"enabled": true},
			"redirect": {"disable": !redirect},
			// [catalog.Catalog.Collect] removes unfinished uploads instead.
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
		Auth: configuration.Auth{extension: {extension: controller}},
	}
	config.HTTP.Secret = secret
	// Relative URLs let an upload continue at the server where it started, whatever host name the client uses.
	config.HTTP.RelativeURLs = true
	return handlers.NewApp(ctx, config), nil
}
