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

// printPullSecret is what a platform does for its users: a profile of kind system goes in, and out comes a secret that
// was proven to pull the image. The secret holds a login that may pull from the image's repository for an hour, and not
// the password that made it. A platform would have a robot of the tenant in the place of the admin, and inject.Syncer
// renew the secret.
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

	var pipeline regcred.Pipeline // It serves System registries by itself.
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
