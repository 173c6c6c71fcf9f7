package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// printPullSecret shows how a platform serves its users: from a profile of kind system, it makes a secret that was
// proven to pull the image. The secret does not hold the admin's password, but a login that may pull from the image's
// repository for an hour. A platform would use a robot account of the tenant instead of the admin, and have
// inject.Syncer renew the secret.
func printPullSecret(ctx context.Context, out io.Writer, dir, url, image, namespace string) error {
	password, err := os.ReadFile(filepath.Join(dir, passwordFile))
	if err != nil {
		return fmt.Errorf("password of the admin: %w; has the registry been started with -dir %s?", err, dir)
	}
	ca, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		return fmt.Errorf("authority of the registry: %w", err)
	}
	_, host, _ := strings.Cut(url, "://")
	name, err := registry.ParseImage(host + "/" + image)
	if err != nil {
		return err
	}

	var pipeline regcred.Pipeline // It has a provider for System registries built in.
	outcome, err := pipeline.Run(ctx, regcred.Request{
		Namespace: namespace,
		Profiles: []registry.Profile{{
			Name: "system", Kind: registry.System, Endpoint: name.Host + "/" + name.Repository,
			Login:     credentials.Login{Username: adminName, Password: credentials.NewSecret(string(password))},
			Transport: registry.TransportConfig{CABundle: string(ca)},
		}},
		Images: []string{name.String()},
	})
	if err != nil {
		return err
	}
	manifest, err := outcome.Secret.YAML()
	if err != nil {
		return err
	}
	_, err = out.Write(manifest)
	return err
}
