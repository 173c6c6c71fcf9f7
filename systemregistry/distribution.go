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

	"github.com/regcred/regcred/systemregistry/images"
)

// extension is the name under which distribution finds our driver, access controller and repositories: it makes them
// from a configuration, and we have them already.
const extension = "regcred"

// register tells distribution's tables of names, which belong to the process, how to take a value out of a
// configuration. No server is in them.
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

// newApp returns distribution's handlers over the driver. There is no cache of blobs: one in memory goes wrong when
// another replica, or a collection, removes a blob, and files are looked up as fast.
func newApp(
	ctx context.Context, driver storagedriver.StorageDriver, catalog *images.Catalog, controller auth.AccessController, secret string, redirect bool,
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
			// Unfinished uploads are removed by [images.Catalog.Collect].
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
		Auth: configuration.Auth{extension: {extension: controller}},
	}
	config.HTTP.Secret = secret
	// An upload goes on where it began, whatever name the client has for this server.
	config.HTTP.RelativeURLs = true
	return handlers.NewApp(ctx, config), nil
}
