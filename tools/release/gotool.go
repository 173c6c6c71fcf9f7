package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// modCache is a module cache beside the user's own, which must not keep modules that are not released. It stays for the
// next time, without the modules of the repository.
func (r *release) modCache() string { return filepath.Join(r.repo, ".cache", "release") }

// forgetModules removes the modules of the repository from the module cache of the releases.
func (r *release) forgetModules() error {
	for _, dir := range []string{r.modCache(), filepath.Join(r.modCache(), "cache", "download")} {
		if err := os.RemoveAll(filepath.Join(dir, filepath.Dir(r.modules[0].path))); err != nil {
			return err
		}
	}
	return nil
}

// findSettings reads where the user gets modules from.
func (r *release) findSettings(ctx context.Context) error {
	own, err := output(ctx, r.repo, nil, "go", "env", "GOPROXY", "GOMODCACHE", "GOFLAGS", "GOSUMDB")
	if err != nil {
		return err
	}
	lines := strings.Split(own, "\n")
	// With -trimpath, the build cache is good for the next clone too.
	flags := strings.TrimSpace(lines[2] + " -trimpath -buildvcs=false -modcacherw")
	r.settings = []string{
		"GOPROXY=file://" + r.proxy.dir + ",file://" + filepath.Join(lines[1], "cache", "download") + "," + lines[0],
		"GOMODCACHE=" + r.modCache(), "GOFLAGS=" + flags, "GOSUMDB=" + lines[3],
		// GONOPROXY must be empty. If it names anything, go1.26 finds the root module in its cache, and then looks for no
		// nested one.
		// The go command takes modules in its cache for immutable, and keeps an index of them by their folder. Another
		// attempt at the same version has other files.
		"GODEBUG=goindex=0",
		"GONOSUMDB=" + r.modules[0].path, "GOPRIVATE=", "GONOPROXY=", "GOENV=off", "GOWORK=off",
	}
	return nil
}

// env returns the variables of a go command that gets the modules of the release from the proxy, and all others from
// the user's module cache or from where the user gets modules.
func (r *release) env() []string { return slices.Clone(r.settings) }

func (r *release) goTool(ctx context.Context, dir string, args ...string) (string, error) {
	return output(ctx, dir, r.env(), "go", args...)
}
