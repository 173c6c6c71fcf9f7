package ggcr

import (
	"context"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// Profiles returns a keychain of registry profiles. For a repository it uses the most specific profile that serves it;
// for a registry, such as for its catalog, the profile that serves the largest part of it. source returns the
// credential source of a profile; most programs pass the method Source of a regcred.Pipeline. The profiles must not be
// changed once in use.
func Profiles(profiles []registry.Profile, source func(registry.Profile) credentials.Source) Keychain {
	return func(_ context.Context, target authn.Resource) (credentials.Source, error) {
		host := target.RegistryStr()
		serving := registry.ServingHost(profiles, host)
		if name := target.String(); name != host {
			serving = nil
			if image, err := registry.ParseImage(name); err == nil {
				serving = registry.Serving(profiles, image)
			}
		}
		if len(serving) == 0 {
			return nil, nil
		}
		return source(serving[0]), nil
	}
}
